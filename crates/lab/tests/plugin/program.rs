//! The binary itself: static, small, alone.

use std::fs;

use anyhow::{Context, Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, programs};

use super::{Kind, Rig, SOON};

/// Type of the program header that names a dynamic linker (ELF specification).
const PT_INTERP: u32 = 3;
const LIMIT: u64 = 1_600_000;

#[test]
fn the_plugin_is_a_static_program_and_small() -> Result<()> {
    for kind in Kind::BOTH {
        let path = kind.path()?;
        let bytes = fs::read(&path)?;
        ensure!(bytes.len() as u64 <= LIMIT, "{} bytes", bytes.len());
        ensure!(
            bytes.get(..5) == Some(b"\x7fELF\x02"),
            "{} is no 64-bit ELF",
            path.display()
        );
        let number = |at: usize, length: usize| -> Result<u64> {
            let field = bytes.get(at..at + length).context("a short file")?;
            Ok(field
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        };
        let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        ensure!(count > 0);
        for header in 0..count {
            let at = usize::try_from(table + header * size)?;
            ensure!(
                number(at, 4)? != u64::from(PT_INTERP),
                "{} wants a dynamic linker",
                path.display()
            );
        }
    }
    let plugin = fs::read(programs()?.plugin)?;
    ensure!(Kind::BOTH.iter().all(|kind| {
        kind.path()
            .is_ok_and(|path| fs::read(path).is_ok_and(|bytes| bytes == plugin))
    }));
    Ok(())
}

#[test]
fn no_other_program_is_run_and_no_child_is_made() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("cniVersion", "1.1.0");
            let pod = rig.node.pod("a")?;
            let mut conf = rig.conf.clone();
            for verb in ["ADD", "CHECK", "STATUS", "GC", "DEL", "VERSION"] {
                let mut command = rig
                    .node
                    .command("strace")
                    .args([
                        "-f",
                        "-qq",
                        "-o",
                        "/run/trace",
                        "-e",
                        "trace=process",
                        "-e",
                        "signal=none",
                        "--",
                    ])
                    .arg(kind.path()?)
                    .env("CNI_COMMAND", verb)
                    // Nothing could be found.
                    .env("PATH", "/usr/bin");
                for (name, value) in Attachment::of(&pod).environment() {
                    command = command.env(name, value);
                }
                let output = command.stdin(conf.to_string()).output_within(SOON)?.ok()?;
                if verb == "ADD" {
                    conf["prevResult"] = serde_json::from_str(&output.stdout)?;
                }
                let trace = rig.node.attempt(|| Ok(fs::read_to_string("/run/trace")?))?;
                let calls: Vec<&str> = trace
                    .lines()
                    .filter_map(|line| line.split_whitespace().nth(1)?.split('(').next())
                    .filter(|name| !name.starts_with(['+', '-', '<']))
                    .collect();
                ensure!(calls == ["execve", "exit_group"], "{verb}: {trace}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_plugin_needs_no_path_and_no_environment_but_its_own() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pod = rig.node.pod("a")?;
            for verb in ["ADD", "DEL"] {
                let mut command = rig.node.command(kind.path()?).env_clear();
                command = command.env("PATH", "").env("CNI_COMMAND", verb);
                for (name, value) in Attachment::of(&pod).environment() {
                    command = command.env(name, value);
                }
                command
                    .stdin(rig.conf.to_string())
                    .output_within(SOON)?
                    .ok()?;
            }
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

/// The record then says that nobody knows from where the pod's path was seen: it is not judged by that path.
#[test]
fn an_add_that_cannot_look_at_its_own_namespaces_is_an_add_all_the_same() -> Result<()> {
    // The first two files that it looks at by name, below the folder of its namespaces.
    const UNSEEN: &str = "inject=newfstatat:error=EACCES:when=1..2";
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let pod = rig.node.pod("a")?;
        let mut command = rig
            .node
            .command("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", UNSEEN, "--"])
            .arg(rig.kind.path()?)
            .env("CNI_COMMAND", "ADD");
        for (name, value) in Attachment::of(&pod).environment() {
            command = command.env(name, value);
        }
        let output = command.stdin(rig.conf.to_string()).output_within(SOON)?;
        output.ok()?;
        let record = rig.node.attempt(|| {
            let mut records = fs::read_dir("/run/podwire/podwire/attachments")?;
            let path = records.next().context("a record")??.path();
            Ok(fs::read_to_string(path)?)
        })?;
        let record: serde_json::Value = serde_json::from_str(&record)?;
        let seen = &record["standpoint"];
        ensure!(
            seen["mnt"] == 0 && seen["pid"] == 0 && seen["net"] != 0,
            "{seen}"
        );
        Ok(())
    })
}
