//! Addresses: families, MACs, and the ranges that pods get their addresses from.
//!
//! Which address a pod gets is decided in `plan::ipam`; here stands only what a range holds and what it never gives away:
//! the network's own address, the first address (the node's own: the gateway), and the broadcast address of IPv4.

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

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String")]
#[serde(try_from = "String")]
pub struct Mac(pub [u8; 6]);

/// Why a text is no MAC of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// Not six bytes of two hexadecimal digits.
    #[error("it is no MAC such as 0a:58:0a:f4:00:02")]
    Syntax,
    /// The lowest bit of the first byte makes it a group.
    #[error("it is a multicast MAC")]
    Multicast,
    /// All bytes are zero.
    #[error("it is zero")]
    Zero,
}

impl Mac {
    /// Reads `0a:58:0a:f4:00:02`, also with `-` between the bytes: the MAC of one interface.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, MacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or(MacError::Syntax)?;
            let is_byte = part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit());
            let read = u8::from_str_radix(part, 16).ok().filter(|_| is_byte);
            *byte = read.ok_or(MacError::Syntax)?;
        }
        match bytes {
            _ if parts.next().is_some() => Err(MacError::Syntax),
            [0, 0, 0, 0, 0, 0] => Err(MacError::Zero),
            [first, ..] if first & 1 != 0 => Err(MacError::Multicast),
            bytes => Ok(Self(bytes)),
        }
    }

    /// The MAC of the pod that holds `ip`: a function of the address, so that an address that is used again never meets
    /// a neighbour entry with another MAC. `0a:58` and the four bytes for IPv4, as Kubernetes' own networks have it.
    #[must_use]
    pub fn of_pod(ip: IpAddr) -> Self {
        Self::derived(0x0a, ip)
    }

    /// The MAC of the node's end of that pod's veth, or of a bridge with that address.
    #[must_use]
    pub fn of_gateway(ip: IpAddr) -> Self {
        Self::derived(0x0e, ip)
    }

    fn derived(first: u8, ip: IpAddr) -> Self {
        let [a, b, c, d] = match ip {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(v6) => fold(v6),
        };
        Self([first, 0x58, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        alloc::format!("{mac}")
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        Self::parse(&text)
    }
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
}

/// A range that pods of one node get their addresses from: at least a /30 or a /126, without host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "IpNet")]
#[serde(try_from = "IpNet")]
pub struct PodRange(IpNet);

impl PodRange {
    /// Checks a prefix.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(net: IpNet) -> Result<Self, RangeError> {
        let net = prefix(net)?;
        let least = Family::of(net.addr()).bits() - 2;
        if net.prefix_len() > least {
            return Err(RangeError::TooSmall(net, least));
        }
        Ok(Self(net))
    }

    /// Reads `10.244.0.0/24`.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        Self::new(parse_net(text)?)
    }

    /// The prefix.
    #[must_use]
    pub fn net(&self) -> IpNet {
        self.0
    }

    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.0.addr())
    }

    /// The node's own address in the range: the first one, the pods' gateway.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        self.at(1)
    }

    /// The first address that a pod may get.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.at(2)
    }

    /// The last address that a pod may get.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.at(self.capacity_bits() + 1)
    }

    /// How many pods have place (all of IPv6's are more than anybody counts: at most `u64::MAX`).
    #[must_use]
    pub fn capacity(&self) -> u64 {
        u64::try_from(self.capacity_bits()).unwrap_or(u64::MAX)
    }

    /// Whether a pod may get `ip` from here.
    #[must_use]
    pub fn offers(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip) && self.first() <= ip && ip <= self.last()
    }

    /// The address after `ip` that a pod may get, round robin.
    #[must_use]
    pub fn after(&self, ip: IpAddr) -> IpAddr {
        if !self.offers(ip) || ip == self.last() {
            self.first()
        } else {
            from_bits(self.family(), to_bits(ip) + 1)
        }
    }

    fn at(&self, offset: u128) -> IpAddr {
        from_bits(self.family(), to_bits(self.0.network()) + offset)
    }

    /// Addresses behind the first two, without IPv4's broadcast address.
    fn capacity_bits(&self) -> u128 {
        let host = u32::from(self.family().bits() - self.0.prefix_len());
        let all = 1u128.checked_shl(host).map_or(u128::MAX, |n| n - 1);
        match self.family() {
            Family::V4 => all - 2,
            Family::V6 => all - 1,
        }
    }
}

impl From<PodRange> for IpNet {
    fn from(range: PodRange) -> Self {
        range.0
    }
}

impl TryFrom<IpNet> for PodRange {
    type Error = RangeError;

    fn try_from(net: IpNet) -> Result<Self, RangeError> {
        Self::new(net)
    }
}

impl fmt::Display for PodRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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

/// The 16 bytes of an IPv6 address folded into four, so that neighbours in one range stay different.
fn fold(ip: Ipv6Addr) -> [u8; 4] {
    let bytes = ip.octets();
    core::array::from_fn(|i| bytes[i] ^ bytes[i + 4] ^ bytes[i + 8] ^ bytes[i + 12])
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
