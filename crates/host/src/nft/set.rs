//! Sets and their elements.
//!
//! A set of prefixes is an interval set: each prefix is two elements, where it starts and where the first address behind it
//! stands (`NFT_SET_ELEM_INTERVAL_END`); one that reaches the last address has no end. Follows linux/netfilter/nf_tables.h
//! (`NFTA_SET_*`, `NFTA_SET_ELEM_*`) and nft(8)'s own encoding, so that nft lists prefixes as prefixes.

use super::attr::{Attrs, Read, text};
use super::expr::{octets, padded};
use super::message::Message;
use super::number::*;
use ipnet::{IpSubnets, Ipv4Subnets, Ipv6Subnets};
use model::addr::{Family, host_prefix};
use model::firewall::{Element, Set, SetKind, TABLE};
use model::name::IfName;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// An attribute ends at 64 KiB; this many prefixes of IPv6, two elements each, take 64,000 bytes of it.
const ELEMENTS_PER_MESSAGE: usize = 1000;

/// The message that makes a set. `id` is its number within the transaction.
pub(super) fn create(set: Set, id: u32) -> Message {
    let (key_type, key_len, order) = match set.kind() {
        SetKind::Prefixes(Family::V4) | SetKind::Addresses(Family::V4) => {
            (TYPE_IPADDR, 4, BYTEORDER_BIG_ENDIAN)
        }
        SetKind::Prefixes(Family::V6) | SetKind::Addresses(Family::V6) => {
            (TYPE_IP6ADDR, 16, BYTEORDER_BIG_ENDIAN)
        }
        SetKind::Interfaces => (TYPE_IFNAME, 16, BYTEORDER_HOST_ENDIAN),
    };
    let flags = match set.kind() {
        SetKind::Prefixes(_) => NFT_SET_INTERVAL,
        SetKind::Addresses(_) | SetKind::Interfaces => 0,
    };
    let [a, b, c, d] = order.to_ne_bytes();
    let mut message = Message::new(NFT_MSG_NEWSET, NFPROTO_INET);
    message
        .attrs
        .text(NFTA_SET_TABLE, TABLE)
        .text(NFTA_SET_NAME, set.name())
        .be32(NFTA_SET_FLAGS, flags)
        .be32(NFTA_SET_KEY_TYPE, key_type)
        .be32(NFTA_SET_KEY_LEN, key_len)
        .be32(NFTA_SET_ID, id)
        .put(
            NFTA_SET_USERDATA,
            &[NFTNL_UDATA_SET_KEYBYTEORDER, 4, a, b, c, d],
        );
    message
}

/// The messages (`NFT_MSG_NEWSETELEM` or `NFT_MSG_DELSETELEM`) for these elements; none if one is not of the set's kind.
pub(super) fn change<'a>(
    kind: u16,
    set: Set,
    elements: impl IntoIterator<Item = &'a Element>,
) -> Option<Vec<Message>> {
    let keys: Vec<(Vec<u8>, Option<Vec<u8>>)> = elements
        .into_iter()
        .map(|element| encode(set.kind(), element))
        .collect::<Option<_>>()?;
    let message = |part: &[(Vec<u8>, Option<Vec<u8>>)]| {
        let mut message = about(kind, set);
        message.attrs.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
            for (start, end) in part {
                put(list, start, 0);
                if let Some(end) = end {
                    put(list, end, NFT_SET_ELEM_INTERVAL_END);
                }
            }
        });
        message
    };
    Some(keys.chunks(ELEMENTS_PER_MESSAGE).map(message).collect())
}

/// A message about the elements of a set.
pub(super) fn about(kind: u16, set: Set) -> Message {
    let mut message = Message::new(kind, NFPROTO_INET);
    message
        .attrs
        .text(NFTA_SET_ELEM_LIST_TABLE, TABLE)
        .text(NFTA_SET_ELEM_LIST_SET, set.name());
    message
}

