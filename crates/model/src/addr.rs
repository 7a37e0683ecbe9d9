//! Addresses: families, and the ranges that pods get their addresses from.
//!
//! Which address a pod gets is decided in `plan::ipam`; here stands only what a range holds and what it never gives away:
//! the network's own address, the first address (the node's own: the gateway), and the broadcast address of IPv4.

pub use crate::mac::{Mac, MacError};

use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family that `ip` belongs to.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Length of a full prefix: 32 or 128.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// `0.0.0.0/0` or `::/0`.
    #[must_use]
    pub fn everything(self) -> IpNet {
        match self {
            Self::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
            Self::V6 => IpNet::V6(ipnet::Ipv6Net::default()),
        }
    }
}

/// `ip` as a prefix that holds nothing else: `/32` or `/128`.
#[must_use]
pub fn host_prefix(ip: IpAddr) -> IpNet {
    IpNet::from(ip)
}

/// Why a prefix is no range for pods.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not an address and a prefix length.
    #[error("{0:?} is no prefix such as 10.244.0.0/24")]
    Syntax(String),
    /// Bits are set behind the prefix length; the field is the prefix without them.
    #[error("{0} has host bits set; the prefix would be {1}")]
    HostBits(IpNet, IpNet),
    /// Nothing would be left for a pod.
    #[error(
        "{0} is too small: network, gateway and broadcast leave no address for a pod; a range is at least a /{1}"
    )]
    TooSmall(IpNet, u8),
    /// Loopback, multicast, link-local or unspecified.
    #[error("{0} is not for pods: it is loopback, link-local, multicast or unspecified")]
    Special(IpNet),
    /// A bound or the gateway is no address of the prefix.
    #[error("{0} is no address of {1}")]
    Outside(IpAddr, IpNet),
    /// The bounds leave nothing.
    #[error("{2} has no address for a pod from {0} to {1}")]
    Empty(IpAddr, IpAddr, IpNet),
}

/// A range that pods of one node get their addresses from: at least a /30 or a /126, without host bits. The gateway's
/// address is never given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "Written")]
#[serde(try_from = "Written")]
pub struct PodRange {
    net: IpNet,
    start: IpAddr,
    end: IpAddr,
    gateway: IpAddr,
}

/// How a range is written in a record: as its prefix, where that says all.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Whole(IpNet),
    Bounded {
        subnet: IpNet,
        start: IpAddr,
        end: IpAddr,
        gateway: IpAddr,
    },
}

