//! Host ports as elements: several values behind one another, each padded to four bytes.
//!
//! A key's type is that of its parts, six bits each (nft(8), "concatenations"); the answer of a map is an address and a port.
//! The owner is the element's comment, which nft lists and loads. Follows linux/netfilter/nf_tables.h and nft(8)'s encoding.

use super::expr::octets;
use super::number::*;
use super::set::Entry;
use model::addr::Family;
use model::firewall::{Element, Owner, Published, SetKind};
use model::ports::Protocol;
use std::net::{IpAddr, SocketAddr};

/// Type and length of a key.
pub(super) fn key_type(kind: SetKind) -> (u32, u32) {
    match kind {
        SetKind::Ports(_) => joined(&[TYPE_INET_PROTOCOL, TYPE_INET_SERVICE]),
        SetKind::PortsAt(family) => {
            joined(&[address(family), TYPE_INET_PROTOCOL, TYPE_INET_SERVICE])
        }
        SetKind::Pairs(family) => joined(&[address(family), address(family)]),
        SetKind::Prefixes(family) | SetKind::Addresses(family) | SetKind::Pods(family) => {
            joined(&[address(family)])
        }
        SetKind::Interfaces => joined(&[TYPE_IFNAME]),
    }
}

/// Type and length of what a map answers; none for a set.
pub(super) fn data_type(kind: SetKind) -> Option<(u32, u32)> {
    match kind {
        SetKind::Ports(family) | SetKind::PortsAt(family) => {
            Some(joined(&[address(family), TYPE_INET_SERVICE]))
        }
        SetKind::Prefixes(_)
        | SetKind::Addresses(_)
        | SetKind::Interfaces
        | SetKind::Pairs(_)
        | SetKind::Pods(_) => None,
    }
}

fn joined(types: &[u32]) -> (u32, u32) {
    let length = |of: &u32| match *of {
        TYPE_IP6ADDR | TYPE_IFNAME => 16,
        _ => 4,
    };
    (
        types.iter().fold(0, |all, of| all << TYPE_BITS | of),
        types.iter().map(length).sum(),
    )
}

fn address(family: Family) -> u32 {
    match family {
        Family::V4 => TYPE_IPADDR,
        Family::V6 => TYPE_IP6ADDR,
    }
}

/// A host port or a pair; none if it is not of the set's kind.
pub(super) fn encode(kind: SetKind, element: &Element) -> Option<Entry> {
    let is = |ip: IpAddr, family| Family::of(ip) == family;
    let (key, data, owner) = match (kind, element) {
        (SetKind::Ports(family), Element::Port(port))
            if is(port.pod.ip(), family) && port.at.is_none() =>
        {
            (service(port), Some(target(port.pod)), &port.owner)
        }
        (SetKind::PortsAt(family), Element::Port(port)) if is(port.pod.ip(), family) => {
            let mut key = octets(port.at.filter(|at| is(*at, family))?);
            key.extend(service(port));
            (key, Some(target(port.pod)), &port.owner)
        }
        (SetKind::Pairs(family), Element::Pair(ip, owner)) if is(*ip, family) => {
            (octets(*ip).repeat(2), None, owner)
        }
        (SetKind::Pods(family), Element::Pod(ip, owner)) if is(*ip, family) => {
            (octets(*ip), None, owner)
        }
        _ => return None,
    };
    Some(Entry {
        key,
        end: false,
        data,
        comment: Some(owner.as_str().to_owned()),
    })
}

/// The element that an entry is; none if nothing of ours looks like that.
pub(super) fn decode(kind: SetKind, entry: &Entry) -> Option<Element> {
    let owner = Owner::named(entry.comment.as_deref().unwrap_or_default());
    let (family, at) = match kind {
        SetKind::Ports(family) => (family, None),
        SetKind::PortsAt(family) => (family, Some(ip(family, &entry.key)?)),
        SetKind::Pairs(family) => {
            let first = ip(family, &entry.key)?;
            let pair = octets(first).repeat(2) == entry.key;
            return pair.then_some(Element::Pair(first, owner));
        }
        SetKind::Pods(family) => return Some(Element::Pod(ip(family, &entry.key)?, owner)),
        SetKind::Prefixes(_) | SetKind::Addresses(_) | SetKind::Interfaces => return None,
    };
    let service = entry.key.get(at.map_or(0, |_| length(family))..)?;
    let [number, _, _, _, high, low, ..] = *service else {
        return None;
    };
    let mut protocols = Protocol::ALL.into_iter();
    let data = entry.data.as_deref()?;
    let [pod_high, pod_low, ..] = *data.get(length(family)..)? else {
        return None;
    };
    Some(Element::Port(Published {
        at,
        protocol: protocols.find(|protocol| protocol.number() == number)?,
        port: u16::from_be_bytes([high, low]),
        pod: SocketAddr::new(ip(family, data)?, u16::from_be_bytes([pod_high, pod_low])),
        owner,
    }))
}

/// Protocol and port.
fn service(port: &Published) -> Vec<u8> {
    let [high, low] = port.port.to_be_bytes();
    vec![port.protocol.number(), 0, 0, 0, high, low, 0, 0]
}

/// Address and port.
fn target(pod: SocketAddr) -> Vec<u8> {
    let [high, low] = pod.port().to_be_bytes();
    let mut bytes = octets(pod.ip());
    bytes.extend([high, low, 0, 0]);
    bytes
}

fn length(family: Family) -> usize {
    usize::from(family.bits() / 8)
}

/// The address at the start of `bytes`.
fn ip(family: Family, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        Family::V4 => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
        Family::V6 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
    }
}
