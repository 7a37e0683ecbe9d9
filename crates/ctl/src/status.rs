//! `podwire status`: the agent's last report, and what the store says now.
//!
//! Works with the agent dead and where there never was one: the store is the plugin's. The kernel is asked about the pods'
//! links only.

mod ends;
mod human;
mod json;

pub(crate) use human::{age, human};
pub(crate) use json::json;

use anyhow::{Context, Result};
use host::store::Store;
use host::{charge, clock};
use model::addr::PodRange;
use model::attachment::Attachment;
use model::name::NetworkName;
use model::status::{FILE, Finding, Status};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A running agent reports twice a minute; one that is silent for longer hangs.
const SILENT: u64 = 90;

/// A node at a glance.
#[derive(Debug)]
pub(crate) struct View {
    /// The agent's last report; none where no agent has run since the node's start.
    pub(crate) agent: Option<Status>,
    /// Whether an agent is in charge now.
    pub(crate) running: bool,
    /// Seconds since that report.
    pub(crate) silent: u64,
    /// The networks with state, by name.
    pub(crate) networks: Vec<Network>,
    /// Everything that is wrong: the findings about the agent, the agent's own, and those about the pods' links.
    pub(crate) findings: Vec<Finding>,
    /// The run folder, if it is not there.
    pub(crate) absent: Option<PathBuf>,
}

/// A network's state.
#[derive(Debug)]
pub(crate) struct Network {
    /// Its name.
    pub(crate) name: NetworkName,
    /// Its ranges on this node, with how many addresses are taken.
    pub(crate) ranges: Vec<(PodRange, u64)>,
    /// Its attachments with their age in seconds, oldest first.
    pub(crate) attachments: Vec<(Attachment, u64)>,
}

/// Reads everything.
///
/// # Errors
/// Something is there and cannot be read.
pub(crate) fn gather(run: &Path) -> Result<View> {
    let running = charge::is_taken(run).with_context(|| hint(run))?;
    let agent = report(run).with_context(|| hint(run))?;
    let networks = networks(run, agent.as_ref()).with_context(|| hint(run))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "people are told how old a report is"
    )]
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.unwrap_or_default().as_secs();
    let silent = agent
        .as_ref()
        .map_or(0, |agent| now.saturating_sub(agent.at));
    let mut findings = findings(agent.as_ref(), running, silent);
    findings.extend(ends::findings(run, &networks));
    let there = run.try_exists().with_context(|| hint(run))?;
    Ok(View {
        findings,
        agent,
        running,
        silent,
        networks,
        absent: (!there).then(|| run.to_owned()),
    })
}

fn hint(run: &Path) -> String {
    format!(
        "look as root: sudo podwire status --run-dir {}",
        run.display()
    )
}

/// The agent's last report.
///
/// # Errors
/// It cannot be read.
pub(crate) fn report(run: &Path) -> Result<Option<Status>> {
    let path = run.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("read {}", path.display()))?,
    };
    let report = serde_json::from_str(&text)
        .with_context(|| format!("{} is no report of this version's agent", path.display()))?;
    Ok(Some(report))
}

fn networks(run: &Path, agent: Option<&Status>) -> Result<Vec<Network>> {
    let mut names: BTreeSet<NetworkName> = Store::networks(run)?.into_iter().collect();
    names.extend(agent.map(|agent| agent.network.clone()));
    let now = clock::boottime_ns();
    let mut networks = Vec::new();
    for name in names {
        let own = agent.filter(|agent| agent.network == name);
        let mut ranges: BTreeSet<PodRange> = own
            .map(|agent| agent.ranges.iter().copied().collect())
            .unwrap_or_default();
        let mut attachments = Vec::new();
        let store = Store::existing(run, &name)?;
        if let Some(store) = &store {
            for file in store.attachments()? {
                // One that is gone by now is gone.
                if let Some(attachment) = store.peek(&file)? {
                    // Of addresses that others gave nobody here knows the range.
                    if attachment.has_leases() {
                        ranges.extend(attachment.addresses.iter().map(|address| address.range));
                    }
                    let age = now.saturating_sub(attachment.born) / 1_000_000_000;
                    attachments.push((attachment, age));
                }
            }
        }
        attachments.sort_by_key(|(attachment, _)| attachment.born);
        let taken = match &store {
            Some(store) => store.leases()?,
            None => BTreeSet::new(),
        };
        let used = |range: &PodRange| taken.iter().filter(|ip| range.offers(**ip)).count() as u64;
        networks.push(Network {
            name,
            ranges: ranges
                .into_iter()
                .map(|range| (range, used(&range)))
                .collect(),
            attachments,
        });
    }
    Ok(networks)
}

fn findings(agent: Option<&Status>, running: bool, silent: u64) -> Vec<Finding> {
    let Some(agent) = agent else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if !running {
        findings.push(Finding {
            what: "the agent is not running: pods start and talk, but nothing is repaired".into(),
            hint: format!("start it: podwired --nodes <file> --node {}", agent.node),
        });
    } else if silent > SILENT {
        findings.push(Finding {
            what: format!("the agent has not reported for {silent} s"),
            hint: format!(
                "see its log, then end it and start it again: kill {}",
                agent.pid
            ),
        });
    }
    findings.extend(agent.findings.iter().cloned());
    findings
}

#[cfg(test)]
mod tests;
