//! How the agent and its node are, in one place: written by the loop, read by whoever asks.
//!
//! The cluster's condition and the readiness probe are one verdict, so that they never contradict each other. Alive is
//! another question: the loop and the kernel thread turn round, whether the node is in order or not and whether the API
//! server answers or not, because a restart would mend none of that.

use crate::metrics::{Metrics, Moment};
use crate::verdict::{Health, Judge, Verdict};
use host::store::Store;
use host::usage;
use model::addr::PodRange;
use model::status::Finding;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;

/// An agent whose last round is older is stuck. A round is due every 30 s, and a busy machine may need some for one.
pub(crate) const STUCK: Duration = Duration::from_secs(120);

/// What is known of agent and node.
#[derive(Debug)]
pub(crate) struct Vitals {
    /// All that is counted.
    pub(crate) metrics: Metrics,
    started: Instant,
    run: PathBuf,
    with_api: bool,
    health: watch::Sender<Health>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    judge: Judge,
    /// End of the last round, since the start.
    turned: Duration,
    ranges: Vec<PodRange>,
    /// What is wrong with the listener.
    deaf: Option<Finding>,
}

impl Vitals {
    /// Nothing is known yet. `run` holds the networks' state; `with_api`: there is an API server to be reached.
    pub(crate) fn new(run: &Path, with_api: bool) -> Self {
        Self {
            metrics: Metrics::new(with_api),
            started: Instant::now(),
            run: run.to_owned(),
            with_api,
            health: watch::Sender::new(Health::Unknown),
            state: Mutex::default(),
        }
    }

    /// A round has ended, and this is how the node is, whose own ranges these are.
    pub(crate) fn turned(&self, health: Health, ranges: &[PodRange]) {
        let now = self.started.elapsed();
        let mut state = self.state();
        state.turned = now;
        state.judge.see(now, &health);
        if state.ranges != ranges {
            state.ranges = ranges.to_vec();
        }
        drop(state);
        self.health.send_if_modified(|known| {
            let is_news = *known != health;
            *known = health;
            is_news
        });
    }

    /// Tells of every change of the node's health.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Whether the node's network is there; none as long as nothing is certain.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let health = self.health.borrow().clone();
        let now = self.started.elapsed();
        self.state().judge.see(now, &health).cloned()
    }

    /// When the verdict may change although nothing happens.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.state().judge.due().map(|due| self.started + due)
    }

    /// Whether the agent turns round; if not, since when.
    pub(crate) fn alive(&self) -> Result<(), String> {
        let turned = self.state().turned;
        is_turning(turned, self.started.elapsed())
    }

    /// Whether pods can come; if not, why.
    pub(crate) fn ready(&self) -> Result<(), String> {
        match self.verdict() {
            Some(Verdict::Up) => Ok(()),
            Some(Verdict::Down(why)) => Err(why),
            None => Err("the node has not been in order yet; podwire status says why".into()),
        }
    }

    /// Whether the listener has its address; if not, what is wrong.
    pub(crate) fn listening(&self, wrong: Option<Finding>) {
        self.state().deaf = wrong;
    }

    /// What is wrong with the listener.
    pub(crate) fn deaf(&self) -> Option<Finding> {
        self.state().deaf.clone()
    }

    /// Everything that is counted, as text.
    pub(crate) fn text(&self) -> String {
        let state = self.state();
        let (ranges, turned) = (state.ranges.clone(), state.turned);
        drop(state);
        let networks = used(&self.run, &ranges).unwrap_or_else(|error| {
            debug!("{error}");
            Vec::new()
        });
        self.metrics.text(&Moment {
            ready: self.ready().is_ok(),
            since_round: self.started.elapsed().saturating_sub(turned),
            up: self.started.elapsed(),
            networks,
            usage: usage::own().ok(),
            with_api: self.with_api,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; if it did, each part would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A network's state in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    /// Its name.
    pub(crate) network: String,
    /// Attachments.
    pub(crate) attachments: usize,
    /// The node's ranges, and how many addresses of each are taken.
    pub(crate) ranges: Vec<(PodRange, u64)>,
}

fn used(run: &Path, ranges: &[PodRange]) -> Result<Vec<Used>, host::Error> {
    let mut all = Vec::new();
    for store in Store::all(run)? {
        let leases = store.leases()?;
        let taken = |range: &PodRange| leases.iter().filter(|ip| range.offers(**ip)).count();
        all.push(Used {
            network: store.network().to_string(),
            attachments: store.attachments()?.len(),
            ranges: ranges
                .iter()
                .map(|range| (*range, taken(range) as u64))
                .collect(),
        });
    }
    Ok(all)
}

fn is_turning(turned: Duration, now: Duration) -> Result<(), String> {
    let silence = now.saturating_sub(turned);
    if silence < STUCK {
        return Ok(());
    }
    Err(format!("no round has ended for {} s", silence.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_alive_until_no_round_has_ended_for_too_long() {
        let s = Duration::from_secs;
        assert_eq!(is_turning(s(0), s(119)), Ok(()));
        assert_eq!(is_turning(s(500), s(619)), Ok(()));
        let stuck = is_turning(s(500), s(620));
        assert_eq!(stuck, Err("no round has ended for 120 s".into()));
    }

    #[test]
    fn readiness_is_the_verdict_and_says_why_not() {
        let vitals = Vitals::new(Path::new("/nowhere"), false);
        assert!(
            vitals
                .ready()
                .unwrap_err()
                .contains("not been in order yet")
        );
        vitals.turned(Health::Out("no route".into()), &[]);
        assert!(vitals.ready().is_err());
        vitals.turned(Health::InOrder, &[]);
        assert_eq!(vitals.ready(), Ok(()));
        // A short trouble is none.
        vitals.turned(Health::Out("no route".into()), &[]);
        assert_eq!(vitals.ready(), Ok(()));
        assert!(vitals.due().is_some());
        assert_eq!(vitals.alive(), Ok(()));
    }
}
