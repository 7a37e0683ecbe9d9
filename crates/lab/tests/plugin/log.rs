//! The log, and a log that cannot be written.

use std::ffi::CStr;
use std::fs;

use anyhow::{Context, Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Node};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::write;
use rustix::mount::{MountFlags, mount, mount_remount};
use serde_json::{Value, json};

use super::{Kind, Rig};

const LOG: &str = "/var/log/bash-cni-plugin.log";

fn lines(node: &Node, path: &str) -> Result<Vec<Value>> {
    let text = node.attempt(|| Ok(fs::read_to_string(path)?))?;
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
    lines.collect()
}

#[test]
fn every_call_is_one_line_where_the_demos_script_wrote() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        let (pod, result) = rig.pod("a")?;
        rig.del(&pod)?;
        rig.with("cniVersion", "0.4.0")
            .check(&Attachment::of(&pod), &result)?;
        let lines = lines(&rig.node, LOG)?;
        ensure!(lines.len() == 3, "{lines:?}");
        for (line, verb) in lines.iter().zip(["ADD", "DEL", "CHECK"]) {
            ensure!(
                line["verb"] == verb && line["container"] == "one-a",
                "{line}"
            );
            ensure!(
                line["network"] == "mynet" && line["ifname"] == "eth0",
                "{line}"
            );
            ensure!(line["pod"] == "default/a" && line["us"].is_u64(), "{line}");
            ensure!(line.get("steps").is_none(), "{line}");
        }
        ensure!(
            lines[0]["result"] == result && lines[1]["result"] == "ok",
            "{lines:?}"
        );
        ensure!(lines[2]["error"]["code"] == 101, "{}", lines[2]);
        Ok(())
    })
}

#[test]
fn with_debug_the_steps_and_their_times_are_there() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        let pod = rig.node.pod("a")?;
        for (debug, traced) in [("1", true), ("0", false)] {
            let mut environment = Attachment::of(&pod).environment();
            environment.push(("DEBUG", debug.to_owned()));
            let stdin = rig.conf.to_string();
            rig.plugin
                .raw(&rig.node, "ADD", &environment, stdin.as_bytes())?
                .ok()?;
            let line = lines(&rig.node, LOG)?.pop().context("a line")?;
            ensure!(line["steps"].is_array() == traced, "{line}");
            if traced {
                let steps = line["steps"].as_array().into_iter().flatten();
                let names: Vec<_> = steps.filter_map(|step| step["step"].as_str()).collect();
                ensure!(
                    names
                        == [
                            "read", "open", "record", "node", "lease", "link", "pod", "ways",
                            "ports",
                        ],
                    "{line}"
                );
            }
        }
        Ok(())
    })
}

#[test]
fn the_configuration_names_another_file_and_podwire_has_none_by_itself() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let (pod, _) = rig.pod("a")?;
        ensure!(rig.node.attempt(|| Ok(fs::read_dir("/var/log")?.count()))? == 0);
        rig.with("logFile", "/var/log/own.log").del(&pod)?;
        ensure!(lines(&rig.node, "/var/log/own.log")?.len() == 1);
        Ok(())
    })
}

#[test]
fn a_log_that_cannot_be_written_fails_no_pod() -> Result<()> {
    let full: &CStr = c"size=4k,mode=0755";
    Lab::scenario(|lab| {
        for what in ["full", "read-only", "no folder"] {
            let rig = Rig::on(lab.node(&what.replace(' ', "-")).start()?, Kind::Bridge)?;
            rig.node.attempt(|| {
                match what {
                    "full" => {
                        mount("tmpfs", "/var/log", "tmpfs", MountFlags::empty(), full)?;
                        fs::write("/var/log/full", [0; 4096])?;
                    }
                    "read-only" => mount_remount("/var/log", MountFlags::RDONLY, c"")?,
                    _ => {}
                }
                Ok(())
            })?;
            let rig = match what {
                "no folder" => rig.with("logFile", json!("/nowhere/at/all.log")),
                _ => rig,
            };
            let (pod, _) = rig.pod("a").context(what)?;
            rig.del(&pod).context(what)?;
        }
        Ok(())
    })
}

/// Neither a pipe that nobody has opened, nor one that is full because its reader does not read.
#[test]
fn a_log_that_is_a_pipe_without_a_reader_makes_no_pod_wait() -> Result<()> {
    const PIPE: &str = "/var/log/pipe";
    Lab::scenario(|lab| {
        for kind in Kind::BOTH {
            let node = lab.node(&format!("{kind:?}")).start()?;
            super::said(&node, &format!("mkfifo {PIPE}"))?;
            let rig = Rig::on(node, kind)?.with("logFile", PIPE);
            // A call that waits is killed at the deadline, and that is its error.
            let (pod, _) = rig.pod("a").context("nobody has opened the pipe")?;
            rig.del(&pod)?;

            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let full = rig.node.attempt(|| Ok(open(PIPE, flags, Mode::empty())?))?;
            // What would still fit must be shorter than a line.
            for length in [4096, 1] {
                while write(&full, &vec![b'x'; length]).is_ok() {}
            }
            let (pod, _) = rig.pod("b").context("the pipe is full")?;
            rig.del(&pod)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
        }
        Ok(())
    })
}