impl PodRange {
    /// Checks a prefix.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(net: IpNet) -> Result<Self, RangeError> {
        Self::bounded(prefix(net)?, None, None, None)
    }

    /// A part of a prefix with a gateway of its own. What is absent is as in [`PodRange::new`]; a prefix that is not for pods
    /// is taken all the same, because whoever names bounds knows what he does.
    ///
    /// # Errors
    /// Host bits, a prefix that is too small, a bound outside of it, or bounds that leave nothing.
    pub fn bounded(
        net: IpNet,
        start: Option<IpAddr>,
        end: Option<IpAddr>,
        gateway: Option<IpAddr>,
    ) -> Result<Self, RangeError> {
        if net != net.trunc() {
            return Err(RangeError::HostBits(net, net.trunc()));
        }
        let family = Family::of(net.addr());
        let least = family.bits() - 2;
        if net.prefix_len() > least {
            return Err(RangeError::TooSmall(net, least));
        }
        let mut given = [start, end, gateway].into_iter().flatten();
        if let Some(outside) = given.find(|ip| !net.contains(ip)) {
            return Err(RangeError::Outside(outside, net));
        }
        let first = from_bits(family, to_bits(net.network()) + 1);
        let last = to_bits(net.broadcast());
        // The last address of IPv6 is one like any other.
        let last = from_bits(family, last - u128::from(family == Family::V4));
        let range = Self {
            net,
            start: start.unwrap_or(first),
            end: end.unwrap_or(last),
            gateway: gateway.unwrap_or(first),
        };
        if range.start > range.end || range.capacity_bits() == 0 {
            return Err(RangeError::Empty(range.start, range.end, net));
        }
        Ok(range)
    }

    /// One address that somebody else gave away, the prefix that he said, and his gateway; without one, the first address.
    #[must_use]
    pub fn single(net: IpNet, gateway: Option<IpAddr>) -> Self {
        let ip = net.addr();
        let first = to_bits(net.network()).saturating_add(1);
        Self {
            net: net.trunc(),
            start: ip,
            end: ip,
            gateway: gateway.unwrap_or_else(|| from_bits(Family::of(ip), first)),
        }
    }

    /// Reads `10.244.0.0/24`.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        Self::new(parse_net(text)?)
    }

    /// Those of its addresses that another range gives too, as part of that one: with its prefix and its gateway.
    #[must_use]
    pub fn within(&self, other: &Self) -> Option<Self> {
        let mut both = *other;
        // Where the other's own bound holds, it stays as it was written.
        if self.first() > other.first() {
            both.start = self.first();
        }
        if self.last() < other.last() {
            both.end = self.last();
        }
        let is_same = self.family() == other.family() && both.start <= both.end;
        (is_same && both.capacity_bits() > 0).then_some(both)
    }

    /// The same prefix with the same gateway, and no bounds: what routes, masquerading and the gateway go by.
    #[must_use]
    pub fn whole(&self) -> Self {
        let gateway = Some(self.gateway);
        Self::bounded(self.net, None, None, gateway).unwrap_or(*self)
    }

    /// The prefix.
    #[must_use]
    pub fn net(&self) -> IpNet {
        self.net
    }

    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.net.addr())
    }

    /// The node's own address in the range, the pods' gateway: the first one, unless another was named.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// The first address that a pod may get.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        if self.start == self.gateway {
            from_bits(self.family(), to_bits(self.start) + 1)
        } else {
            self.start
        }
    }

    /// The last address that a pod may get.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        if self.end == self.gateway {
            from_bits(self.family(), to_bits(self.end) - 1)
        } else {
            self.end
        }
    }

    /// How many pods have place (all of IPv6's are more than anybody counts: at most `u64::MAX`).
    #[must_use]
    pub fn capacity(&self) -> u64 {
        u64::try_from(self.capacity_bits()).unwrap_or(u64::MAX)
    }

    /// Whether a pod may get `ip` from here.
    #[must_use]
    pub fn offers(&self, ip: IpAddr) -> bool {
        self.start <= ip && ip <= self.end && ip != self.gateway && self.net.contains(&ip)
    }

    /// The address after `ip` that a pod may get, round robin.
    #[must_use]
    pub fn after(&self, ip: IpAddr) -> IpAddr {
        if !self.offers(ip) || ip == self.last() {
            return self.first();
        }
        let next = from_bits(self.family(), to_bits(ip) + 1);
        if next == self.gateway {
            from_bits(self.family(), to_bits(next) + 1)
        } else {
            next
        }
    }

    /// Whether an address could come from both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && self.start <= other.end && other.start <= self.end
    }

    /// Addresses between the bounds without the gateway's. All of IPv6's do not fit the number, but for that one.
    fn capacity_bits(&self) -> u128 {
        let span = to_bits(self.end) - to_bits(self.start);
        if self.start <= self.gateway && self.gateway <= self.end {
            span
        } else {
            span.saturating_add(1)
        }
    }

    fn is_whole(&self) -> bool {
        Self::new(self.net).is_ok_and(|whole| whole == *self)
    }
}

impl From<PodRange> for Written {
    fn from(range: PodRange) -> Self {
        if range.is_whole() {
            return Self::Whole(range.net);
        }
        Self::Bounded {
            subnet: range.net,
            start: range.start,
            end: range.end,
            gateway: range.gateway,
        }
    }
}

impl TryFrom<Written> for PodRange {
    type Error = RangeError;

    fn try_from(written: Written) -> Result<Self, RangeError> {
        match written {
            Written::Whole(net) => Self::new(net),
            Written::Bounded {
                subnet,
                start,
                end,
                gateway,
            } => Ok(Self {
                net: subnet,
                start,
                end,
                gateway,
            }),
        }
    }
}

impl fmt::Display for PodRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_whole() {
            self.net.fmt(f)
        } else {
            write!(f, "{} ({} to {})", self.net, self.start, self.end)
        }
    }
}

/// Reads `10.244.0.0/16` as a prefix of unicast addresses of any size.
///
/// # Errors
/// Syntax, host bits, or addresses that no pod may have.
pub fn parse_prefix(text: &str) -> Result<IpNet, RangeError> {
    prefix(parse_net(text)?)
}

fn parse_net(text: &str) -> Result<IpNet, RangeError> {
    text.parse().map_err(|_| RangeError::Syntax(text.into()))
}

fn prefix(net: IpNet) -> Result<IpNet, RangeError> {
    if net != net.trunc() {
        return Err(RangeError::HostBits(net, net.trunc()));
    }
    let (ip, special) = (net.addr(), RangeError::Special(net));
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() || link_local {
        Err(special)
    } else {
        Ok(net)
    }
}

