//! What the way to the API server counts.
//!
//! A handle, cheap to clone: whoever follows the Nodes and whoever writes the condition count into the same numbers.

use super::{Labels, label};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Numbers about the API server.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    lists: Counter,
    watches: Counter,
    events: Counter,
    failures: Family<Labels, Counter>,
    conditions: Family<Labels, Counter>,
    last: Gauge<f64, AtomicU64>,
    /// Since when it does not answer.
    away: Arc<Mutex<Option<Instant>>>,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            lists: Counter::default(),
            watches: Counter::default(),
            events: Counter::default(),
            failures: Family::default(),
            conditions: Family::default(),
            last: Gauge::default(),
            // It has not answered yet.
            away: Arc::new(Mutex::new(Some(Instant::now()))),
        }
    }
}

impl Api {
    pub(super) fn register(&self, all: &mut Registry) {
        let mut counter = |name, help, counter: &Counter| all.register(name, help, counter.clone());
        counter(
            "api_lists",
            "Lists of all Nodes that were taken: one at the start, and one after each state that the API server no longer knew",
            &self.lists,
        );
        counter(
            "api_watches",
            "Watches that were begun; each lasts at most 60 s",
            &self.watches,
        );
        counter(
            "api_events",
            "Changes of Nodes that were heard",
            &self.events,
        );
        let mut family =
            |name, help, family: &Family<Labels, Counter>| all.register(name, help, family.clone());
        family(
            "api_failures",
            "Requests for Nodes that failed; kind: silent (no answer), refusal (another answer), gone (410: too old, listed anew)",
            &self.failures,
        );
        family(
            "condition_writes",
            "Writes of the condition NetworkUnavailable; result: done, failed",
            &self.conditions,
        );
        all.register(
            "api_last_event_timestamp_seconds",
            "When the API server last told anything, a bookmark included",
            self.last.clone(),
        );
    }

    /// A whole list was taken.
    pub(crate) fn listed(&self) {
        self.lists.inc();
        self.heard();
    }

    /// A watch has begun.
    pub(crate) fn watching(&self) {
        self.watches.inc();
    }

    /// A Node has changed.
    pub(crate) fn event(&self) {
        self.events.inc();
        self.heard();
    }

    /// It has told something.
    pub(crate) fn heard(&self) {
        #[expect(clippy::disallowed_methods, reason = "Prometheus is told")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        self.last.set(since.unwrap_or_default().as_secs_f64());
    }

    /// It answers.
    pub(crate) fn reached(&self) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It does not answer as it should.
    pub(crate) fn failed(&self, kind: &str) {
        self.failures.get_or_create(&label("kind", kind)).inc();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.get_or_insert_with(Instant::now);
    }

    /// It no longer knows the state that the watch began at.
    pub(crate) fn gone(&self) {
        self.failures.get_or_create(&label("kind", "gone")).inc();
    }

    /// The condition was written, or could not be.
    pub(crate) fn condition(&self, done: bool) {
        let result = if done { "done" } else { "failed" };
        self.conditions
            .get_or_create(&label("result", result))
            .inc();
    }

    /// How long it has not answered; none while it does.
    pub(super) fn outage(&self) -> Option<Duration> {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.map(|since| since.elapsed())
    }
}
