//! The loop: observe, plan, apply, report, wait.
//!
//! A round ends when a look at the node finds nothing more to do, or something cannot be done. The conflist, which tells the
//! runtime that pods may come, is written only then. What a round came to decides when the next one begins (`pace`).

mod known;
mod reckon;
mod sweeps;
mod told;

pub(crate) use told::line;

use crate::kernel::Kernel;
use crate::metrics::{Round, STRIFE, kind};
use crate::pace::{Outcome, Pace, RESYNC};
use crate::report::Report;
use crate::source::{Reading, Source};
use crate::verdict::Health;
use crate::vitals::Vitals;
use crate::wake::{Cause, Wake};
use anyhow::Result;
use host::Error;
use known::Known;
use model::change::Change;
use model::cluster::Cluster;
use model::name::{NetworkName, NodeName};
use model::state::HostState;
use model::status::{Finding, Status};
use plan::after::after;
use plan::mend;
use plan::node::{Plan, plan};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use sweeps::Sweeps;
use tokio::time::{Instant, timeout_at};
use told::Told;
use tracing::{debug, info, warn};

/// Looks at the node within one round: one to find what is to do, one to see that it is done, and some for a ruleset that
/// other programs change at the same time.
pub(crate) const LOOKS: usize = 5;

/// The agent at work.
pub(crate) struct Control {
    source: Source,
    /// None as long as the source has not told.
    cluster: Option<Arc<Cluster>>,
    kernel: Kernel,
    wake: Wake,
    report: Report,
    status: Status,
    vitals: Arc<Vitals>,
    pace: Pace,
    told: Told,
    sweeps: Sweeps,
    started: Instant,
    ready: bool,
    /// Whether the last round found nothing more to do.
    settled: bool,
    /// When the kernel was last asked for every node how it reaches it; none if it is to be asked again.
    asked: Option<Duration>,
    /// The node as it was seen last, if it is so still.
    known: Known,
}

impl Control {
    /// Takes over what `main` has opened.
    pub(crate) fn new(
        (source, cluster): (Source, Option<Cluster>),
        (own, network): (&NodeName, NetworkName),
        (kernel, grace): (Kernel, Duration),
        (run, conflist): (&Path, &Path),
        vitals: Arc<Vitals>,
    ) -> Result<Self> {
        Ok(Self {
            status: Status::new(own.clone(), network, std::process::id()),
            vitals,
            source,
            cluster: cluster.map(Arc::new),
            wake: Wake::open(run, conflist, kernel.ports())?,
            kernel,
            report: Report::below(run),
            pace: Pace::default(),
            told: Told::default(),
            sweeps: Sweeps::new(grace),
            started: Instant::now(),
            ready: false,
            settled: false,
            asked: None,
            known: Known::default(),
        })
    }

    /// Keeps the node in order. Ends only if the agent itself is broken; the node stays as it is then, too.
    pub(crate) async fn run(mut self) -> Result<Infallible> {
        loop {
            let began = self.now();
            let repairs = self.ready && !self.pace.is_news();
            self.pace.begin();
            let (outcome, findings) = self.round().await?;
            self.pace.end(self.now(), outcome);
            if outcome == Outcome::Failed {
                self.asked = None;
            }
            self.vitals.metrics.round(Round {
                outcome,
                took: self.now().saturating_sub(began),
                settled: self.settled || outcome == Outcome::Failed || self.cluster.is_none(),
                repair: repairs && outcome == Outcome::Changed,
            });
            self.judge(outcome, &findings);
            self.sweep().await?;
            if !self.known.is_unseen() {
                self.tell(findings);
            }
            self.wait().await?;
        }
    }

