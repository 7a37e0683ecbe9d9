//! The demo as a program: what it prints, how it fails, and that it leaves nothing behind however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Lab, Place, Process, programs};
use rustix::process::Signal;

const DEMO: &str = env!("CARGO_BIN_EXE_demo");
const SOON: Duration = Duration::from_secs(30);

fn start(desk: &Place, arguments: &[&str]) -> Result<Process> {
    let programs = programs()?;
    let bin = programs.plugin.parent().context("the programs' folder")?;
    let command = desk.command(DEMO).arg("--bin").arg(bin);
    let command = command.arg("--cni").arg(&programs.plugins);
    command.args(arguments).spawn()
}

/// The demo's own children, and its and their namespaces other than those of this program.
#[derive(Debug, Default)]
struct Traces {
    children: BTreeSet<u32>,
    namespaces: BTreeSet<String>,
}

impl Traces {
    fn of(demo: &Process) -> Result<Self> {
        let parent = demo.pid().to_string();
        let mut traces = Self::default();
        for pid in processes()? {
            // State, then the parent, behind the name in parentheses; a process may end meanwhile.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
            if fields.and_then(|fields| fields.split(' ').nth(1)) == Some(&parent) {
                traces.children.insert(pid);
                traces.namespaces.extend(namespaces(pid));
            }
        }
        Ok(traces)
    }

    /// What of them is still there.
    fn left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for pid in processes()? {
            if self.children.contains(&pid) {
                left.push(format!("process {pid}"));
            }
            let shared = namespaces(pid);
            let shared = shared.intersection(&self.namespaces);
            left.extend(shared.map(|namespace| format!("{namespace} in process {pid}")));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mounted = self.namespaces.iter().filter(|name| mounts.contains(*name));
        left.extend(mounted.map(|name| format!("{name} is mounted")));
        Ok(left)
    }
}

