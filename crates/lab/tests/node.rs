//! Whole nodes: agent, plugin and tool together, on the two nodes of the hand-made demo.
//!
//! The real binaries of `dist` run; other people's programs (`ip`, `nft`, `iptables`) only look, or do what an administrator
//! or another program would do. Whatever is waited for is waited for by event, with a deadline.

mod advertisement;
mod beside;
mod conflist;
mod firewalls;
mod install;
mod life;
mod nodes_file;
mod probes;
mod remembered;
mod repair;
mod sources;
mod status;
mod strangers;
mod targets;
mod traces;
mod uninstall;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::walk::{Addresses, Agent, Mode, Moment, NODES_FILE, Round, Site};
use lab::{Lab, Node, Place, Programs, programs};
use serde_json::Value;

/// Whatever is done by then was done in time; only a failure waits so long.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// What an agent repairs is repaired within this, on a machine that does much else.
const REPAIRED: Duration = Duration::from_secs(1);

/// Both nodes in the demo's state, an agent on each, and all four pods attached.
struct Scene {
    site: Site,
    programs: Programs,
    agents: [Agent; 2],
    addresses: Addresses,
    mode: Mode,
}

impl Scene {
    fn new(lab: &Lab, mode: Mode) -> Result<Self> {
        Self::on(Site::new(lab)?, mode)
    }

    /// On nodes to which something was done before.
    fn on(site: Site, mode: Mode) -> Result<Self> {
        let programs = programs()?;
        let agents = match mode {
            Mode::Routed => Agent::start_all(&site, &programs)?,
            Mode::Bridge => {
                for side in &site.sides {
                    side.write_bash_cni()?;
                }
                let start = |node| Agent::start(node, &programs);
                let agents = [start(site.master())?, start(site.worker())?];
                for agent in &agents {
                    agent.ready(SOON)?;
                }
                agents
            }
        };
        let addresses = site.attach(&programs, mode)?;
        Ok(Self {
            site,
            programs,
            agents,
            addresses,
            mode,
        })
    }

    fn master(&self) -> &Node {
        self.site.master()
    }

    fn round(&self) -> Result<Round> {
        let families = self.mode.families();
        Round::run(&self.site, &self.addresses, families, Moment::After)
    }

    /// All five targets are reached from both nodes, and everybody sees who it should.
    fn everything_is_reached(&self) -> Result<()> {
        let faults = self.round()?.faults();
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    }

    /// Returns when the agent has brought in order whatever was done to the master before.
    fn settled(&self) -> Result<()> {
        let agent = &self.agents[0];
        let mark = agent.mark();
        said(self.master(), "ip route del 10.244.1.0/24")?;
        // It is told when all changes of its round are made.
        let told = "replace route 10.244.1.0/24";
        agent.process.wait_for_line_after(mark, told, SOON)?;
        Ok(())
    }
}

/// Output of a program of the machine; the words are separated by spaces.
fn said(place: &Place, words: &str) -> Result<String> {
    fed(place, words, "")
}

/// The same for one that reads from standard input.
fn fed(place: &Place, words: &str, input: &str) -> Result<String> {
    let mut words = words.split(' ');
    let program = words.next().context("a program")?;
    let command = place.command(program).args(words).stdin(input);
    let output = command.output_within(SOON).with_context(|| {
        format!("{program}: run `cargo xtask test`, it installs what is needed")
    })?;
    Ok(output.ok()?.stdout)
}

/// `iptables -S CHAIN` as lines.
fn chain(place: &Place, program: &str, chain: &str) -> Result<Vec<String>> {
    let text = said(place, &format!("{program} -S {chain}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// All routes of both families that the node could have been given, one a line.
fn routes(place: &Place) -> Result<BTreeSet<String>> {
    let text = said(place, "ip route show")? + &said(place, "ip -6 route show")?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

/// Everything in the kernel that an agent could have changed.
fn kernel(node: &Node) -> Result<String> {
    let mut text = String::new();
    for words in [
        "ip -j addr",
        "ip -j route show table all",
        "ip -j -6 route show table all",
        "ip -j rule",
        "nft -a list ruleset",
    ] {
        text.push_str(&format!("{words}: {}\n", timeless(&said(node, words)?)));
    }
    let switches = [
        "ipv4/ip_forward",
        "ipv6/conf/all/forwarding",
        "ipv6/conf/eth0/accept_ra",
    ];
    for switch in switches {
        let path = format!("/proc/sys/net/{switch}");
        text.push_str(&node.attempt(|| Ok(std::fs::read_to_string(path)?))?);
    }
    Ok(text)
}

/// Says which lines are not in both.
fn same(what: &str, before: &str, after: &str) -> Result<()> {
    let lines = |text: &str| -> BTreeSet<String> { text.lines().map(str::to_owned).collect() };
    let (before, after) = (lines(before), lines(after));
    let gone: Vec<_> = before.difference(&after).collect();
    let new: Vec<_> = after.difference(&before).collect();
    ensure!(
        gone.is_empty() && new.is_empty(),
        "{what}: gone {gone:#?}, new {new:#?}"
    );
    Ok(())
}

/// Without what changes by itself: counters of packets.
fn timeless(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| match line.split_once("counter packets ") {
            Some((before, counted)) => {
                let rest: Vec<&str> = counted.splitn(4, ' ').collect();
                format!("{before}counter {}", rest.last().unwrap_or(&""))
            }
            None => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

/// Puts another `nodes.toml` in the place of the node's own, as an editor does.
fn put_nodes(node: &Node, text: &str) -> Result<()> {
    let unfinished = format!("{NODES_FILE}.new");
    node.attempt(|| {
        std::fs::write(&unfinished, text)?;
        std::fs::rename(&unfinished, NODES_FILE).context("put nodes.toml in its place")
    })
}

/// What the agent says of the node, as findings in one text.
pub(crate) fn findings(status: &Value) -> String {
    let findings = status["findings"].as_array().into_iter().flatten();
    findings.map(|finding| format!("{finding}\n")).collect()
}