    /// Brings the node in order; what cannot be done comes back as findings.
    async fn round(&mut self) -> Result<(Outcome, Vec<Finding>)> {
        let mut outcome = Outcome::InOrder;
        let mut findings = Vec::new();
        let Some(cluster) = self.cluster.clone() else {
            return Ok((outcome, findings));
        };
        if let Some(reckoned) = self.reckoned(&cluster).await? {
            return Ok(reckoned);
        }
        self.known.look();
        let began = self.now();
        self.settled = false;
        let is_remembered = self.source.is_remembered();
        let fresh = self.ways_are_old();
        for look in 1..=LOOKS {
            // Our own routes lead to pods, and to no node.
            let have = match self.kernel.observe(&cluster, fresh && look == 1).await? {
                Ok(have) => have,
                Err(error) => return Ok((Outcome::Failed, vec![told::failure(&error)])),
            };
            let plan = if is_remembered {
                mend::plan(&cluster, &self.status.node, &have)
            } else {
                plan(&cluster, &self.status.node, &have)
            };
            debug!(
                "look {look}: ruleset generation {}, {} changes",
                have.generation,
                plan.changes.len()
            );
            findings.clone_from(&plan.findings);
            self.note(&cluster, &plan, &have);
            let done = plan.changes.is_empty();
            let changes: Vec<Change> = if done {
                plan.conflist.into_iter().collect()
            } else {
                plan.changes
            };
            if !changes.is_empty() {
                outcome = Outcome::Changed;
            }
            let written = if done { changes.clone() } else { Vec::new() };
            let failed = self.apply(changes, have.generation).await?;
            let stale = failed.iter().any(Error::is_stale);
            if !failed.is_empty() && !stale {
                findings.extend(failed.iter().map(told::failure));
                return Ok((Outcome::Failed, findings));
            }
            if done {
                self.status.generation = have.generation;
                self.settled = true;
                if !is_remembered {
                    self.became_ready();
                    let cost = self.now().saturating_sub(began);
                    self.known.seen(after(have, &written), cost);
                }
                return Ok((outcome, findings));
            }
        }
        // Others are at work on the node as well; what they do wakes us, but so that it does not depend on that:
        self.pace.event(self.now());
        Ok((outcome, findings))
    }

    /// Not everything that moves a way is told: rules are not.
    fn ways_are_old(&mut self) -> bool {
        let now = self.now();
        let old = self.wake.ways_moved() || self.asked.is_none_or(|at| now >= at + RESYNC);
        if old {
            self.asked = Some(now);
        }
        old
    }

    /// What dead pods have left is looked for whether the cluster is known or not.
    async fn sweep(&mut self) -> Result<()> {
        if self.sweeps.is_due(self.now()) {
            let swept = self.kernel.sweep().await?;
            if let Ok(swept) = &swept {
                let reclaimed = swept.reclaimed.len();
                self.vitals.metrics.leaks(&swept.leaks, reclaimed);
            }
            self.sweeps.made(self.now(), swept, &mut self.status);
        }
        Ok(())
    }

