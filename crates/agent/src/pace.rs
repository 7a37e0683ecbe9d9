//! When the next round begins.
//!
//! Soon after an event, because repair is due within 100 ms; not for every single event of a burst; again after a failure,
//! less and less often; and slower and slower where somebody undoes what we do. Time is an argument: since the start of the
//! agent. Nothing here waits.

use std::collections::VecDeque;
use std::time::Duration;

/// How long the first event waits for its company.
pub(crate) const SETTLE: Duration = Duration::from_millis(5);

/// Least time between the end of a round and the next one.
pub(crate) const REST: Duration = Duration::from_millis(30);

/// Everything is looked at anew at least this often, event or not.
pub(crate) const RESYNC: Duration = Duration::from_secs(30);

/// More rounds with changes than this within [`STRIFE`] mean that somebody undoes them.
pub(crate) const MANY: usize = 10;

/// See [`MANY`].
pub(crate) const STRIFE: Duration = Duration::from_secs(1);

/// Where back-off begins, of both kinds.
pub(crate) const BACK_OFF: Duration = Duration::from_millis(250);

/// Where back-off ends.
pub(crate) const BACK_OFF_MOST: Duration = Duration::from_secs(5);

/// What a round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There was nothing to do.
    InOrder,
    /// Something was changed, and then the node was in order.
    Changed,
    /// Something could not be done.
    Failed,
}

/// What happened lately, as far as it decides about the next round.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// End of the last round.
    ended: Duration,
    /// Ends of the last rounds that changed something.
    changed: VecDeque<Duration>,
    /// Time between rounds while somebody undoes what we do.
    strife: Option<Duration>,
    /// Time until what failed is tried again.
    retry: Option<Duration>,
    /// The first event that no round has begun after.
    event: Option<Duration>,
    /// Whether something else is wanted of the node since the last round: then its changes are nobody's undoing.
    news: bool,
}

impl Pace {
    /// Something has happened that a round must look at.
    pub(crate) fn event(&mut self, now: Duration) {
        self.event.get_or_insert(now);
    }

    /// Something else is wanted of the node.
    pub(crate) fn news(&mut self) {
        self.news = true;
    }

    /// Whether something else is wanted of the node since the last round.
    pub(crate) fn is_news(&self) -> bool {
        self.news
    }

    /// A round begins: it sees whatever has happened until now.
    pub(crate) fn begin(&mut self) {
        self.event = None;
    }

    /// A round has ended.
    pub(crate) fn end(&mut self, now: Duration, outcome: Outcome) {
        // Peace is when nothing had to be changed for longer than a further change would have waited.
        let last = self.changed.back().copied().unwrap_or_default();
        let strife = self.strife.filter(|hold| now < last + calm(*hold));
        self.ended = now;
        self.retry = (outcome == Outcome::Failed).then(|| longer(self.retry));
        let news = std::mem::take(&mut self.news);
        if outcome == Outcome::InOrder || (news && outcome == Outcome::Changed) {
            self.strife = strife;
            return;
        }
        self.changed.push_back(now);
        if self.changed.len() > MANY {
            self.changed.pop_front();
        }
        self.strife = match strife {
            Some(hold) => Some(longer(Some(hold))),
            None => self.is_crowded(now).then_some(BACK_OFF),
        };
    }

    /// When the next round is to begin if nothing more happens.
    pub(crate) fn next(&self) -> Duration {
        let hold = self.strife.unwrap_or(REST);
        let resync = self.ended + self.strife.map_or(RESYNC, calm);
        let retry = self.retry.map(|retry| self.ended + retry.max(hold));
        let event = self.event.map(|at| (at + SETTLE).max(self.ended + hold));
        [retry, event]
            .into_iter()
            .flatten()
            .fold(resync, Duration::min)
    }

    /// Whether somebody undoes what we do.
    pub(crate) fn is_strife(&self) -> bool {
        self.strife.is_some()
    }

