//! Networks beside that of the agent, on its own node: the demo's type while an agent runs, or hangs, or takes over.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::plugin::{Attachment, Plugin};
use lab::walk::{Family, Mode, Site};
use lab::{Lab, Pod, Process, firewall, probe, watch};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use serde_json::{Value, json};

use super::{SOON, Scene, findings, said};

const OUTSIDE: &str = "108.177.121.113";
const MASTER: &str = "10.128.0.2";
/// Whoever undoes what another one did does it within this.
const QUIET: Duration = Duration::from_millis(500);

/// Stops it and returns when it stands.
fn stop(process: &Process) -> Result<()> {
    process.kill(Signal::STOP)?;
    let pid = Pid::from_raw(process.pid().cast_signed()).context("a process number")?;
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(pid), options)?.context("a change")?;
    ensure!(status.stopped(), "it has ended");
    Ok(())
}

/// The pod reaches the outside, which sees the master.
fn is_masqueraded(pod: &Pod) -> Result<()> {
    let outside = SocketAddr::new(OUTSIDE.parse()?, Site::PORT);
    let seen = probe::tcp(pod, outside, SOON).with_context(|| pod.name().to_owned())?;
    ensure!(seen == MASTER.parse::<IpAddr>()?, "seen as {seen}");
    Ok(())
}

/// A pod of the demo's type in a network of which the agent's list of nodes knows nothing.
fn bridged(scene: &Scene, name: &str) -> Result<Pod> {
    let conf: Value = json!({
        "cniVersion": "0.3.1", "name": "mynet", "type": "bash-cni",
        "network": "10.245.0.0/16", "subnet": "10.245.7.0/24",
    });
    let pod = scene.master().pod(name)?;
    let plugin = Plugin::new(scene.programs.plugins.join("bash-cni"));
    let added = plugin.add(scene.master(), &Attachment::of(&pod), &conf)?;
    added.ok().with_context(|| format!("ADD of {name}"))?;
    Ok(pod)
}

/// Nobody changes the ruleset.
fn peace(scene: &Scene) -> Result<()> {
    let node = scene.master();
    let before = firewall::generation(node)?;
    let changed = watch::until(node, "another generation", &[], QUIET, || {
        let now = firewall::generation(node)?;
        Ok((now != before).then_some(now))
    });
    match changed {
        Ok(now) => bail!("generation {before} became {now}"),
        Err(error) if format!("{error:#}").contains("not so within") => Ok(()),
        Err(error) => Err(error),
    }
}

#[test]
fn a_pod_of_the_demos_type_starts_beside_an_agent_that_hangs_and_no_fight_begins() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let agent = &scene.agents[0];
        let before = firewall::generation(scene.master())?;
        stop(&agent.process)?;
        let first = bridged(&scene, "first")?;
        is_masqueraded(&first)?;
        ensure!(
            firewall::generation(scene.master())? != before,
            "the plugin had nothing to do"
        );
        agent.process.kill(Signal::CONT)?;
        scene.settled()?;
        peace(&scene).context("after the agent has looked")?;
        // The next one finds everything as it needs it, and so does the agent.
        let table = said(scene.master(), "nft list table inet podwire")?;
        let generation = firewall::generation(scene.master())?;
        for name in ["second", "third"] {
            is_masqueraded(&bridged(&scene, name)?)?;
            peace(&scene).with_context(|| format!("after the {name} pod"))?;
        }
        ensure!(firewall::generation(scene.master())? == generation);
        let now = said(scene.master(), "nft list table inet podwire")?;
        ensure!(now == table, "{now}\nwas\n{table}");
        let status = agent.status(SOON, "a report", |_| true)?;
        ensure!(findings(&status).is_empty(), "{status:#}");
        is_masqueraded(&first)?;
        scene.everything_is_reached()
    })
}

#[test]
fn pods_move_from_the_demos_type_to_podwire_in_the_same_range() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Bridge)?;
        let side = &scene.site.sides[0];
        let mut held = Vec::new();
        for number in 0..2 {
            held.push(scene.addresses.of(0, number, Family::V4)?);
        }
        let other = scene.addresses.of(1, 0, Family::V4)?;
        let reaches = |pod: &Pod| -> Result<()> {
            is_masqueraded(pod)?;
            probe::ping(pod, other, SOON).context("a pod on the other node")?;
            Ok(())
        };
        let mut routed = Vec::new();
        for name in ["c", "d", "e"] {
            let pod = side.node.pod(name)?;
            let given = side.attach(&scene.programs, Mode::Routed, &pod)?;
            let taken = given.iter().find(|address| held.contains(address));
            ensure!(taken.is_none(), "{name} got {taken:?}, which lives");
            held.extend(given);
            reaches(&pod)?;
            routed.push(pod);
        }
        // Those of before notice nothing, and then go.
        scene.everything_is_reached()?;
        for pod in &side.pods {
            side.detach(&scene.programs, Mode::Bridge, pod)?;
        }
        for pod in &routed {
            reaches(pod)?;
        }
        let status = scene.agents[0].status(SOON, "a report", |_| true)?;
        ensure!(findings(&status).is_empty(), "{status:#}");
        Ok(())
    })
}
