//! The node as it was seen last, and as it was changed since.
//!
//! A look at the kernel costs by the number of nodes; that one node joins or leaves should not. As long as nobody else is
//! heard to have changed anything, the node is as it was seen and changed since, so another list of nodes can be put into
//! effect from that. Whether it is so is seen by a look when nothing more comes for a while, and at the latest after
//! [`UNSEEN`]. Time is an argument, as in `pace`.

use crate::pace::REST;
use model::state::HostState;
use std::time::Duration;

/// Changes are not left without a look for longer than this.
const UNSEEN: Duration = Duration::from_secs(10);

/// A look waits this many times as long as it takes, so that a cluster that grows is not looked at all the time.
const PATIENCE: u32 = 4;

/// The longest that it waits.
const QUIET: Duration = Duration::from_secs(1);

/// See above.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// None if the node may be otherwise than anybody here knows.
    state: Option<HostState>,
    /// How long the last round of looks took.
    cost: Duration,
    /// When the first and the last change were made that no look has seen.
    unseen: Option<(Duration, Duration)>,
}

impl Known {
    /// The node was looked at and found in order, or it cannot be told what it is now.
    pub(super) fn seen(&mut self, state: Option<HostState>, cost: Duration) {
        *self = Self {
            state,
            cost,
            unseen: None,
        };
    }

    /// Somebody else has changed something, or may have.
    pub(super) fn forget(&mut self) {
        self.state = None;
    }

    /// It is to be looked at now, as often as that takes: when, is the pace's business.
    pub(super) fn look(&mut self) {
        self.state = None;
        self.unseen = None;
    }

    /// The node, to be changed; none if it has to be looked at first.
    pub(super) fn take(&mut self, now: Duration) -> Option<HostState> {
        let since = self.unseen.map_or(now, |(first, _)| first);
        self.state.take().filter(|_| now < since + UNSEEN)
    }

    /// It was changed, and is this now.
    pub(super) fn changed(&mut self, state: HostState, now: Duration) {
        let first = self.unseen.map_or(now, |(first, _)| first);
        self.state = Some(state);
        self.unseen = Some((first, now));
    }

    /// Whether there are changes that no look has seen.
    pub(super) fn is_unseen(&self) -> bool {
        self.unseen.is_some()
    }

    /// When the node is to be looked at, if there are.
    pub(super) fn due(&self) -> Option<Duration> {
        let (first, last) = self.unseen?;
        let quiet = (self.cost * PATIENCE).clamp(REST, QUIET);
        Some((last + quiet).min(first + UNSEEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_was_changed_is_looked_at_when_nothing_more_comes() {
        let mut known = Known::default();
        assert_eq!(known.take(ms(0)), None);
        known.seen(Some(HostState::default()), ms(50));
        assert_eq!(known.due(), None);
        let have = known.take(ms(100)).unwrap();
        known.changed(have, ms(110));
        assert_eq!(known.due(), Some(ms(310)));
        let have = known.take(ms(300)).unwrap();
        known.changed(have, ms(310));
        assert_eq!(known.due(), Some(ms(510)));
        known.seen(Some(HostState::default()), ms(0));
        assert_eq!((known.due(), known.is_unseen()), (None, false));
    }

    #[test]
    fn a_node_that_changes_all_the_time_is_looked_at_as_well() {
        let mut known = Known::default();
        known.seen(Some(HostState::default()), ms(50));
        let mut now = ms(1000);
        let mut rounds = 0;
        while let Some(have) = known.take(now) {
            known.changed(have, now);
            now += ms(40);
            rounds += 1;
        }
        assert_eq!(rounds, 250);
        assert_eq!(known.due(), Some(ms(11000)));
    }

    #[test]
    fn a_look_that_fails_is_not_due_again_at_once_and_what_it_found_is_told() {
        let mut known = Known::default();
        known.seen(Some(HostState::default()), ms(50));
        let have = known.take(ms(100)).unwrap();
        known.changed(have, ms(110));
        known.look();
        assert_eq!((known.due(), known.is_unseen()), (None, false));
        assert_eq!(known.take(ms(120)), None);
    }

    #[test]
    fn a_node_that_somebody_else_has_changed_is_looked_at_first() {
        let mut known = Known::default();
        known.seen(Some(HostState::default()), ms(1));
        known.forget();
        assert_eq!(known.take(ms(10)), None);
    }
}
