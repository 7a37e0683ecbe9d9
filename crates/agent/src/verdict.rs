//! Whether the node's network is there, as the cluster and whoever probes are told: without flapping.
//!
//! Up at once, the first time that the node is in order, because pods wait for it; down only after a while out of order, and
//! up again only after a while in order. Time is an argument: since the start of the agent. Nothing here waits.

use std::time::Duration;

/// How long a node may be out of order before it is said: a repair takes a moment, and whoever reads it moves pods away.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// How long a node that was said to be down must have been in order.
pub(crate) const CALM: Duration = Duration::from_secs(10);

/// How the node is after a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nobody knows yet what the node needs.
    Unknown,
    /// Everything that it needs is there.
    InOrder,
    /// It is not, and why.
    Out(String),
}

/// What the cluster is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Pods can talk.
    Up,
    /// They cannot, and why.
    Down(String),
}

/// What led to the verdict.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    verdict: Option<Verdict>,
    /// Since when the node has been in order without a break.
    well: Option<Duration>,
    /// Since when it has not been.
    ill: Option<Duration>,
}

impl Judge {
    /// The verdict, now that the node is as it is; none as long as nothing is certain.
    pub(crate) fn see(&mut self, now: Duration, health: &Health) -> Option<&Verdict> {
        match health {
            Health::Unknown => {}
            Health::InOrder => {
                self.ill = None;
                let well = *self.well.get_or_insert(now);
                if !matches!(self.verdict, Some(Verdict::Down(_))) || now >= well + CALM {
                    self.verdict = Some(Verdict::Up);
                }
            }
            Health::Out(why) => {
                self.well = None;
                let ill = *self.ill.get_or_insert(now);
                if !matches!(self.verdict, Some(Verdict::Down(_))) && now >= ill + GRACE {
                    self.verdict = Some(Verdict::Down(why.clone()));
                }
            }
        }
        self.verdict.as_ref()
    }

    /// When the verdict may change although nothing happens.
    pub(crate) fn due(&self) -> Option<Duration> {
        let is_down = matches!(self.verdict, Some(Verdict::Down(_)));
        let better = self.well.filter(|_| is_down).map(|since| since + CALM);
        let worse = self.ill.filter(|_| !is_down).map(|since| since + GRACE);
        better.or(worse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn out() -> Health {
        Health::Out("no route".into())
    }

    #[test]
    fn the_first_order_counts_at_once() {
        let mut judge = Judge::default();
        assert_eq!(judge.see(s(0), &Health::Unknown), None);
        assert_eq!(judge.see(s(1), &out()), None);
        assert_eq!(judge.see(s(2), &Health::InOrder), Some(&Verdict::Up));
        assert_eq!(judge.due(), None);
    }

    #[test]
    fn a_node_that_never_comes_into_order_is_down_after_the_grace_time() {
        let mut judge = Judge::default();
        assert_eq!(judge.see(s(1), &out()), None);
        assert_eq!(judge.due(), Some(s(31)));
        assert_eq!(judge.see(s(30), &out()), None);
        let down = Verdict::Down("no route".into());
        assert_eq!(judge.see(s(31), &out()), Some(&down));
        assert_eq!(judge.due(), None);
    }

    #[test]
    fn short_troubles_do_not_count_however_many() {
        let mut judge = Judge::default();
        for minute in 0..100 {
            let at = s(60 * minute);
            assert_eq!(judge.see(at, &Health::InOrder), Some(&Verdict::Up));
            assert_eq!(judge.see(at + s(1), &out()), Some(&Verdict::Up));
            assert_eq!(judge.see(at + s(30), &out()), Some(&Verdict::Up));
        }
    }

    #[test]
    fn a_node_that_is_down_comes_up_after_calm_and_not_for_a_moment() {
        let mut judge = Judge::default();
        judge.see(s(0), &out());
        judge.see(s(30), &out());
        let down = Verdict::Down("no route".into());
        for at in (40..400).step_by(20) {
            assert_eq!(judge.see(s(at), &Health::InOrder), Some(&down));
            assert_eq!(judge.due(), Some(s(at + 10)));
            assert_eq!(judge.see(s(at + 9), &out()), Some(&down));
        }
        judge.see(s(500), &Health::InOrder);
        assert_eq!(judge.see(s(510), &Health::InOrder), Some(&Verdict::Up));
    }

    #[test]
    fn not_knowing_changes_nothing() {
        let mut judge = Judge::default();
        judge.see(s(0), &Health::InOrder);
        assert_eq!(judge.see(s(900), &Health::Unknown), Some(&Verdict::Up));
    }
}
