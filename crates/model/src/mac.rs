//! Hardware addresses: those that are a function of an IP address, and those that somebody asks for.
//!
//! What has a MAC, and when it is written, stands elsewhere. A MAC of ours is locally administered (IEEE 802).

use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use serde::{Deserialize, Serialize};

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

/// The 16 bytes of an IPv6 address folded into four, so that neighbours in one range stay different.
fn fold(ip: Ipv6Addr) -> [u8; 4] {
    let bytes = ip.octets();
    core::array::from_fn(|i| bytes[i] ^ bytes[i + 4] ^ bytes[i + 8] ^ bytes[i + 12])
}
