//! The loop: observe, plan, apply, report, wait.
//!
//! A round ends when a look at the node finds nothing more to do, or something cannot be done. The conflist, which tells the
//! runtime that pods may come, is written only then. What a round came to decides when the next one begins (`pace`).

mod told;

pub(crate) use told::line;

use crate::kernel::Kernel;
use crate::pace::{Outcome, Pace};
use crate::report::Report;
use crate::source::{Reading, Source};
use crate::wake::{Cause, Wake};
use anyhow::Result;
use host::Error;
use model::change::Change;
use model::cluster::Cluster;
use model::name::NodeName;
use model::state::HostState;
use model::status::{Finding, Status};
use plan::node::{Plan, plan};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use told::Told;
use tracing::{debug, info, warn};

/// Looks at the node within one round: one to find what is to do, one to see that it is done, and some for a ruleset that
/// other programs change at the same time.
const LOOKS: usize = 5;

/// The agent at work.
pub(crate) struct Control {
    source: Source,
    cluster: Arc<Cluster>,
    kernel: Kernel,
    wake: Wake,
    report: Report,
    status: Status,
    pace: Pace,
    told: Told,
    started: Instant,
    ready: bool,
}

impl Control {
    /// Takes over what `main` has opened.
    pub(crate) fn new(
        (source, cluster): (Source, Cluster),
        own: &NodeName,
        kernel: Kernel,
        (run, conf): (&Path, &Path),
    ) -> Result<Self> {
        Ok(Self {
            status: Status {
                node: own.clone(),
                network: cluster.network.clone(),
                ranges: Vec::new(),
                peers: Vec::new(),
                table: None,
                generation: 0,
                findings: Vec::new(),
                at: 0,
                pid: std::process::id(),
            },
            source,
            cluster: Arc::new(cluster),
            wake: Wake::open(run, conf, kernel.ports())?,
            kernel,
            report: Report::below(run),
            pace: Pace::default(),
            told: Told::default(),
            started: Instant::now(),
            ready: false,
        })
    }

    /// Keeps the node in order. Ends only if the agent itself is broken; the node stays as it is then, too.
    pub(crate) async fn run(mut self) -> Result<Infallible> {
        loop {
            self.pace.begin();
            let (outcome, findings) = self.round().await?;
            self.pace.end(self.now(), outcome);
            self.tell(outcome, findings);
            self.wait().await?;
        }
    }

    /// Brings the node in order; what cannot be done comes back as findings.
    async fn round(&mut self) -> Result<(Outcome, Vec<Finding>)> {
        let mut outcome = Outcome::InOrder;
        let mut findings = Vec::new();
        for look in 1..=LOOKS {
            let have = match self.kernel.observe(&self.cluster).await? {
                Ok(have) => have,
                Err(error) => return Ok((Outcome::Failed, vec![told::failure(&error)])),
            };
            let plan = plan(&self.cluster, &self.status.node, &have);
            debug!(
                "look {look}: ruleset generation {}, {} changes",
                have.generation,
                plan.changes.len()
            );
            findings.clone_from(&plan.findings);
            self.note(&plan, &have);
            let done = plan.changes.is_empty();
            let changes = if done {
                plan.conflist.into_iter().collect()
            } else {
                plan.changes
            };
            if !changes.is_empty() {
                outcome = Outcome::Changed;
            }
            let failed = self.apply(changes, have.generation).await?;
            let stale = failed.iter().any(Error::is_stale);
            if !failed.is_empty() && !stale {
                findings.extend(failed.iter().map(told::failure));
                return Ok((Outcome::Failed, findings));
            }
            if done {
                self.status.generation = have.generation;
                self.became_ready();
                return Ok((outcome, findings));
            }
        }
        // Others are at work on the node as well; what they do wakes us, but so that it does not depend on that:
        self.pace.event(self.now());
        Ok((outcome, findings))
    }

    async fn apply(&mut self, changes: Vec<Change>, generation: u32) -> Result<Vec<Error>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let lines: Vec<String> = changes.iter().map(line).collect();
        let failed = self.kernel.apply(changes, generation).await?.failed;
        for (place, line) in lines.iter().enumerate() {
            match failed.iter().find(|(at, _)| *at == place) {
                None => info!("{line}"),
                Some((_, error)) => debug!("not done: {line}: {error}"),
            }
        }
        // A refused transaction says the same of each of its changes.
        let mut errors: Vec<Error> = Vec::new();
        for (_, error) in failed {
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
        Ok(errors)
    }

    fn note(&mut self, plan: &Plan, have: &HostState) {
        let me = self.cluster.nodes.get(&self.status.node);
        self.status.network = self.cluster.network.clone();
        self.status.ranges = me.map(|me| me.ranges.clone()).unwrap_or_default();
        self.status.peers.clone_from(&plan.peers);
        self.status.table = have.table.as_ref().map(|table| table.version.clone());
    }

    fn became_ready(&mut self) {
        if !self.ready {
            self.ready = true;
            info!("ready: node {} is in order", self.status.node);
        }
    }

    fn tell(&mut self, outcome: Outcome, mut findings: Vec<Finding>) {
        debug!("round: {outcome:?}");
        findings.extend(self.source.findings());
        if self.pace.is_strife() {
            findings.push(told::strife());
        }
        self.told.findings(&findings);
        self.status.findings = findings;
        if let Err(error) = self.report.put(self.status.clone()) {
            warn!("{error:#}; podwire status shows what was before");
        }
    }

    /// Waits until the next round is due, and reads the cluster's file if that may have changed.
    async fn wait(&mut self) -> Result<()> {
        let (mut file, mut other) = (false, false);
        self.wake.look();
        loop {
            let due = self.started + self.pace.next();
            match timeout_at(due, self.wake.next(&mut self.source)).await {
                Ok(cause) => {
                    match cause? {
                        Cause::File => file = true,
                        Cause::Kernel | Cause::Files => other = true,
                    }
                    self.pace.event(self.now());
                }
                Err(_elapsed) => {
                    // Much may happen in the file's folder; only what it says makes a round.
                    if self.read() || other || !file {
                        return Ok(());
                    }
                    file = false;
                    self.pace.begin();
                }
            }
        }
    }

    /// Reads the file and says whether it has something new.
    fn read(&mut self) -> bool {
        match self.source.again() {
            Reading::Same => false,
            Reading::New(cluster) => {
                info!("the list of nodes has changed");
                self.cluster = Arc::new(cluster);
                true
            }
            Reading::Wrong => true,
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}
