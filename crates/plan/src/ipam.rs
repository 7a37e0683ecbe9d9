//! Which address a pod gets.
//!
//! Round robin behind the last one that was given, so that a freed address rests longest. Whether an address is free is
//! only known by taking it: the caller tries what is named here and asks again. When many in a row were taken, it lists
//! what is taken once and asks [`free`].

use crate::wire;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use model::addr::PodRange;
use model::attachment::{Mode, PodAddress};
use model::cni::IpConfig;

/// The address to try after `last`, or the first one.
#[must_use]
pub fn next(range: &PodRange, last: Option<IpAddr>) -> IpAddr {
    last.map_or_else(|| range.first(), |ip| range.after(ip))
}

/// The first address after `last` that is not in `taken`; none if all are.
#[must_use]
pub fn free(range: &PodRange, last: Option<IpAddr>, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let start = next(range, last);
    let mut ip = start;
    while taken.contains(&ip) {
        ip = range.after(ip);
        if ip == start {
            return None;
        }
    }
    Some(ip)
}

/// An address was asked for that cannot be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// No range has it.
    #[error("address {0} is asked for, and no range offers it")]
    Nowhere(IpAddr),
    /// It is a gateway's.
    #[error("address {0} is asked for, and it is the gateway of {1}")]
    Gateway(IpAddr, PodRange),
    /// The only sets that have it have another one to give.
    #[error("address {0} is asked for, and {1} gives one address, which is to be {2}")]
    Second(IpAddr, PodRange, IpAddr),
}

impl Unmet {
    /// The address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        match self {
            Self::Nowhere(ip) | Self::Gateway(ip, _) | Self::Second(ip, _, _) => *ip,
        }
    }
}

/// Which of the sets is to give which of the addresses that are asked for.
///
/// # Errors
/// The first address that none can give.
pub fn wishes(sets: &[Vec<PodRange>], asked: &[IpAddr]) -> Result<Vec<Option<PodAddress>>, Unmet> {
    let mut wishes: Vec<Option<PodAddress>> = vec![None; sets.len()];
    for &ip in asked {
        let mut unmet = Unmet::Nowhere(ip);
        let mut met = false;
        for (set, wish) in sets.iter().zip(&mut wishes) {
            let Some(range) = set.iter().find(|range| range.net().contains(&ip)) else {
                continue;
            };
            let offering = set.iter().find(|range| range.offers(ip));
            match (offering, wish.as_ref()) {
                (Some(range), None) => {
                    *wish = Some(PodAddress { ip, range: *range });
                    met = true;
                    break;
                }
                (Some(_), Some(other)) => unmet = Unmet::Second(ip, *range, other.ip),
                (None, _) if range.gateway() == ip => unmet = Unmet::Gateway(ip, *range),
                (None, _) => {}
            }
        }
        if !met {
            return Err(unmet);
        }
    }
    Ok(wishes)
}

/// Whether these addresses are what is asked for: one of each set, in order, and those that must be.
#[must_use]
pub fn fits(addresses: &[PodAddress], sets: &[Vec<PodRange>], asked: &[IpAddr]) -> bool {
    let pairs = || addresses.iter().zip(sets);
    let offered = |(address, set): (&PodAddress, &Vec<PodRange>)| {
        let same = |range: &PodRange| range.whole() == address.range.whole();
        set.iter()
            .any(|range| same(range) && range.offers(address.ip))
    };
    let has = |ip: &IpAddr| addresses.iter().any(|address| address.ip == *ip);
    addresses.len() == sets.len() && pairs().all(offered) && asked.iter().all(has)
}

/// The addresses in the words of a result that knows no interfaces.
#[must_use]
pub fn told(addresses: &[PodAddress]) -> Vec<IpConfig> {
    let tell = |address: &PodAddress| IpConfig {
        address: wire::inside_net(&Mode::Leased, address),
        gateway: Some(address.range.gateway()),
        interface: None,
    };
    addresses.iter().map(tell).collect()
}

