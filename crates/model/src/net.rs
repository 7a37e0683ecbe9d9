//! Links, addresses, routes and neighbours as data, for wanting them and for having seen them.
//!
//! Only what Podwire makes or compares is described. The numbers of rtnetlink(7) stay in `host`; the text forms are those
//! of ip(8), so that what is printed can be typed.

use crate::addr::Mac;
use crate::name::IfName;
use alloc::string::String;
use core::fmt;
use core::net::IpAddr;
use ipnet::IpNet;

/// First letters of the host end of each attachment's veth.
pub const VETH_PREFIX: &str = "pw";

/// Characters of such a name: the prefix, and a hash (`Key::host_interface`).
const POD_LINK: usize = 15;

/// Whether a link of this name could be the node's end of an attachment's veth.
#[must_use]
pub fn is_pod_link(name: &str) -> bool {
    let digits = name.strip_prefix(VETH_PREFIX);
    name.len() == POD_LINK
        && digits.is_some_and(|digits| {
            digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'v'))
        })
}

/// A link that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Its name.
    pub name: IfName,
    /// Its MAC, set at birth: a MAC that the kernel chose is changed by others.
    pub mac: Mac,
    /// Its MTU in bytes; the kernel's default if absent.
    pub mtu: Option<u32>,
    /// What it is.
    pub kind: LinkKind,
}

/// What a link is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkKind {
    /// A veth pair whose peer is born inside the pod's network namespace.
    Veth {
        /// The end inside the pod.
        peer: Peer,
        /// Whose it is, in at most 255 bytes (`IFALIASZ`).
        alias: String,
        /// The bridge that the host end is a port of.
        port: Option<Port>,
    },
    /// A bridge; made only if no link has its name.
    Bridge,
}

/// The end of a veth pair inside the pod; it has the MTU of the other end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its name there.
    pub name: IfName,
    /// Its MAC.
    pub mac: Mac,
}

/// Membership in a bridge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The bridge's name.
    pub bridge: IfName,
    /// Whether a frame may leave through the port that it came in by.
    pub hairpin: bool,
    /// Whether it exchanges no frames with other isolated ports.
    pub isolated: bool,
    /// Whether only frames of known stations come in.
    pub locked: bool,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {} address {}", self.name, self.mac)?;
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        match &self.kind {
            LinkKind::Bridge => f.write_str(" type bridge"),
            LinkKind::Veth { peer, alias, port } => {
                if let Some(port) = port {
                    write!(
                        f,
                        " master {}{}{}{}",
                        port.bridge,
                        if port.hairpin { " hairpin on" } else { "" },
                        if port.isolated { " isolated on" } else { "" },
                        if port.locked { " locked on" } else { "" }
                    )?;
                }
                write!(
                    f,
                    " alias {alias:?} type veth peer {} address {} in the pod",
                    peer.name, peer.mac
                )
            }
        }
    }
}

/// An address on a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The address with the length of its prefix.
    pub net: IpNet,
    /// The link's name.
    pub dev: IfName,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {} dev {}", self.net, self.dev)
    }
}

/// A route in the main table, with Podwire's route protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub dst: IpNet,
    /// What happens to the packet.
    pub target: Target,
    /// The source address that the node itself takes.
    pub src: Option<IpAddr>,
}

/// What a route has besides its ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metrics {
    /// Largest packet in bytes.
    pub mtu: Option<u32>,
    /// Largest segment of TCP that is offered, in bytes.
    pub advmss: Option<u32>,
    /// Its metric.
    pub priority: Option<u32>,
    /// Its table, if it is not the main one.
    pub table: Option<u32>,
    /// Its scope, if it is not that of all.
    pub scope: Option<u8>,
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = self.scope.map(u32::from);
        for (word, value) in [
            ("mtu", self.mtu),
            ("advmss", self.advmss),
            ("metric", self.priority),
            ("table", self.table),
            ("scope", scope),
        ] {
            if let Some(value) = value {
                write!(f, " {word} {value}")?;
            }
        }
        Ok(())
    }
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Out of a link, to a neighbour there.
    Dev(IfName),
    /// Out of a link, by way of a gateway that is taken to be on it (`onlink`).
    Via(IpAddr, IfName),
    /// Refused with an ICMP error; behind everything else (the largest metric).
    Unreachable,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Dev(dev) => write!(f, "route {} dev {dev}", self.dst)?,
            Target::Via(gateway, dev) => write!(f, "route {} via {gateway} dev {dev}", self.dst)?,
            Target::Unreachable => write!(f, "route unreachable {}", self.dst)?,
        }
        match self.src {
            Some(src) => write!(f, " src {src}"),
            None => Ok(()),
        }
    }
}

/// A permanent neighbour entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The neighbour's address.
    pub ip: IpAddr,
    /// Its MAC.
    pub mac: Mac,
    /// The link that it is on.
    pub dev: IfName,
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "neighbour {} lladdr {} dev {}",
            self.ip, self.mac, self.dev
        )
    }
}

/// A sysctl below `/proc/sys/net`, such as `ipv4/ip_forward`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sysctl {
    /// Path below `/proc/sys/net`.
    pub key: String,
    /// Its value as text, without the line's end.
    pub value: String,
}

/// A sysctl of the node as it was before Podwire changed it. Its text is one line: `net/ipv4/ip_forward 0 -> 1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Former {
    /// Path below `/proc/sys/net`.
    pub key: String,
    /// Its value before.
    pub was: String,
    /// The value that it was given. If that is the former one, the kernel would change it along with another sysctl.
    pub set: String,
}

impl Former {
    /// Reads the text.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (key, values) = line.strip_prefix("net/")?.split_once(' ')?;
        let (was, set) = values.split_once(" -> ")?;
        Some(Self {
            key: key.into(),
            was: was.into(),
            set: set.into(),
        })
    }
}

impl fmt::Display for Former {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net/{} {} -> {}", self.key, self.was, self.set)
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sysctl net/{} = {}", self.key, self.value)
    }
}