fn to_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_bits(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        Family::V6 => Ipv6Addr::from_bits(bits).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn range(text: &str) -> PodRange {
        PodRange::parse(text).unwrap()
    }

    #[test]
    fn a_24_has_253_addresses_for_pods() {
        let r = range("10.244.0.0/24");
        assert_eq!(r.capacity(), 253);
        assert_eq!(r.gateway().to_string(), "10.244.0.1");
        assert_eq!(r.first().to_string(), "10.244.0.2");
        assert_eq!(r.last().to_string(), "10.244.0.254");
    }

    #[test]
    fn a_30_has_one_address_for_pods() {
        let r = range("10.0.0.4/30");
        assert_eq!(
            (r.capacity(), r.first().to_string()),
            (1, "10.0.0.6".into())
        );
        assert_eq!(r.after(r.first()), r.first());
    }

    #[test]
    fn an_ipv6_range_keeps_its_last_address() {
        let r = range("fd00::/126");
        assert_eq!(r.capacity(), 2);
        assert_eq!(r.last().to_string(), "fd00::3");
        assert_eq!(range("fd00:10:244::/64").capacity(), u64::MAX - 1);
    }

    #[test]
    fn what_is_no_range_is_refused_with_its_reason() {
        assert!(matches!(
            PodRange::parse("10.244.0.0"),
            Err(RangeError::Syntax(_))
        ));
        assert!(matches!(
            PodRange::parse("10.244.0.1/24"),
            Err(RangeError::HostBits(..))
        ));
        assert!(matches!(
            PodRange::parse("10.244.0.0/31"),
            Err(RangeError::TooSmall(_, 30))
        ));
        assert!(matches!(
            PodRange::parse("fd00::/127"),
            Err(RangeError::TooSmall(_, 126))
        ));
        for special in [
            "127.0.0.0/8",
            "224.0.0.0/4",
            "169.254.0.0/16",
            "fe80::/64",
            "::/0",
        ] {
            assert!(
                matches!(PodRange::parse(special), Err(RangeError::Special(_))),
                "{special}"
            );
        }
    }

    #[test]
    fn after_walks_round() {
        let r = range("10.244.0.0/24");
        assert_eq!(r.after("10.244.0.254".parse().unwrap()), r.first());
        assert_eq!(
            r.after("10.244.0.9".parse().unwrap()).to_string(),
            "10.244.0.10"
        );
        assert_eq!(r.after("192.0.2.1".parse().unwrap()), r.first());
    }

    #[test]
    fn bounds_and_a_gateway_of_its_own_are_kept_and_survive_a_record() {
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let net: IpNet = "10.0.0.0/24".parse().unwrap();
        let r = PodRange::bounded(net, ip("10.0.0.9"), ip("10.0.0.12"), ip("10.0.0.10")).unwrap();
        assert_eq!(
            (r.capacity(), r.first(), r.last()),
            (3, ip("10.0.0.9").unwrap(), ip("10.0.0.12").unwrap())
        );
        assert_eq!(Some(r.after(r.first())), ip("10.0.0.11"));
        assert_eq!(r.after(r.last()), r.first());
        assert!(!r.offers(r.gateway()));
        for range in [r, range("10.0.0.0/24"), range("fd00::/64")] {
            let text = serde_json::to_string(&range).unwrap();
            assert_eq!(
                serde_json::from_str::<PodRange>(&text).unwrap(),
                range,
                "{text}"
            );
        }
        let whole = serde_json::to_string(&range("10.0.0.0/24")).unwrap();
        assert_eq!(
            whole, r#""10.0.0.0/24""#,
            "as in records of earlier versions"
        );
        assert!(matches!(
            PodRange::bounded(net, ip("10.0.1.9"), None, None),
            Err(RangeError::Outside(..))
        ));
        for (start, end) in [("10.0.0.9", "10.0.0.8"), ("10.0.0.1", "10.0.0.1")] {
            let empty = PodRange::bounded(net, ip(start), ip(end), None);
            assert!(matches!(empty, Err(RangeError::Empty(..))), "{start}");
        }
    }

    #[test]
    fn what_two_ranges_give_is_part_of_the_second() {
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let own = range("10.244.0.0/24");
        let part = |start, end| {
            let net = "10.244.0.0/16".parse().unwrap();
            PodRange::bounded(net, ip(start), ip(end), None).unwrap()
        };
        assert_eq!(range("10.244.0.0/16").within(&own), Some(own));
        let both = part("10.244.0.50", "10.244.1.9").within(&own).unwrap();
        assert_eq!(
            both.to_string(),
            "10.244.0.0/24 (10.244.0.50 to 10.244.0.254)"
        );
        assert_eq!((both.whole(), both.capacity()), (own, 205));
        assert_eq!(part("10.244.1.2", "10.244.1.9").within(&own), None);
        assert_eq!(range("fd00::/64").within(&own), None);
    }

    #[test]
    fn a_mac_is_a_function_of_the_address() {
        assert_eq!(
            Mac::of_pod("10.244.0.2".parse().unwrap()).to_string(),
            "0a:58:0a:f4:00:02"
        );
        assert_ne!(
            Mac::of_pod("fd00::2".parse().unwrap()),
            Mac::of_pod("fd00::3".parse().unwrap())
        );
    }
}