    fn is_crowded(&self, now: Duration) -> bool {
        let first = self.changed.front().copied().unwrap_or_default();
        self.changed.len() >= MANY && now.saturating_sub(first) < STRIFE
    }
}

/// How long nothing must have been changed before there is peace again.
fn calm(hold: Duration) -> Duration {
    2 * hold + STRIFE
}

fn longer(now: Option<Duration>) -> Duration {
    now.map_or(BACK_OFF, |now| (now * 2).min(BACK_OFF_MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn without_events_the_node_is_looked_at_every_resync() {
        let mut pace = Pace::default();
        pace.end(ms(100), Outcome::InOrder);
        assert_eq!(pace.next(), ms(100) + RESYNC);
    }

    #[test]
    fn an_event_waits_for_its_company_and_a_burst_is_one_round() {
        let mut pace = Pace::default();
        pace.end(ms(100), Outcome::InOrder);
        pace.event(ms(1000));
        pace.event(ms(1003));
        assert_eq!(pace.next(), ms(1005));
        pace.begin();
        pace.event(ms(1006));
        pace.end(ms(1010), Outcome::Changed);
        assert_eq!(pace.next(), ms(1010) + REST);
    }

    #[test]
    fn repair_begins_within_the_budget_even_right_after_a_round() {
        let mut pace = Pace::default();
        pace.end(ms(1000), Outcome::Changed);
        pace.event(ms(1000));
        assert!(pace.next() - ms(1000) <= ms(50));
    }

    #[test]
    fn what_fails_is_tried_less_and_less_often_until_it_works() {
        let mut pace = Pace::default();
        let mut now = ms(0);
        let mut waits = Vec::new();
        for _ in 0..7 {
            pace.end(now, Outcome::Failed);
            waits.push((pace.next() - now).as_millis());
            now = pace.next();
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        pace.end(now, Outcome::InOrder);
        assert_eq!(pace.next(), now + RESYNC);
        pace.end(now, Outcome::Failed);
        assert_eq!(pace.next(), now + BACK_OFF);
    }

    /// An opponent who undoes each change at once.
    fn fight(pace: &mut Pace, now: &mut Duration, rounds: usize) -> Vec<u128> {
        let mut waits = Vec::new();
        for _ in 0..rounds {
            pace.begin();
            pace.end(*now, Outcome::Changed);
            pace.event(*now);
            waits.push((pace.next() - *now).as_millis());
            *now = pace.next();
        }
        waits
    }

    #[test]
    fn where_somebody_undoes_everything_rounds_do_not_spin() {
        let mut pace = Pace::default();
        let mut now = ms(0);
        let waits = fight(&mut pace, &mut now, 17);
        assert_eq!(waits[..9], [30; 9]);
        assert_eq!(waits[9..], [250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
        assert!(pace.is_strife());
    }

    #[test]
    fn a_cluster_that_grows_fast_is_no_strife() {
        let mut pace = Pace::default();
        for i in 0..100 {
            pace.news();
            pace.begin();
            pace.end(ms(35 * i), Outcome::Changed);
            assert!(!pace.is_strife());
        }
        let mut now = ms(35 * 100);
        assert_eq!(fight(&mut pace, &mut now, 10).last(), Some(&250));
    }

    #[test]
    fn peace_comes_back_when_nothing_had_to_be_changed_for_long_enough() {
        let mut pace = Pace::default();
        let mut now = ms(0);
        let last = fight(&mut pace, &mut now, 11);
        assert_eq!(last.last(), Some(&500));
        pace.begin();
        pace.end(now, Outcome::InOrder);
        assert!(pace.is_strife());
        pace.end(now + ms(3000), Outcome::InOrder);
        assert!(!pace.is_strife());
        pace.event(now + ms(4000));
        assert_eq!(pace.next(), now + ms(4005));
    }

    #[test]
    fn nine_changes_in_a_second_are_no_strife() {
        let mut pace = Pace::default();
        let mut now = ms(0);
        for _ in 0..40 {
            pace.end(now, Outcome::Changed);
            now += ms(112);
        }
        assert!(!pace.is_strife());
    }
}
