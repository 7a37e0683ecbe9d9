//! What is counted, under the names that Prometheus gets.
//!
//! Names and units by Prometheus' conventions: base units, `_total` for what only grows. Nothing is decided from a number.
//! docs/metrics.md is the same list, and a test compares the two.

mod api;
mod kind;
mod moment;

pub(crate) use api::Api;
pub(crate) use kind::kind;
pub(crate) use moment::Moment;

use crate::control::LOOKS;
use crate::listen::{CONNECTIONS, LONGEST, STRANGERS};
use crate::pace::Outcome;
use crate::wake::Cause;
use model::reclaim::{Kind, Leak};
use model::status::{Path, Peer};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

/// All names but those of the process begin so.
const PREFIX: &str = "podwire";

/// Bounds of a round's duration, in seconds.
const ROUND: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// What a finding is about when another program undoes what podwired does.
pub(crate) const STRIFE: &str = "strife";

/// Names and values of labels.
type Labels = Vec<(&'static str, String)>;

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// What the way to the API server counts; all nothing where there is none.
    pub(crate) api: Api,
    registry: Registry,
    rounds: Family<Labels, Counter>,
    duration: Histogram,
    unsettled: Counter,
    repairs: Counter,
    wakes: Family<Labels, Counter>,
    changes: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
    findings: Family<Labels, Gauge>,
    leaks: Family<Labels, Gauge>,
    reclaimed: Counter,
    nodes: Gauge,
    ways: Family<Labels, Gauge>,
    connections: Gauge,
    cut_off: Counter,
}

/// What a round came to, in numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// What it came to.
    pub(crate) outcome: Outcome,
    /// How long it took.
    pub(crate) took: Duration,
    /// Whether it ended with nothing left to do, or by a failure.
    pub(crate) settled: bool,
    /// Whether it changed what somebody else had changed.
    pub(crate) repair: bool,
}

impl Metrics {
    /// Nothing has happened yet. Numbers about the API server exist only `with_api`.
    pub(crate) fn new(with_api: bool) -> Self {
        let mut metrics = Self {
            api: Api::default(),
            registry: Registry::with_prefix(PREFIX),
            rounds: Family::default(),
            duration: Histogram::new(ROUND),
            unsettled: Counter::default(),
            repairs: Counter::default(),
            wakes: Family::default(),
            changes: Family::default(),
            refused: Family::default(),
            findings: Family::default(),
            leaks: Family::default(),
            reclaimed: Counter::default(),
            nodes: Gauge::default(),
            ways: Family::default(),
            connections: Gauge::default(),
            cut_off: Counter::default(),
        };
        metrics.register();
        if with_api {
            metrics.api.register(&mut metrics.registry);
        }
        metrics
    }

    fn register(&mut self) {
        self.register_counters();
        self.register_gauges();
    }

    fn register_counters(&mut self) {
        let all = &mut self.registry;
        let unsettled = format!(
            "Rounds that used up their {LOOKS} looks because others changed the node meanwhile"
        );
        let cut_off = format!(
            "Connections to this listener that lasted longer than {} s and were cut off",
            LONGEST.as_secs()
        );
        let reclaimed = "What was reclaimed: records of dead pods, each with all that it named, and addresses that no record had".to_owned();
        let repairs = "Rounds that changed something on a node that had been in order, although the cluster was the same: somebody else had changed it, or pods with bridges or host ports came and went".to_owned();
        for (name, help, counter) in [
            ("rounds_unsettled", unsettled, &self.unsettled),
            ("repairs", repairs, &self.repairs),
            ("reclaimed", reclaimed, &self.reclaimed),
            ("http_cut_off", cut_off, &self.cut_off),
        ] {
            all.register(name, help, counter.clone());
        }
        for (name, help, family) in [
            (
                "rounds",
                "Looks at the node until nothing is left to do, or another list of nodes put into effect without one; outcome: in_order, changed, failed",
                &self.rounds,
            ),
            (
                "wakes",
                "Events that a round was asked for by; cause: source, kernel, files",
                &self.wakes,
            ),
            (
                "changes",
                "Changes made to the node, by kind",
                &self.changes,
            ),
            (
                "changes_refused",
                "Changes that the kernel or the disk refused, by kind",
                &self.refused,
            ),
        ] {
            all.register(name, help, family.clone());
        }
        all.register(
            "round_duration_seconds",
            "How long a round took",
            self.duration.clone(),
        );
    }

