//! Part of a range: where addresses are taken from when a runtime names a first and a last one.
//!
//! The range stays what routes, masquerading and the node's own address go by; a span only says which of its addresses are
//! given to pods (CNI conventions, `ipRanges`).

use crate::addr::{Family, PodRange};
use core::fmt;
use core::net::IpAddr;

/// Addresses of one range, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    range: PodRange,
    first: IpAddr,
    last: IpAddr,
}

/// Why two addresses are no span of a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// An end lies outside of what the range gives.
    #[error("{0} is not among the addresses {1} to {2} that {3} gives to pods")]
    Outside(IpAddr, IpAddr, IpAddr, PodRange),
    /// The last one comes before the first one.
    #[error("{0} comes after {1}")]
    Backwards(IpAddr, IpAddr),
}

impl Span {
    /// All that the range gives.
    #[must_use]
    pub fn whole(range: PodRange) -> Self {
        Self {
            range,
            first: range.first(),
            last: range.last(),
        }
    }

    /// From `first` to `last`; what is absent is that of the range.
    ///
    /// # Errors
    /// An end that the range does not give, or the two in the wrong order.
    pub fn new(
        range: PodRange,
        first: Option<IpAddr>,
        last: Option<IpAddr>,
    ) -> Result<Self, SpanError> {
        let whole = Self::whole(range);
        let given = |ip: IpAddr| {
            if range.offers(ip) {
                Ok(ip)
            } else {
                Err(SpanError::Outside(ip, range.first(), range.last(), range))
            }
        };
        let first = first.map_or(Ok(whole.first), given)?;
        let last = last.map_or(Ok(whole.last), given)?;
        if first > last {
            return Err(SpanError::Backwards(first, last));
        }
        Ok(Self { range, first, last })
    }

    /// Those of its addresses that another range gives, as part of that one.
    #[must_use]
    pub fn within(&self, range: PodRange) -> Option<Self> {
        let first = self.first.max(range.first());
        let last = self.last.min(range.last());
        let is_same = range.family() == self.family();
        (is_same && first <= last).then_some(Self { range, first, last })
    }

    /// The range that it is of.
    #[must_use]
    pub fn range(&self) -> PodRange {
        self.range
    }

    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        self.range.family()
    }

    /// The first address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether it is all that its range gives.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::whole(self.range)
    }

    /// Whether a pod may get `ip` from here.
    #[must_use]
    pub fn offers(&self, ip: IpAddr) -> bool {
        self.range.offers(ip) && self.first <= ip && ip <= self.last
    }

    /// How many pods have place, at most `u64::MAX`.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        let number = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let gateway = self.range.gateway();
        let within = self.first <= gateway && gateway <= self.last;
        let behind = number(self.last) - number(self.first) - u128::from(within);
        u64::try_from(behind).map_or(u64::MAX, |n| n.saturating_add(1))
    }

    /// The address after `ip` that a pod may get, round robin.
    #[must_use]
    pub fn after(&self, ip: IpAddr) -> IpAddr {
        if !self.offers(ip) || ip == self.last {
            self.first
        } else {
            self.range.after(ip)
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_whole() {
            return self.range.fmt(f);
        }
        write!(f, "{} to {} of {}", self.first, self.last, self.range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    fn range() -> PodRange {
        PodRange::parse("10.244.0.0/24").unwrap()
    }

    fn end(text: &str) -> Option<IpAddr> {
        (!text.is_empty()).then(|| text.parse().unwrap())
    }

    fn span(first: &str, last: &str) -> Result<Span, SpanError> {
        Span::new(range(), end(first), end(last))
    }

    #[test]
    fn a_span_is_walked_round_and_says_what_it_holds() {
        let three = span("10.244.0.10", "10.244.0.12").unwrap();
        let mut ip = three.after(three.range().gateway());
        for last in [10, 11, 12, 10] {
            assert_eq!(ip, IpAddr::from([10, 244, 0, last]));
            ip = three.after(ip);
        }
        assert_eq!(three.capacity(), 3);
        assert_eq!(
            three.to_string(),
            "10.244.0.10 to 10.244.0.12 of 10.244.0.0/24"
        );
        let whole = span("", "").unwrap();
        assert_eq!(
            (whole.is_whole(), whole.capacity(), whole.to_string()),
            (true, 253, "10.244.0.0/24".into())
        );
    }

    #[test]
    fn an_end_that_no_pod_may_have_is_refused() {
        for (first, last) in [
            ("10.244.0.1", ""),
            ("", "10.244.0.255"),
            ("10.244.1.2", ""),
            ("10.244.0.9", "10.244.0.8"),
        ] {
            assert!(span(first, last).is_err(), "{first} {last}");
        }
    }
}
