//! The sets and maps of our table, and what stands in them.
//!
//! Everything that changes while the node runs is an element of one of these. What belongs to one attachment (host ports)
//! names its owner, so that nobody removes what is another's; the owner is the element's comment in nft(8).

use super::protocol;
use crate::addr::Family;
use crate::name::IfName;
use crate::ports::Protocol;
use alloc::borrow::ToOwned as _;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use ipnet::IpNet;

/// The sets of our table. Everything that changes while the node runs stands in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// The whole cluster's pod addresses, as prefixes.
    Pods(Family),
    /// This node's pod ranges.
    Local(Family),
    /// Addresses of nodes that a pod's packet reaches with the pod's own source.
    Nodes(Family),
    /// Bridges whose ports are pods.
    Bridges,
    /// Addresses of Services that stand on a link of this node: no host port takes them.
    Services(Family),
    /// Host ports at every address of the node.
    Ports(Family),
    /// Host ports at one address of the node.
    PortsAt(Family),
    /// Pods with host ports, each paired with itself.
    Hairpin(Family),
    /// Pods of bridges of somebody's own configuration that are masqueraded.
    Masqueraded(Family),
    /// Pods towards which everybody is masqueraded who asks a host port.
    MasqueradedTo(Family),
    /// Ranges of pods that share a wire with each other, on bridges that are not the cluster's.
    Shared(Family),
}

/// What the elements of a set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Prefixes: an interval set.
    Prefixes(Family),
    /// Single addresses: a hash set.
    Addresses(Family),
    /// Names of links: a hash set.
    Interfaces,
    /// Protocol and port, to a pod's address and port: a hash map.
    Ports(Family),
    /// Address, protocol and port, to a pod's address and port: a hash map.
    PortsAt(Family),
    /// Two addresses together: a hash set.
    Pairs(Family),
    /// Pods' addresses: a hash set.
    Pods(Family),
}

impl Set {
    /// All sets, in the order in which they are made.
    pub const ALL: [Self; 21] = [
        Self::Pods(Family::V4),
        Self::Pods(Family::V6),
        Self::Local(Family::V4),
        Self::Local(Family::V6),
        Self::Nodes(Family::V4),
        Self::Nodes(Family::V6),
        Self::Bridges,
        Self::Services(Family::V4),
        Self::Services(Family::V6),
        Self::Ports(Family::V4),
        Self::Ports(Family::V6),
        Self::PortsAt(Family::V4),
        Self::PortsAt(Family::V6),
        Self::Hairpin(Family::V4),
        Self::Hairpin(Family::V6),
        Self::Masqueraded(Family::V4),
        Self::Masqueraded(Family::V6),
        Self::MasqueradedTo(Family::V4),
        Self::MasqueradedTo(Family::V6),
        Self::Shared(Family::V4),
        Self::Shared(Family::V6),
    ];

    /// The set's name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pods(Family::V4) => "pods4",
            Self::Pods(Family::V6) => "pods6",
            Self::Local(Family::V4) => "local4",
            Self::Local(Family::V6) => "local6",
            Self::Nodes(Family::V4) => "nodes4",
            Self::Nodes(Family::V6) => "nodes6",
            Self::Bridges => "bridges",
            Self::Services(Family::V4) => "services4",
            Self::Services(Family::V6) => "services6",
            Self::Ports(Family::V4) => "ports4",
            Self::Ports(Family::V6) => "ports6",
            Self::PortsAt(Family::V4) => "ports_at4",
            Self::PortsAt(Family::V6) => "ports_at6",
            Self::Hairpin(Family::V4) => "hairpin4",
            Self::Hairpin(Family::V6) => "hairpin6",
            Self::Masqueraded(Family::V4) => "masqueraded4",
            Self::Masqueraded(Family::V6) => "masqueraded6",
            Self::MasqueradedTo(Family::V4) => "masqueraded_to4",
            Self::MasqueradedTo(Family::V6) => "masqueraded_to6",
            Self::Shared(Family::V4) => "shared4",
            Self::Shared(Family::V6) => "shared6",
        }
    }

    /// What its elements are.
    #[must_use]
    pub fn kind(self) -> SetKind {
        match self {
            Self::Pods(family) | Self::Local(family) | Self::Shared(family) => {
                SetKind::Prefixes(family)
            }
            Self::Nodes(family) | Self::Services(family) => SetKind::Addresses(family),
            Self::Bridges => SetKind::Interfaces,
            Self::Ports(family) => SetKind::Ports(family),
            Self::PortsAt(family) => SetKind::PortsAt(family),
            Self::Hairpin(family) => SetKind::Pairs(family),
            Self::Masqueraded(family) | Self::MasqueradedTo(family) => SetKind::Pods(family),
        }
    }

    /// Whether its elements belong to attachments: what one has there, another must not take.
    #[must_use]
    pub fn is_owned(self) -> bool {
        match self.kind() {
            SetKind::Ports(_) | SetKind::PortsAt(_) | SetKind::Pairs(_) | SetKind::Pods(_) => true,
            SetKind::Prefixes(_) | SetKind::Addresses(_) | SetKind::Interfaces => false,
        }
    }

    pub(super) fn protocol(self) -> &'static str {
        match self.kind() {
            SetKind::Prefixes(family)
            | SetKind::Addresses(family)
            | SetKind::Ports(family)
            | SetKind::PortsAt(family)
            | SetKind::Pairs(family)
            | SetKind::Pods(family) => protocol(family),
            SetKind::Interfaces => "meta",
        }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The attachment that an element belongs to (`attachment::Key::owner`); of an element that somebody made by hand, whatever
