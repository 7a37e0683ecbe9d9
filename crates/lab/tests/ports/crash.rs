//! The plugin is killed at each of its system calls, and the DEL that follows leaves no host port.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Output, Pod, programs};
use serde_json::{Value, json};

use super::{Kind, SOON, Side};

const SIGKILL: i32 = 9;
/// No call is repeated so often by one run.
const MOST: usize = 2000;

fn ports() -> Value {
    json!([{"hostPort": 8080, "containerPort": 80},
        {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "10.128.0.2"}])
}

/// Runs the verb under `strace` with these options.
fn traced(side: &Side, kind: Kind, verb: &str, pod: &Pod, options: &[&str]) -> Result<Output> {
    let name = match kind {
        Kind::Bridge => "bash-cni",
        Kind::Routed => "podwire",
    };
    let mut command = side
        .node
        .command("strace")
        .args(["-f", "-qq", "-e", "signal=none"])
        .args(options)
        .arg("--")
        .arg(programs()?.plugins.join(name))
        .env("CNI_COMMAND", verb);
    for (variable, value) in Attachment::of(pod).environment() {
        command = command.env(variable, value);
    }
    command.stdin(side.conf.to_string()).output_within(SOON)
}

/// The names of the calls that one run of the verb makes.
fn names(side: &Side, kind: Kind, verb: &str, pod: &Pod) -> Result<BTreeSet<String>> {
    traced(side, kind, verb, pod, &["-o", "/run/trace"])?.ok()?;
    let trace = side
        .node
        .attempt(|| Ok(std::fs::read_to_string("/run/trace")?))?;
    let names = trace.lines().filter_map(|line| {
        let (name, _) = line.split_whitespace().nth(1)?.split_once('(')?;
        Some(name.to_owned())
    });
    // Nothing of it can be killed before it has begun.
    Ok(names.filter(|name| name != "execve").collect())
}

fn killed_anywhere(kind: Kind, verb: &str) -> Result<()> {
    Lab::scenario(|lab| {
        let side = Side::alone(lab.node("one").start()?, kind, 0)?;
        let keeper = side.pod("keeper", &json!([{"hostPort": 9000, "containerPort": 80}]))?;
        let kept = side.elements()?;
        let side = side.with(&ports());
        let pod = side.node.pod("a")?;
        let prepare = || match verb {
            "ADD" => Ok(()),
            _ => side.add(&pod)?.ok().map(drop),
        };
        prepare()?;
        let names = names(&side, kind, verb, &pod)?;
        side.del(&pod)?;
        let (mut kills, mut remains) = (0, 0);
        for name in names {
            for number in 1..=MOST {
                prepare()?;
                let trace = format!("--trace={name}");
                let inject = format!("--inject={name}:signal=SIGKILL:when={number}");
                let output = traced(
                    &side,
                    kind,
                    verb,
                    &pod,
                    &["-o", "/dev/null", &trace, &inject],
                )?;
                let killed = output.status.signal() == Some(SIGKILL);
                kills += usize::from(killed);
                remains += usize::from(killed && side.elements()? != kept);
                side.del(&pod).with_context(|| format!("after {inject}"))?;
                let left = side.elements()?;
                ensure!(left == kept, "after {inject}: {left}");
                if !killed {
                    output.ok().with_context(|| inject.clone())?;
                    break;
                }
            }
        }
        println!(
            "{kind:?} {verb}: {kills} kills, ports were there after {remains}, none after DEL"
        );
        ensure!(
            kills > 50 && remains > 5,
            "{kills} kills, {remains} remains"
        );
        side.del(&keeper.pod)?;
        ensure!(side.elements()?.is_empty());
        Ok(())
    })
}

#[test]
fn a_routed_add_with_ports_that_is_killed_anywhere_leaves_none_after_a_del() -> Result<()> {
    killed_anywhere(Kind::Routed, "ADD")
}

#[test]
fn an_add_with_ports_to_a_bridge_that_is_killed_anywhere_leaves_none_after_a_del() -> Result<()> {
    killed_anywhere(Kind::Bridge, "ADD")
}

#[test]
fn a_del_of_ports_that_is_killed_anywhere_is_finished_by_the_next() -> Result<()> {
    killed_anywhere(Kind::Routed, "DEL")
}