    fn register_gauges(&mut self) {
        let all = &mut self.registry;
        let connections = format!(
            "Connections to this listener now, at most {CONNECTIONS}, and {STRANGERS} of them from elsewhere"
        );
        for (name, help, gauge) in [
            (
                "nodes",
                "Nodes of the cluster, this one included".to_owned(),
                &self.nodes,
            ),
            ("http_connections", connections, &self.connections),
        ] {
            all.register(name, help, gauge.clone());
        }
        for (name, help, family) in [
            (
                "findings",
                "What is wrong, as podwire status says it; about: node, source, leaks, strife, listener",
                &self.findings,
            ),
            (
                "leaks",
                "What dead pods have left, as podwire leaks says it; kind: dead, stranded, broken, lease, link",
                &self.leaks,
            ),
            (
                "ways",
                "Ranges of other nodes by the path to them; path: direct, none",
                &self.ways,
            ),
        ] {
            all.register(name, help, family.clone());
        }
    }

    /// A round has ended.
    pub(crate) fn round(&self, round: Round) {
        let outcome = match round.outcome {
            Outcome::InOrder => "in_order",
            Outcome::Changed => "changed",
            Outcome::Failed => "failed",
        };
        self.rounds.get_or_create(&label("outcome", outcome)).inc();
        self.duration.observe(round.took.as_secs_f64());
        if round.repair {
            self.repairs.inc();
        }
        if !round.settled {
            self.unsettled.inc();
        }
    }

    /// Something has happened.
    pub(crate) fn woken(&self, cause: Cause) {
        let cause = match cause {
            Cause::Source => "source",
            Cause::Kernel => "kernel",
            Cause::Files => "files",
        };
        self.wakes.get_or_create(&label("cause", cause)).inc();
    }

    /// A change of this kind was made, or refused.
    pub(crate) fn change(&self, kind: &str, made: bool) {
        let family = if made { &self.changes } else { &self.refused };
        family.get_or_create(&label("kind", kind)).inc();
    }

    /// What is wrong now, by what it is about.
    pub(crate) fn findings(&self, counts: [(&str, usize); 5]) {
        for (about, count) in counts {
            self.findings
                .get_or_create(&label("about", about))
                .set(number(count));
        }
    }

    /// Whether one of the findings is that another program undoes what podwired does.
    fn is_strife(&self) -> bool {
        let strife = self.findings.get(&label("about", STRIFE));
        strife.is_some_and(|count| count.get() > 0)
    }

    /// What dead pods have left now, and how much of it was reclaimed since the last time.
    pub(crate) fn leaks(&self, leaks: &[Leak], reclaimed: usize) {
        for kind in Kind::SWEPT {
            let count = leaks.iter().filter(|leak| leak.kind == kind).count();
            self.leaks
                .get_or_create(&label("kind", kind.as_str()))
                .set(number(count));
        }
        self.reclaimed.inc_by(reclaimed as u64);
    }

    /// The cluster as it is now.
    pub(crate) fn cluster(&self, nodes: usize, peers: &[Peer]) {
        self.nodes.set(number(nodes));
        let mut counts = [("direct", 0), ("none", 0)];
        for way in peers.iter().flat_map(|peer| &peer.ways) {
            match way.path {
                Path::Direct { .. } => counts[0].1 += 1,
                Path::None => counts[1].1 += 1,
            }
        }
        for (path, count) in counts {
            self.ways.get_or_create(&label("path", path)).set(count);
        }
    }

    /// Counts a connection until the answer is dropped.
    pub(crate) fn connection(&self) -> Connection {
        debug_assert!(
            self.connections.get() < number(CONNECTIONS),
            "each has a place"
        );
        self.connections.inc();
        Connection(self.connections.clone())
    }

    /// A connection lasted too long.
    pub(crate) fn cut_off(&self) {
        self.cut_off.inc();
    }

    /// All of it in the form OpenMetrics, with what holds at this moment.
    pub(crate) fn text(&self, moment: &Moment) -> String {
        let mut text = String::new();
        let all = [
            &self.registry,
            &moment.registry(&self.api, self.is_strife()),
        ];
        let written = all
            .iter()
            .try_for_each(|registry| encode_registry(&mut text, registry))
            .and_then(|()| encode_eof(&mut text));
        debug_assert!(written.is_ok(), "a string takes everything");
        text
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection(Gauge);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