/// he wrote as its comment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner(String);

impl Owner {
    /// Longest comment of nft(8) in bytes.
    pub const LONGEST: usize = 127;

    /// An owner by its name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host port in a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The address of the node; none in the map for all of them.
    pub at: Option<IpAddr>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port of the node.
    pub port: u16,
    /// Where it leads to.
    pub pod: SocketAddr,
    /// Whose it is.
    pub owner: Owner,
}

/// An element of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A prefix, or a single address as `/32` or `/128`.
    Net(IpNet),
    /// A link's name.
    Interface(IfName),
    /// A host port and where it leads to.
    Port(Published),
    /// An address paired with itself.
    Pair(IpAddr, Owner),
    /// A pod's address.
    Pod(IpAddr, Owner),
}

impl Element {
    /// The prefix, if it is one.
    #[must_use]
    pub fn net(&self) -> Option<IpNet> {
        match self {
            Self::Net(net) => Some(*net),
            Self::Interface(_) | Self::Port(_) | Self::Pair(..) | Self::Pod(..) => None,
        }
    }

    /// The link's name, if it is one.
    #[must_use]
    pub fn interface(&self) -> Option<&IfName> {
        match self {
            Self::Interface(name) => Some(name),
            Self::Net(_) | Self::Port(_) | Self::Pair(..) | Self::Pod(..) => None,
        }
    }

    /// Whose it is, in a set that has owners.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Port(Published { owner, .. }) | Self::Pair(_, owner) | Self::Pod(_, owner) => {
                Some(owner)
            }
            Self::Net(_) | Self::Interface(_) => None,
        }
    }

    /// What it is found by, in a set that has owners: only one element can stand there.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Port(port) => Some((port.at, Some(port.protocol), port.port)),
            Self::Pair(ip, _) | Self::Pod(ip, _) => Some((Some(*ip), None, 0)),
            Self::Net(_) | Self::Interface(_) => None,
        }
    }
}

/// Address, protocol and port of an element with an owner, as far as its set asks for them.
pub type Place = (Option<IpAddr>, Option<Protocol>, u16);

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => net.fmt(f),
            Self::Interface(name) => write!(f, "{:?}", name.as_str()),
            Self::Pod(ip, owner) => write!(f, "{ip} comment {:?}", owner.as_str()),
            Self::Pair(ip, owner) => write!(f, "{ip} . {ip} comment {:?}", owner.as_str()),
            Self::Port(published) => {
                let Published {
                    at,
                    protocol,
                    port,
                    pod,
                    owner,
                } = published;
                if let Some(at) = at {
                    write!(f, "{at} . ")?;
                }
                let (ip, pod_port) = (pod.ip(), pod.port());
                write!(f, "{protocol} . {port} comment {:?} : ", owner.as_str())?;
                write!(f, "{ip} . {pod_port}")
            }
        }
    }
}