fn processes() -> Result<Vec<u32>> {
    let names = fs::read_dir("/proc")?.flatten();
    Ok(names
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}

fn namespaces(pid: u32) -> BTreeSet<String> {
    let links = ["net", "mnt"].map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")));
    links
        .into_iter()
        .flatten()
        .map(|link| link.display().to_string())
        .collect()
}

#[test]
fn the_demo_ends_with_every_target_reached() -> Result<()> {
    Lab::scenario(|lab| {
        let desk = lab.segment("desk")?;
        let output = start(&desk, &[])?.finish_within(SOON)?.ok()?;
        for text in [
            "Walk 1, the demo's own two bash-cni files",
            "Walk 2, the conflist that podwired writes",
            "pod on the other host  no answer",
            "nothing is wrong",
            "Everything is as it must be: 60 connections",
        ] {
            ensure!(
                output.stdout.contains(text),
                "no \"{text}\" in\n{}",
                output.stdout
            );
        }
        let afterwards = output.stdout.matches(" reached").count();
        // Two nodes, five targets, three tables; and the own host before.
        ensure!(afterwards == 30 + 6, "{afterwards}\n{}", output.stdout);
        ensure!(!output.stdout.contains('\u{1b}'), "colours for no terminal");
        ensure!(output.took < Duration::from_secs(10), "{:?}", output.took);
        Ok(())
    })
}

#[test]
fn ctrl_c_at_any_moment_leaves_nothing_behind() -> Result<()> {
    Lab::scenario(|lab| {
        let desk = lab.segment("desk")?;
        for (moment, signal) in [
            ("walk 1: two nodes", Signal::INT),
            ("walk 1: pods wired by hand", Signal::TERM),
            ("walk 1: podwired on each node", Signal::INT),
            ("walk 1: ADD of four pods", Signal::INT),
            ("walk 1: probing after", Signal::INT),
            ("walk 2: podwired on each node", Signal::HUP),
        ] {
            let demo = start(&desk, &[])?;
            demo.wait_for_line(moment, SOON)?;
            let traces = Traces::of(&demo)?;
            demo.kill(signal)?;
            let output = demo.finish_within(SOON)?;
            ensure!(output.status.code() == Some(130), "{moment}: {output:?}");
            let left = traces.left()?;
            ensure!(left.is_empty(), "{moment}: {left:?}");
        }
        Ok(())
    })
}

#[test]
fn what_is_kept_can_be_entered_and_goes_with_ctrl_c() -> Result<()> {
    Lab::scenario(|lab| {
        let desk = lab.segment("desk")?;
        let demo = start(&desk, &["--keep"])?;
        demo.wait_for_line("outside  ", SOON)?;
        let line = demo.wait_for_line("k8s-worker/a  nsenter", SOON)?;
        let mut words = line.split_whitespace().skip(1);
        let program = words.next().context("nsenter")?;
        let command = desk
            .command(program)
            .args(words)
            .args(["ip", "-br", "addr"]);
        let inside = command.output_within(SOON)?.ok()?.stdout;
        ensure!(inside.contains("10.244.1.2"), "{inside}");

        let traces = Traces::of(&demo)?;
        ensure!(traces.children.len() == 4, "two agents a walk: {traces:?}");
        demo.kill(Signal::INT)?;
        let output = demo.finish_within(SOON)?;
        ensure!(output.status.code() == Some(0), "{output:?}");
        let left = traces.left()?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
}

/// An agent that says that it is done and has done nothing.
const IDLE: &str = r#"#!/bin/sh
mkdir -p /run/podwire
touch /etc/cni/net.d/00-podwire.conflist
echo "{\"pid\": $$}" > /run/podwire/status.json
echo "ready: or so it says"
exec tail -f /dev/null
"#;

/// The programs with another agent; each test has a folder of its own.
fn with_agent(folder: &str, script: &str) -> Result<PathBuf> {
    let programs = programs()?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&folder)?;
    for (name, program) in [
        ("podwire-cni", &programs.plugin),
        ("podwire", &programs.tool),
    ] {
        fs::copy(program, folder.join(name))?;
    }
    let agent = folder.join("podwired");
    fs::write(&agent, script)?;
    fs::set_permissions(agent, fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

#[test]
fn what_is_not_as_it_must_be_is_named_and_ends_with_1() -> Result<()> {
    Lab::scenario(|lab| {
        let desk = lab.segment("desk")?;
        let folder = with_agent("idle", IDLE)?;
        let demo = desk.command(DEMO).arg("--bin").arg(folder);
        let demo = demo.arg("--cni").arg(&programs()?.plugins).spawn()?;
        demo.wait_for_line("probing after", SOON)?;
        let traces = Traces::of(&demo)?;
        let output = demo.finish_within(SOON)?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        // The plugin alone does all but the routes to the other node, and hides pods from a node that it does not know.
        for text in [
            "demo: walk 1 is not as it must be",
            "after: IPv4 from pod 10.244.0.2 to other host at 10.128.0.3: expected: it sees 10.244.0.2; found: it sees 10.128.0.2",
            "after: IPv4 from pod 10.244.1.2 to pod on the other host at 10.244.0.2: expected: reached; found: ICMP",
            "podwire status: expected: nothing is wrong; found: exit status: 1",
        ] {
            ensure!(
                output.stderr.contains(text),
                "no \"{text}\" in\n{}",
                output.stderr
            );
        }
        ensure!(!output.stderr.contains("to outside"), "{}", output.stderr);
        ensure!(
            output
                .stdout
                .contains("pod on the other host  no answer        no answer"),
            "{}",
            output.stdout
        );
        ensure!(!traces.children.is_empty(), "no agent was seen");
        let left = traces.left()?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
}

#[test]
fn an_agent_that_does_not_start_is_named() -> Result<()> {
    Lab::scenario(|lab| {
        let desk = lab.segment("desk")?;
        let folder = with_agent("dead", "#!/bin/sh\necho 'no agent today'; exit 3\n")?;
        let demo = desk.command(DEMO).arg("--bin").arg(folder);
        let demo = demo.arg("--cni").arg(&programs()?.plugins);
        let output = demo.output_within(SOON)?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        ensure!(output.stderr.contains("no agent today"), "{output:?}");
        let named = output
            .stderr
            .contains("demo: walk 1: no line with \"ready: \"");
        ensure!(named, "{output:?}");

        let wrong = start(&desk, &["--kepe"])?.finish_within(SOON)?;
        ensure!(wrong.status.code() == Some(1), "{wrong:?}");
        ensure!(
            wrong.stderr.contains("cargo xtask demo [--keep]"),
            "{wrong:?}"
        );
        Ok(())
    })
}
