//! The two walks, step by step.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::walk::{Addresses, Agent, Mode, Moment, Round, Site, Wires};
use lab::{Lab, Output, Programs};

use crate::report;
use crate::say;

/// What takes longer has failed: an agent that puts a node in order, a tool that tells how it is.
const SOON: Duration = Duration::from_secs(10);

/// A walk that is done; everything in it is still up.
pub(crate) struct Walk {
    pub(crate) number: usize,
    pub(crate) mode: Mode,
    pub(crate) site: Site,
    pub(crate) addresses: Addresses,
    pub(crate) before: Round,
    pub(crate) after: Round,
    /// What `podwire status` says on the first node.
    pub(crate) status: Output,
    /// Keeps the agents' handles beside what they serve.
    _agents: [Agent; 2],
}

/// Does both walks and prints what came of them.
pub(crate) fn perform(lab: &Lab, programs: &Programs) -> Result<Vec<Walk>> {
    let started = Instant::now();
    report::print(report::HEAD)?;
    let mut walks = Vec::new();
    for (number, mode) in [(1, Mode::Bridge), (2, Mode::Routed)] {
        let walk = walk(lab, programs, number, mode).with_context(|| format!("walk {number}"))?;
        report::print(&report::section(&walk))?;
        let faults = walk.faults();
        if !faults.is_empty() {
            bail!("walk {number} is not as it must be:\n{}", faults.join("\n"));
        }
        walks.push(walk);
    }
    if let Some(last) = walks.last() {
        report::print(&report::status(last))?;
    }
    let probes: usize = walks
        .iter()
        .map(|walk| walk.before.connections.len() + walk.after.connections.len())
        .sum();
    report::print(&format!(
        "\nEverything is as it must be: {probes} connections, each by ICMP and by TCP, in {:.1} s.\n",
        started.elapsed().as_secs_f64()
    ))?;
    Ok(walks)
}

fn walk(lab: &Lab, programs: &Programs, number: usize, mode: Mode) -> Result<Walk> {
    let step = |what: &str| say(format!("walk {number}: {what}"));
    step("two nodes as the demo found them, two pods on each, one host outside");
    let site = Site::new(lab)?;
    step("pods wired by hand; probing before");
    let wires = Wires::lay(&site, mode.families())?;
    let families = mode.families();
    let before = Round::run(&site, &wires.addresses, families, Moment::Before)?;
    wires.remove()?;

    step("podwired on each node");
    let agents = agents(&site, programs, mode)?;
    step("ADD of four pods by podwire-cni");
    let addresses = site.attach(programs, mode)?;
    step("probing after");
    let after = Round::run(&site, &addresses, families, Moment::After)?;

    let command = site.master().command(&programs.tool).arg("status");
    let status = command.output_within(SOON)?;
    Ok(Walk {
        number,
        mode,
        site,
        addresses,
        before,
        after,
        status,
        _agents: agents,
    })
}

/// Starts both at once and waits until both nodes are in order.
fn agents(site: &Site, programs: &Programs, mode: Mode) -> Result<[Agent; 2]> {
    let start = |node| Agent::start(node, programs);
    if mode == Mode::Bridge {
        for side in &site.sides {
            side.write_bash_cni()?;
        }
    }
    let agents = [start(site.master())?, start(site.worker())?];
    for agent in &agents {
        agent.ready(SOON)?;
    }
    Ok(agents)
}

impl Walk {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (when, round) in [("before", &self.before), ("after", &self.after)] {
            let told = round.faults().into_iter();
            faults.extend(told.map(|fault| format!("{when}: {fault}")));
        }
        let Output {
            status,
            stdout,
            stderr,
            ..
        } = &self.status;
        if !status.success() {
            let found = format!("{status}\n{stdout}{stderr}");
            faults.push(format!(
                "podwire status: expected: nothing is wrong; found: {found}"
            ));
        }
        faults
    }
}