/// The first address after `last` in ranges that count as one, and its range; none if all are in `taken`.
#[must_use]
pub fn free_in(
    set: &[PodRange],
    last: Option<IpAddr>,
    taken: &BTreeSet<IpAddr>,
) -> Option<(IpAddr, PodRange)> {
    let at = last.and_then(|ip| set.iter().position(|range| range.offers(ip)));
    let (before, from) = set.split_at(at.unwrap_or_default());
    let first = from.first()?;
    let rest = |range: &PodRange, after: Option<IpAddr>| {
        let ip = free(range, after, taken)?;
        // Round the corner is not yet the turn.
        let goes_on = after.is_none_or(|after| after < ip);
        goes_on.then_some((ip, *range))
    };
    rest(first, last.filter(|ip| first.offers(*ip)))
        .or_else(|| {
            from.iter()
                .skip(1)
                .chain(before)
                .find_map(|range| rest(range, None))
        })
        .or_else(|| rest(first, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::addr::PodRange;
    use proptest::prelude::*;

    fn range(text: &str) -> PodRange {
        PodRange::parse(text).unwrap()
    }

    #[test]
    fn the_first_pod_gets_the_third_address() {
        assert_eq!(
            next(&range("10.244.0.0/24"), None),
            IpAddr::from([10, 244, 0, 2])
        );
    }

    #[test]
    fn a_full_range_has_none() {
        let r = range("10.0.0.0/29");
        let taken: BTreeSet<_> = (2..=6).map(|i| IpAddr::from([10, 0, 0, i])).collect();
        assert_eq!(free(&r, None, &taken), None);
        assert_eq!(free(&r, Some(IpAddr::from([192, 0, 2, 1])), &taken), None);
    }

    #[test]
    fn ranges_that_count_as_one_are_walked_one_behind_the_other() {
        let set = ["10.0.0.0/30", "10.0.1.0/29"].map(|text| PodRange::parse(text).unwrap());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut taken: BTreeSet<IpAddr> = BTreeSet::new();
        let given = |last: Option<&str>, taken: &BTreeSet<IpAddr>| {
            free_in(&set, last.map(ip), taken).map(|(ip, _)| ip)
        };
        assert_eq!(given(None, &taken), Some(ip("10.0.0.2")));
        assert_eq!(given(Some("10.0.0.2"), &taken), Some(ip("10.0.1.2")));
        assert_eq!(given(Some("10.0.1.6"), &taken), Some(ip("10.0.0.2")));
        taken.extend((2..=6).map(|i| IpAddr::from([10, 0, 1, i])));
        assert_eq!(given(Some("10.0.0.2"), &taken), Some(ip("10.0.0.2")));
        taken.insert(ip("10.0.0.2"));
        assert_eq!(given(Some("10.0.1.3"), &taken), None);
    }

    proptest! {
        #[test]
        fn what_is_given_is_free_and_in_the_range(taken in proptest::collection::btree_set(0u8..=255, 0..256), last in 0u8..=255) {
            let r = range("10.244.7.0/24");
            let taken: BTreeSet<_> = taken.into_iter().map(|i| IpAddr::from([10, 244, 7, i])).collect();
            let given = free(&r, Some(IpAddr::from([10, 244, 7, last])), &taken);
            let left = (2..=254).map(|i| IpAddr::from([10, 244, 7, i])).filter(|ip| !taken.contains(ip)).count();
            prop_assert_eq!(given.is_some(), left > 0);
            prop_assert!(given.is_none_or(|ip| r.offers(ip) && !taken.contains(&ip)));
        }

        #[test]
        fn walking_meets_every_address_once(start in 2u8..=254) {
            let r = range("10.244.7.0/24");
            let mut ip = IpAddr::from([10, 244, 7, start]);
            let mut seen = BTreeSet::new();
            for _ in 0..253 {
                prop_assert!(seen.insert(ip));
                ip = r.after(ip);
            }
            prop_assert_eq!(ip, IpAddr::from([10, 244, 7, start]));
        }
    }
}