/// The keys that a message brings, each with whether it is an interval's end.
pub(super) fn keys(attrs: Read<'_>) -> Vec<(Vec<u8>, bool)> {
    let Some(list) = attrs.nested(NFTA_SET_ELEM_LIST_ELEMENTS) else {
        return Vec::new();
    };
    let key = |(_, element)| {
        let element = Read(element);
        let key = element.nested(NFTA_SET_ELEM_KEY)?.get(NFTA_DATA_VALUE)?;
        let flags = element.be32(NFTA_SET_ELEM_FLAGS).unwrap_or(0);
        Some((key.to_vec(), flags & NFT_SET_ELEM_INTERVAL_END != 0))
    };
    list.each().filter_map(key).collect()
}

/// All keys of a set as elements. What cannot be one of ours, such as a name that no link can have, is left out.
pub(super) fn decode(kind: SetKind, keys: Vec<(Vec<u8>, bool)>) -> BTreeSet<Element> {
    match kind {
        SetKind::Prefixes(family) => intervals(family, keys)
            .into_iter()
            .flat_map(|(first, last)| prefixes(family, first, last))
            .map(Element::Net)
            .collect(),
        SetKind::Addresses(family) => keys
            .into_iter()
            .filter_map(|(key, _)| address(family, &key))
            .map(|bits| Element::Net(host_prefix(ip(family, bits))))
            .collect(),
        SetKind::Interfaces => keys
            .into_iter()
            .filter_map(|(key, _)| IfName::new(&text(&key)).ok())
            .map(Element::Interface)
            .collect(),
    }
}

/// An element's key, and in a set of prefixes its end.
fn encode(kind: SetKind, element: &Element) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    match (kind, element) {
        (SetKind::Prefixes(family), Element::Net(net)) if Family::of(net.addr()) == family => {
            let end = bits(net.broadcast())
                .checked_add(1)
                .filter(|end| *end <= last(family));
            Some((
                octets(net.network()),
                end.map(|end| octets(ip(family, end))),
            ))
        }
        (SetKind::Addresses(family), Element::Net(net))
            if Family::of(net.addr()) == family && net.prefix_len() == family.bits() =>
        {
            Some((octets(net.addr()), None))
        }
        (SetKind::Interfaces, Element::Interface(name)) => Some((padded(name.as_str()), None)),
        _ => None,
    }
}

fn put(list: &mut Attrs, key: &[u8], flags: u32) {
    list.nest(NFTA_LIST_ELEM, |element| {
        element.nest(NFTA_SET_ELEM_KEY, |data| {
            data.put(NFTA_DATA_VALUE, key);
        });
        if flags != 0 {
            element.be32(NFTA_SET_ELEM_FLAGS, flags);
        }
    });
}

/// Pairs starts with ends. The kernel's order is its own; where one interval ends and the next begins, the end is first.
fn intervals(family: Family, keys: Vec<(Vec<u8>, bool)>) -> Vec<(u128, u128)> {
    let mut marks: Vec<(u128, bool)> = keys
        .into_iter()
        .filter_map(|(key, end)| Some((address(family, &key)?, !end)))
        .collect();
    marks.sort_unstable();
    let mut found = Vec::new();
    let mut open: Option<u128> = None;
    for (mark, start) in marks {
        if start {
            open = open.or(Some(mark));
        } else if let Some(first) = open.take() {
            found.push((first, mark - 1));
        }
    }
    found.extend(open.map(|first| (first, last(family))));
    found
}

/// A range as the fewest prefixes.
fn prefixes(family: Family, first: u128, last: u128) -> IpSubnets {
    match (ip(family, first), ip(family, last)) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(first, last, 0).into(),
        (first, last) => {
            let v6 = |ip| match ip {
                IpAddr::V6(v6) => v6,
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            };
            Ipv6Subnets::new(v6(first), v6(last), 0).into()
        }
    }
}

fn address(family: Family, key: &[u8]) -> Option<u128> {
    match family {
        Family::V4 => Some(u32::from_be_bytes(key.try_into().ok()?).into()),
        Family::V6 => Some(u128::from_be_bytes(key.try_into().ok()?)),
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn ip(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(u32::try_from(bits).unwrap_or(u32::MAX).into()),
        Family::V6 => IpAddr::V6(bits.into()),
    }
}

fn last(family: Family) -> u128 {
    u128::MAX >> (128 - u32::from(family.bits()))
}
