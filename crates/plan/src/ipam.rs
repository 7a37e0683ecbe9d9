//! Which address a pod gets.
//!
//! Round robin behind the last one that was given, so that a freed address rests longest. Whether an address is free is
//! only known by taking it: the caller tries what is named here and asks again. When many in a row were taken, it lists
//! what is taken once and asks [`free`].

use alloc::collections::BTreeSet;
use core::net::IpAddr;
use model::span::Span;

/// The address to try after `last`, or the first one.
#[must_use]
pub fn next(span: &Span, last: Option<IpAddr>) -> IpAddr {
    last.map_or_else(|| span.first(), |ip| span.after(ip))
}

/// The first address after `last` that is not in `taken`; none if all are.
#[must_use]
pub fn free(span: &Span, last: Option<IpAddr>, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let start = next(span, last);
    let mut ip = start;
    while taken.contains(&ip) {
        ip = span.after(ip);
        if ip == start {
            return None;
        }
    }
    Some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::addr::PodRange;
    use proptest::prelude::*;

    fn range(text: &str) -> Span {
        Span::whole(PodRange::parse(text).unwrap())
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
