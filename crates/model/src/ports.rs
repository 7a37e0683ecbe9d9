//! Host ports: ports of the node behind which a pod listens.
//!
//! Capability `portMappings` of the CNI conventions. How one is read from a configuration stands in `cni::conf`, what it
//! becomes in the kernel is decided in `plan::ports`. Protocols are numbered as in IP.

use crate::addr::Family;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use serde::{Deserialize, Serialize};

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// Its name, as /etc/protocols has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// Its number in the header of IP.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A port of the node that leads to a port of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMap {
    /// The port of the node; not 0.
    pub host_port: u16,
    /// The port of the pod; not 0.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The node's address; `0.0.0.0` and `::` are all of that family, none is all of both.
    pub host_ip: Option<IpAddr>,
}

impl PortMap {
    /// Whether packets of `family` are led.
    #[must_use]
    pub fn serves(&self, family: Family) -> bool {
        self.host_ip.is_none_or(|ip| Family::of(ip) == family)
    }

    /// The one address that it stands at; none if it is all of the node's.
    #[must_use]
    pub fn at(&self) -> Option<IpAddr> {
        self.host_ip.filter(|ip| !ip.is_unspecified())
    }

    /// Whether both want the same port of the same address.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        let shared = [Family::V4, Family::V6]
            .into_iter()
            .any(|family| self.serves(family) && other.serves(family));
        shared
            && (self.at(), self.protocol, self.host_port)
                == (other.at(), other.protocol, other.host_port)
    }
}

impl fmt::Display for PortMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            Some(ip) => write!(f, "{}", SocketAddr::new(ip, self.host_port))?,
            None => write!(f, "{}", self.host_port)?,
        }
        write!(f, "/{}", self.protocol)
    }
}

/// Flows of UDP to a port of the node that the kernel remembers (conntrack) and leads, packet after packet, where the first
/// one went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flows {
    /// Their family.
    pub family: Family,
    /// The address of the node that they go to; none for any.
    pub at: Option<IpAddr>,
    /// The port of the node that they go to.
    pub port: u16,
    /// The pod that they are led to; none for those that are led nowhere.
    pub led: Option<SocketAddr>,
}

impl fmt::Display for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at, self.family) {
            (Some(ip), _) => write!(f, "udp flows to {}", SocketAddr::new(ip, self.port))?,
            (None, Family::V4) => write!(f, "udp flows over IPv4 to port {}", self.port)?,
            (None, Family::V6) => write!(f, "udp flows over IPv6 to port {}", self.port)?,
        }
        match self.led {
            Some(pod) => write!(f, " that lead to {pod}"),
            None => f.write_str(" that lead nowhere"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn map(host_ip: Option<&str>, host_port: u16) -> PortMap {
        PortMap {
            host_port,
            container_port: 80,
            protocol: Protocol::Tcp,
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        }
    }

    #[test]
    fn a_port_of_every_address_collides_with_that_of_its_family_and_with_no_single_address() {
        let all = map(None, 80);
        assert!(all.collides(&map(Some("0.0.0.0"), 80)) && all.collides(&map(Some("::"), 80)));
        assert!(!map(Some("0.0.0.0"), 80).collides(&map(Some("::"), 80)));
        assert!(!all.collides(&map(Some("192.0.2.1"), 80)));
        assert!(!all.collides(&map(None, 81)));
    }

    #[test]
    fn a_port_is_written_as_people_write_it() {
        assert_eq!(map(None, 80).to_string(), "80/tcp");
        assert_eq!(map(Some("192.0.2.1"), 80).to_string(), "192.0.2.1:80/tcp");
        assert_eq!(
            map(Some("2001:db8::1"), 80).to_string(),
            "[2001:db8::1]:80/tcp"
        );
    }
}