    async fn apply(&mut self, changes: Vec<Change>, generation: u32) -> Result<Vec<Error>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let conflist = changes
            .iter()
            .position(|it| matches!(it, Change::WriteConflist(_)));
        let written = conflist.map(|place| (place, changes[place].clone()));
        let lines: Vec<(&str, String)> = changes.iter().map(|it| (kind(it), line(it))).collect();
        let failed = self.kernel.apply(changes, generation).await?.failed;
        if let Some((place, Change::WriteConflist(text))) = written
            && !failed.iter().any(|(at, _)| *at == place)
        {
            self.wake.wrote(&text);
        }
        for (place, (kind, line)) in lines.iter().enumerate() {
            let refused = failed.iter().find(|(at, _)| *at == place);
            self.vitals.metrics.change(kind, refused.is_none());
            match refused {
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

    fn note(&mut self, cluster: &Cluster, plan: &Plan, have: &HostState) {
        let me = cluster.nodes.get(&self.status.node);
        self.status.network = cluster.network.clone();
        self.status.ranges = me.map(|me| me.ranges.clone()).unwrap_or_default();
        self.status.peers.clone_from(&plan.peers);
        self.vitals
            .metrics
            .cluster(cluster.nodes.len(), &plan.peers);
        self.status.table = have.table.as_ref().map(|table| table.version.clone());
    }

    fn became_ready(&mut self) {
        if !self.ready && !self.status.ranges.is_empty() {
            self.ready = true;
            info!("ready: node {} is in order", self.status.node);
        }
    }

    /// Tells those outside who wait for the node, before anything that may take long.
    fn judge(&self, outcome: Outcome, findings: &[Finding]) {
        debug!("round: {outcome:?}");
        let health = self.health(outcome, findings, &self.source.findings());
        self.vitals.turned(health, &self.status.ranges);
    }

    fn tell(&mut self, mut findings: Vec<Finding>) {
        let told = self.source.findings();
        self.source.keep(self.now());
        let strife = self.pace.is_strife().then(told::strife);
        let deaf = self.vitals.deaf();
        let counts = [
            ("node", findings.len()),
            ("source", told.len()),
            ("leaks", self.sweeps.findings().len()),
            (STRIFE, strife.iter().len()),
            ("listener", deaf.iter().len()),
        ];
        self.vitals.metrics.findings(counts);
        let leaks = self.sweeps.findings().iter().cloned();
        findings.extend(told.into_iter().chain(leaks).chain(strife).chain(deaf));
        self.told.findings(&findings);
        self.status.findings = findings;
        if let Err(error) = self.report.put(self.status.clone()) {
            warn!("{error:#}; podwire status shows what was before");
        }
    }

    /// How the node is, for those outside who wait for it. What is wrong elsewhere does not count.
    fn health(&self, outcome: Outcome, findings: &[Finding], told: &[Finding]) -> Health {
        let known = self.cluster.as_deref();
        let Some(me) = known.and_then(|cluster| cluster.nodes.get(&self.status.node)) else {
            return Health::Unknown;
        };
        if self.source.is_remembered() {
            return Health::Unknown;
        }
        let why = |findings: &[Finding], else_: &str| {
            let last = findings.last().map(|finding| finding.what.clone());
            Health::Out(last.unwrap_or_else(|| else_.to_owned()))
        };
        match outcome {
            // What could not be done is told last.
            Outcome::Failed => why(findings, "the node could not be put in order"),
            // A source tells first what is about this node.
            _ if me.ranges.is_empty() => {
                why(told.get(..1).unwrap_or_default(), "the node has no range")
            }
            Outcome::InOrder | Outcome::Changed if self.settled => Health::InOrder,
            // Somebody else is at work on the node as well; it shows next time.
            Outcome::InOrder | Outcome::Changed => Health::Unknown,
        }
    }

    /// Waits until the next round is due, and reads the source if that may have changed.
    async fn wait(&mut self) -> Result<()> {
        let (mut source, mut other) = (false, false);
        self.wake.look();
        loop {
            let next = self.pace.next();
            let next = self.known.due().map_or(next, |look| look.min(next));
            let due = self.started + self.sweeps.next().map_or(next, |sweep| sweep.min(next));
            match timeout_at(due, self.wake.next(&mut self.source)).await {
                Ok(cause) => {
                    let cause = cause?;
                    self.vitals.metrics.woken(cause);
                    match cause {
                        Cause::Source => source = true,
                        Cause::Kernel | Cause::Files => {
                            self.known.forget();
                            other = true;
                        }
                    }
                    self.pace.event(self.now());
                }
                Err(_elapsed) => {
                    // Much may happen there; only what it says makes a round.
                    if self.read() || other || !source {
                        return Ok(());
                    }
                    source = false;
                    self.pace.begin();
                }
            }
        }
    }

    /// Reads the source and says whether it has something new.
    fn read(&mut self) -> bool {
        match self.source.again() {
            Reading::Same => false,
            Reading::New(cluster) => {
                info!(
                    "the list of nodes has changed; it has {} now",
                    cluster.nodes.len()
                );
                self.cluster = Some(Arc::new(cluster));
                self.pace.news();
                true
            }
            Reading::Told => true,
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}
