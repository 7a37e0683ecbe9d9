//! Reclaims what dead pods have left: looks, remembers since when, and ends what has been dead for long enough.
//!
//! What is dead is decided in `plan::reclaim`; how an attachment ends is `host::teardown`, as for DEL. Between the look and the
//! end lies the record's lock: under it everything is looked at once more.

use host::rtnl::Rtnl;
use host::store::{Attempt, Held, Store};
use host::teardown::{self, Ports};
use host::{Error, clock, survey};
use model::reclaim::{Kind, Leak, Unseen};
use plan::reclaim::{Ages, confirmed, is_due, judge};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Records that are locked at once: each is an open file.
const BATCH: usize = 64;

/// What a sweep came to.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// What was removed.
    pub(crate) reclaimed: Vec<Leak>,
    /// What is left.
    pub(crate) leaks: Vec<Leak>,
    /// What of that has been left for the grace time.
    pub(crate) old: Vec<Leak>,
    /// What cannot be judged from here.
    pub(crate) unseen: Vec<Unseen>,
    /// What could not be done.
    pub(crate) failed: Vec<Error>,
    /// When something that is left will have been so for the grace time.
    pub(crate) next: Option<Duration>,
}

/// What has been left, and since when.
pub(super) struct Reclaimer {
    grace: u64,
    ages: Ages,
}

impl Reclaimer {
    /// Reclaims what has been dead for `grace`.
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            grace: u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX),
            ages: Ages::default(),
        }
    }

    /// Looks at all networks' records below `run` and removes what is due.
    pub(super) fn sweep(&mut self, run: &Path) -> Result<Swept, Error> {
        let stores = Store::all(run)?;
        let mut rtnl = Rtnl::open()?;
        let mut failed = Vec::new();
        let seen = survey::look(&stores, &mut rtnl, None, &mut failed)?;
        let judgement = judge(&seen);
        let now = clock::boottime_ns();
        let leaks = self.ages.look(judgement.leaks, now);
        let (due, young): (Vec<Leak>, Vec<Leak>) = leaks
            .into_iter()
            .partition(|leak| is_due(leak, now, self.grace));
        let mut swept = Swept {
            unseen: judgement.unseen,
            next: self.next(&young, now),
            failed,
            ..Swept::default()
        };
        let places: BTreeMap<String, (&Store, &str)> = seen
            .records
            .iter()
            .filter_map(|it| {
                let store = stores.iter().find(|store| *store.network() == it.network)?;
                Some((it.object(), (store, it.file.as_str())))
            })
            .collect();
        let (dead, other): (Vec<Leak>, Vec<Leak>) =
            due.into_iter().partition(|leak| leak.kind == Kind::Dead);
        for batch in dead.chunks(BATCH) {
            end(batch, &places, &mut rtnl, &mut swept);
        }
        free(&other, &stores, &mut swept);
        let is_left = |leak: &&Leak| !swept.reclaimed.contains(leak);
        swept.old = dead.iter().chain(&other).filter(is_left).cloned().collect();
        swept.leaks = swept.old.iter().chain(&young).cloned().collect();
        Ok(swept)
    }

    fn next(&self, young: &[Leak], now: u64) -> Option<Duration> {
        let since = young.iter().filter_map(|leak| leak.since).min()?;
        let left = self.grace.saturating_sub(now.saturating_sub(since));
        Some(Duration::from_nanos(left))
    }
}

/// Ends the attachments of these records, as far as they are still dead under their locks.
fn end(
    leaks: &[Leak],
    places: &BTreeMap<String, (&Store, &str)>,
    rtnl: &mut Rtnl,
    swept: &mut Swept,
) {
    let mut held: Vec<Held<'_>> = Vec::new();
    let mut whose = Vec::new();
    for leak in leaks {
        let Some((store, file)) = places.get(&leak.object) else {
            continue;
        };
        match store.try_hold(file) {
            Ok(Attempt::Free(record)) => {
                held.push(record);
                whose.push((*store, leak));
            }
            Ok(Attempt::Busy | Attempt::Gone) => {}
            Err(error) => swept.failed.push(error),
        }
    }
    let confirmed = match survey::again(&held, rtnl) {
        Ok(seen) => confirmed(&seen),
        Err(error) => return swept.failed.push(error),
    };
    for ((held, (store, leak)), is_dead) in held.into_iter().zip(whose).zip(confirmed) {
        if !is_dead {
            continue;
        }
        let ports = Ports {
            elements: plan::ports::elements,
            withdraw: plan::ports::withdraw,
        };
        let ended = teardown::unwire(&held, store, ports, rtnl, &mut |_| {})
            .and_then(|()| teardown::forget(held, &mut |_| {}));
        match ended {
            Ok(()) => swept.reclaimed.push(leak.clone()),
            Err(error) => swept.failed.push(error),
        }
    }
}

/// Frees leases that no record has.
fn free(leaks: &[Leak], stores: &[Store], swept: &mut Swept) {
    for store in stores {
        let network = format!("{}/", store.network());
        let is_its = |leak: &&Leak| leak.kind == Kind::Lease && leak.object.starts_with(&network);
        let leases: Vec<&Leak> = leaks.iter().filter(is_its).collect();
        if leases.is_empty() {
            continue;
        }
        match store.reclaim_orphans() {
            Ok((freed, failed)) => {
                swept.failed.extend(failed);
                let is_free = |leak: &&&Leak| leak.addresses.iter().all(|ip| freed.contains(ip));
                let freed = leases.iter().filter(is_free);
                swept.reclaimed.extend(freed.map(|leak| (*leak).clone()));
            }
            Err(error) => swept.failed.push(error),
        }
    }
}
