//! When it is looked for what dead pods have left, and what is told of it.
//!
//! A look goes over all records, so it is not made at every event of a node that is busy: a pod that has ended has time. Time
//! is an argument: since the start of the agent. Nothing here waits.

use super::told;
use crate::kernel::Swept;
use crate::pace::RESYNC;
use host::Error;
use model::reclaim::Leak;
use model::status::{Finding, MOST_LEAKS, Status};
use std::time::Duration;
use tracing::info;

/// Looks in a grace time at most; with a long one, a look at every second resync or more often.
const LOOKS: u32 = 12;

/// The looks.
#[derive(Debug)]
pub(super) struct Sweeps {
    rest: Duration,
    last: Option<Duration>,
    /// When the next one must be made, event or not.
    next: Option<Duration>,
    findings: Vec<Finding>,
}

impl Sweeps {
    /// None was made yet.
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            rest: (grace / LOOKS).min(RESYNC / 2),
            last: None,
            next: None,
            findings: Vec::new(),
        }
    }

    /// Whether one is to be made now that something may have happened; if it is too soon, later.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        let soonest = self.last.map_or(now, |last| last + self.rest);
        if now < soonest {
            self.next = Some(self.next.map_or(soonest, |next| next.min(soonest)));
        }
        now >= soonest
    }

    /// One was made.
    pub(super) fn made(&mut self, now: Duration, swept: Result<Swept, Error>, status: &mut Status) {
        self.last = Some(now);
        match swept {
            Ok(swept) => {
                self.next = swept.next.map(|next| now + next.max(self.rest));
                swept.reclaimed.iter().for_each(tell);
                status.reclaimed += swept.reclaimed.len() as u64;
                self.findings = plan::reclaim::findings(&swept.old, &swept.unseen);
                self.findings.extend(swept.failed.iter().map(told::failure));
                status.leaks = swept.leaks;
                status.leaks.truncate(MOST_LEAKS);
            }
            Err(error) => {
                self.next = None;
                self.findings = vec![told::failure(&error)];
            }
        }
    }

    /// When the next one is to be made although nothing happens.
    pub(super) fn next(&self) -> Option<Duration> {
        self.next
    }

    /// What the last one found wrong.
    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

fn tell(leak: &Leak) {
    let Leak {
        kind,
        object,
        addresses,
        why,
        ..
    } = leak;
    let pod = leak.pod.as_ref();
    let pod = pod.map_or_else(String::new, |pod| {
        format!(" of pod {}/{}", pod.namespace, pod.name)
    });
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    info!(
        "reclaimed {object}{pod}, {kind}, with {}: {why}",
        addresses.join(", ")
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::name::{NetworkName, NodeName};

    fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn status() -> Status {
        let (node, network) = (NodeName::new("a"), NetworkName::new("podwire"));
        Status::new(node.unwrap(), network.unwrap(), 1)
    }

    fn swept(next: Option<u64>) -> Swept {
        Swept {
            next: next.map(s),
            ..Swept::default()
        }
    }

    #[test]
    fn the_first_look_is_made_at_once_and_events_do_not_make_more_than_a_few() {
        let (mut sweeps, mut status) = (Sweeps::new(s(60)), status());
        assert!(sweeps.is_due(s(0)));
        sweeps.made(s(0), Ok(swept(None)), &mut status);
        assert_eq!(sweeps.next(), None);
        assert!(!sweeps.is_due(s(1)) && !sweeps.is_due(s(4)));
        assert_eq!(sweeps.next(), Some(s(5)));
        assert!(sweeps.is_due(s(5)));
    }

    #[test]
    fn with_a_patient_grace_time_it_is_looked_as_often_as_the_node_is() {
        let (mut sweeps, mut status) = (Sweeps::new(s(86400)), status());
        assert!(sweeps.is_due(s(0)));
        sweeps.made(s(0), Ok(swept(None)), &mut status);
        assert!(!sweeps.is_due(s(14)));
        assert!(sweeps.is_due(RESYNC));
    }

    #[test]
    fn a_look_is_made_when_something_will_have_been_dead_for_the_grace_time() {
        let (mut sweeps, mut status) = (Sweeps::new(s(60)), status());
        sweeps.made(s(10), Ok(swept(Some(40))), &mut status);
        assert_eq!(sweeps.next(), Some(s(50)));
        assert!(!sweeps.is_due(s(12)));
        assert_eq!(sweeps.next(), Some(s(15)));
        sweeps.made(s(15), Ok(swept(Some(1))), &mut status);
        assert_eq!(sweeps.next(), Some(s(20)), "not more often than that");
    }
}
