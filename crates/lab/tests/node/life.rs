//! An agent ends, is killed, comes back, meets another one; a node is rebooted. Packets do not notice.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::walk::{Addresses, Agent, Family, Mode, NODES_FILE, Site};
use lab::{Lab, programs, stream};
use rustix::process::Signal;

use super::{SOON, Scene, kernel, same};

const PORTS: [u16; 2] = [9000, 9001];
const RATE: u32 = 1000;

#[test]
fn sigterm_ends_the_agent_within_a_second_and_changes_nothing() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        scene.settled()?;
        let before = kernel(scene.master())?;
        let agent = &scene.agents[0];
        let told = Instant::now();
        agent.process.kill(Signal::TERM)?;
        let status = agent.process.wait_within(Duration::from_secs(1))?;
        ensure!(
            status.code() == Some(0),
            "{status} after {:?}",
            told.elapsed()
        );
        same(
            "the end of the agent changes something",
            &before,
            &kernel(scene.master())?,
        )?;
        scene.everything_is_reached()
    })
}

/// The moments of a start at which the signal comes, as the system calls that it comes with. The first one of all looks
/// after the list of nodes.
const MOMENTS: [(&str, u32); 8] = [
    ("inotify_init1", 1),
    ("flock", 1),
    ("ftruncate", 1),
    ("socket", 1),
    ("bind", 2),
    ("inotify_init1", 2),
    ("sendto", 1),
    ("sendto", 10),
];

#[test]
fn a_sigterm_at_any_moment_of_its_start_ends_the_agent_orderly() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let programs = programs()?;
        // It leaves the list of nodes there.
        let first = Agent::start(site.master(), &programs)?;
        first.ready(SOON)?;
        first.process.kill(Signal::TERM)?;
        first.process.wait_within(SOON)?;
        for (call, number) in MOMENTS {
            // A signal that does not come lets it run until the deadline.
            let inject = format!("inject={call}:signal=TERM:when={number}");
            let trace = format!("trace={call}");
            let strace = site.master().command("strace");
            let strace =
                strace.args(["-f", "-qq", "-o", "/run/trace", "-e", &trace, "-e", &inject]);
            let agent = strace.arg("--").arg(&programs.agent);
            let agent = agent.args(["--nodes", NODES_FILE, "--node", site.master().name()]);
            let ended = agent.output_within(SOON)?;
            ensure!(ended.status.code() == Some(0), "{call} {number}: {ended:?}");
        }
        Agent::start(site.master(), &programs)?
            .ready(SOON)
            .map(drop)
    })
}

/// Before it listens to signals, it has touched nothing.
#[test]
fn a_sigterm_that_comes_with_the_start_ends_the_agent_and_the_next_one_starts() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let programs = programs()?;
        for _ in 0..20 {
            let agent = Agent::start(site.master(), &programs)?;
            agent.process.kill(Signal::TERM)?;
            let status = agent.process.wait_within(Duration::from_secs(1))?;
            let orderly = status.code() == Some(0);
            ensure!(
                orderly || status.signal() == Some(Signal::TERM.as_raw()),
                "{status}: {}",
                agent.process.stderr()
            );
        }
        Agent::start(site.master(), &programs)?
            .ready(SOON)
            .map(drop)
    })
}

/// Ends both agents by the signal and starts them again while packets run in both families; none may be lost.
fn restart_under_load(lab: &Lab, mode: Mode, signal: Signal) -> Result<()> {
    let mut scene = Scene::new(lab, mode)?;
    scene.everything_is_reached()?;
    scene.settled()?;
    let before = kernel(scene.master())?;
    let streams = mode
        .families()
        .iter()
        .zip(PORTS)
        .map(|(&family, port)| {
            let target = SocketAddr::new(scene.addresses.of(1, 0, family)?, port);
            let [from, to] = &scene.site.sides;
            stream::start(&from.pods[0], &to.pods[0], target, RATE)
        })
        .collect::<Result<Vec<_>>>()?;
    for agent in &scene.agents {
        agent.process.kill(signal)?;
        let status = agent.process.wait_within(SOON)?;
        let expected = signal == Signal::KILL;
        ensure!((status.signal() == Some(9)) == expected, "{status}");
    }
    let start = |node| Agent::start(node, &scene.programs);
    let agents = [start(scene.site.master())?, start(scene.site.worker())?];
    for agent in &agents {
        agent.ready(SOON)?;
    }
    scene.agents = agents;
    for stream in streams {
        let tally = stream.finish()?;
        ensure!(tally.sent > 0 && tally.lost() == 0, "{tally:?}");
    }
    same(
        "a restart changes something",
        &before,
        &kernel(scene.master())?,
    )?;
    scene.everything_is_reached()
}

#[test]
fn a_kill_and_a_restart_lose_no_packet() -> Result<()> {
    Lab::scenario(|lab| {
        restart_under_load(lab, Mode::Routed, Signal::KILL)?;
        restart_under_load(lab, Mode::Bridge, Signal::KILL)
    })
}

#[test]
fn an_orderly_restart_loses_no_packet() -> Result<()> {
    Lab::scenario(|lab| restart_under_load(lab, Mode::Routed, Signal::TERM))
}

#[test]
fn pods_start_and_talk_while_no_agent_runs() -> Result<()> {
    Lab::scenario(|lab| {
        let mut scene = Scene::new(lab, Mode::Routed)?;
        for agent in &scene.agents {
            agent.process.kill(Signal::KILL)?;
            agent.process.wait_within(SOON)?;
        }
        for (number, side) in scene.site.sides.iter().enumerate() {
            let pod = &side.pods[0];
            side.detach(&scene.programs, scene.mode, pod)?;
            scene.addresses.0[number][0] = side.attach(&scene.programs, scene.mode, pod)?;
        }
        scene.everything_is_reached()
    })
}

#[test]
fn a_second_agent_on_a_node_is_refused_by_the_number_of_the_first() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let first = &scene.agents[0].process;
        let second = Agent::start(scene.master(), &scene.programs)?;
        let refused = second.process.finish_within(SOON)?;
        ensure!(refused.status.code() == Some(1), "{refused:?}");
        let named = format!("process {}", first.pid());
        ensure!(
            refused.stderr.contains(&named),
            "{refused:?} does not name {named}"
        );
        ensure!(first.is_running(), "the first one has ended");
        scene.everything_is_reached()
    })
}

#[test]
fn a_reboot_brings_everything_back() -> Result<()> {
    Lab::scenario(|lab| {
        let mut scene = Scene::new(lab, Mode::Routed)?;
        let before = scene.addresses.of(0, 0, Family::V4)?;
        scene.site.reboot(0)?;
        scene.agents[0] = Agent::start(scene.master(), &scene.programs)?;
        scene.agents[0].ready(SOON)?;
        let side = &scene.site.sides[0];
        let attach = |pod| side.attach(&scene.programs, scene.mode, pod);
        let given = [attach(&side.pods[0])?, attach(&side.pods[1])?];
        let Addresses(all) = &mut scene.addresses;
        all[0] = given;
        let after = scene
            .addresses
            .of(0, 0, Family::V4)
            .context("the address after the reboot")?;
        ensure!(
            after == before,
            "{before} before, {after} after: addresses begin anew"
        );
        scene.everything_is_reached()
    })
}
