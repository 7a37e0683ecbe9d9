//! How long to wait after a failure.
//!
//! Longer and longer, so that an API server that comes back is not trampled, and never the same time on two nodes, because
//! all of them lost it at the same moment.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_millis(500);

/// After many.
const MOST: Duration = Duration::from_secs(10);

/// Failures since the last success.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
}

impl Retry {
    /// It works.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// It has failed: wait so long.
    pub(super) fn next(&mut self) -> Duration {
        let random = RandomState::new().hash_one(self.failures);
        let wait = wait(self.failures, random);
        self.failures = self.failures.saturating_add(1);
        wait
    }
}

/// Between half of the time and all of it.
fn wait(failures: u32, random: u64) -> Duration {
    let doubled = 2u32.saturating_pow(failures);
    let full = FIRST.saturating_mul(doubled).min(MOST);
    let part = u32::try_from(random % 1000).unwrap_or_default();
    full / 2 + full * part / 2000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_differ() {
        let ms = |failures, random| wait(failures, random).as_millis();
        assert_eq!((ms(0, 0), ms(0, 999)), (250, 499));
        assert_eq!((ms(1, 0), ms(2, 0), ms(3, 0)), (500, 1000, 2000));
        assert_eq!((ms(5, 0), ms(500, 0)), (5000, 5000));
        assert!(ms(500, 999) < 10_000);
    }

    #[test]
    fn a_success_begins_anew() {
        let mut retry = Retry::default();
        for _ in 0..9 {
            retry.next();
        }
        retry.succeeded();
        assert!(retry.next() <= FIRST);
    }
}
