//! Sets and their elements.
//!
//! A set of prefixes is an interval set: each prefix is two elements, where it starts and where the first address behind it
//! stands (`NFT_SET_ELEM_INTERVAL_END`); one that reaches the last address has no end. Follows linux/netfilter/nf_tables.h
//! (`NFTA_SET_*`, `NFTA_SET_ELEM_*`) and nft(8)'s own encoding, so that nft lists prefixes as prefixes.

use super::attr::{Attrs, Read, comment, text, udata};
use super::expr::{octets, padded};
use super::message::Message;
use super::number::*;
use super::ports;
use ipnet::{IpSubnets, Ipv4Subnets, Ipv6Subnets};
use model::addr::{Family, host_prefix};
use model::firewall::{Element, Set, SetKind, TABLE};
use model::name::IfName;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// An attribute ends at 64 KiB; this many prefixes of IPv6, two elements each, take 64,000 bytes of it.
const ELEMENTS_PER_MESSAGE: usize = 1000;
/// And this many host ports of IPv6 with the longest owners 60,000.
const OWNED_PER_MESSAGE: usize = 300;

/// An element as the kernel has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    /// It is where an interval ends, not a thing of its own.
    pub(super) end: bool,
    /// What a map answers.
    pub(super) data: Option<Vec<u8>>,
    pub(super) comment: Option<String>,
}

/// The message that makes a set. `id` is its number within the transaction.
pub(super) fn create(set: Set, id: u32) -> Message {
    let kind = set.kind();
    let (key_type, key_len) = ports::key_type(kind);
    let order = match kind {
        SetKind::Prefixes(_) | SetKind::Addresses(_) | SetKind::Pods(_) => BYTEORDER_BIG_ENDIAN,
        SetKind::Interfaces => BYTEORDER_HOST_ENDIAN,
        // Each part has its own.
        SetKind::Ports(_) | SetKind::PortsAt(_) | SetKind::Pairs(_) => BYTEORDER_INVALID,
    };
    let flags = match kind {
        SetKind::Prefixes(_) => NFT_SET_INTERVAL,
        SetKind::Ports(_) | SetKind::PortsAt(_) => NFT_SET_MAP,
        SetKind::Addresses(_) | SetKind::Interfaces | SetKind::Pairs(_) | SetKind::Pods(_) => 0,
    };
    let mut message = Message::new(NFT_MSG_NEWSET, NFPROTO_INET);
    message
        .attrs
        .text(NFTA_SET_TABLE, TABLE)
        .text(NFTA_SET_NAME, set.name())
        .be32(NFTA_SET_FLAGS, flags)
        .be32(NFTA_SET_KEY_TYPE, key_type)
        .be32(NFTA_SET_KEY_LEN, key_len)
        .be32(NFTA_SET_ID, id);
    let mut orders = byteorder(NFTNL_UDATA_SET_KEYBYTEORDER, order);
    if let Some((data_type, data_len)) = ports::data_type(kind) {
        message
            .attrs
            .be32(NFTA_SET_DATA_TYPE, data_type)
            .be32(NFTA_SET_DATA_LEN, data_len);
        orders.extend(byteorder(NFTNL_UDATA_SET_DATABYTEORDER, BYTEORDER_INVALID));
    }
    message.attrs.put(NFTA_SET_USERDATA, &orders);
    message
}

fn byteorder(of: u8, order: u32) -> Vec<u8> {
    let [a, b, c, d] = order.to_ne_bytes();
    vec![of, 4, a, b, c, d]
}

/// The messages (`NFT_MSG_NEWSETELEM` or `NFT_MSG_DELSETELEM`) for these elements; none if one is not of the set's kind.
pub(super) fn change<'a>(
    kind: u16,
    set: Set,
    elements: impl IntoIterator<Item = &'a Element>,
) -> Option<Vec<Message>> {
    let entries: Vec<Vec<Entry>> = elements
        .into_iter()
        .map(|element| encode(set.kind(), element))
        .collect::<Option<_>>()?;
    let message = |part: &[Vec<Entry>]| {
        let mut message = about(kind, set);
        message.attrs.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
            for entry in part.iter().flatten() {
                put(list, entry, kind);
            }
        });
        message
    };
    let most = if set.is_owned() {
        OWNED_PER_MESSAGE
    } else {
        ELEMENTS_PER_MESSAGE
    };
    Some(entries.chunks(most).map(message).collect())
}

/// The question for what stands where this element would; none if it is not of the set's kind.
pub(super) fn question(set: Set, element: &Element) -> Option<Message> {
    change(NFT_MSG_GETSETELEM, set, [element])?
        .into_iter()
        .next()
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

/// The elements that a message brings.
pub(super) fn entries(attrs: Read<'_>) -> Vec<Entry> {
    let Some(list) = attrs.nested(NFTA_SET_ELEM_LIST_ELEMENTS) else {
        return Vec::new();
    };
    let entry = |(_, element)| {
        let element = Read(element);
        let value = |kind| element.nested(kind)?.get(NFTA_DATA_VALUE);
        let flags = element.be32(NFTA_SET_ELEM_FLAGS).unwrap_or(0);
        let udata = element.get(NFTA_SET_ELEM_USERDATA).unwrap_or_default();
        Some(Entry {
            key: value(NFTA_SET_ELEM_KEY)?.to_vec(),
            end: flags & NFT_SET_ELEM_INTERVAL_END != 0,
            data: value(NFTA_SET_ELEM_DATA).map(<[u8]>::to_vec),
            comment: comment(udata, NFTNL_UDATA_SET_ELEM_COMMENT),
        })
    };
    list.each().filter_map(entry).collect()
}

/// All of a set as elements. What cannot be one of ours, such as a name that no link can have, is left out.
pub(super) fn decode(kind: SetKind, entries: Vec<Entry>) -> BTreeSet<Element> {
    match kind {
        SetKind::Prefixes(family) => intervals(family, entries)
            .into_iter()
            .flat_map(|(first, last)| prefixes(family, first, last))
            .map(Element::Net)
            .collect(),
        SetKind::Addresses(family) => entries
            .into_iter()
            .filter_map(|entry| address(family, &entry.key))
            .map(|bits| Element::Net(host_prefix(ip(family, bits))))
            .collect(),
        SetKind::Interfaces => entries
            .into_iter()
            .filter_map(|entry| IfName::new(&text(&entry.key)).ok())
            .map(Element::Interface)
            .collect(),
        SetKind::Ports(_) | SetKind::PortsAt(_) | SetKind::Pairs(_) | SetKind::Pods(_) => entries
            .iter()
            .filter_map(|entry| ports::decode(kind, entry))
            .collect(),
    }
}

/// An element, and in a set of prefixes its end behind it.
fn encode(kind: SetKind, element: &Element) -> Option<Vec<Entry>> {
    let entry = |key, end| Entry {
        key,
        end,
        ..Entry::default()
    };
    match (kind, element) {
        (SetKind::Prefixes(family), Element::Net(net)) if Family::of(net.addr()) == family => {
            let end = bits(net.broadcast())
                .checked_add(1)
                .filter(|end| *end <= last(family));
            let mut both = vec![entry(octets(net.network()), false)];
            both.extend(end.map(|end| entry(octets(ip(family, end)), true)));
            Some(both)
        }
        (SetKind::Addresses(family), Element::Net(net))
            if Family::of(net.addr()) == family && net.prefix_len() == family.bits() =>
        {
            Some(vec![entry(octets(net.addr()), false)])
        }
        (SetKind::Interfaces, Element::Interface(name)) => {
            Some(vec![entry(padded(name.as_str()), false)])
        }
        _ => Some(vec![ports::encode(kind, element)?]),
    }
}

fn put(list: &mut Attrs, entry: &Entry, kind: u16) {
    list.nest(NFTA_LIST_ELEM, |element| {
        element.nest(NFTA_SET_ELEM_KEY, |data| {
            data.put(NFTA_DATA_VALUE, &entry.key);
        });
        if entry.end {
            element.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
        }
        // Whoever asks for an element, or removes it, names only its key.
        if kind != NFT_MSG_NEWSETELEM {
            return;
        }
        if let Some(value) = &entry.data {
            element.nest(NFTA_SET_ELEM_DATA, |data| {
                data.put(NFTA_DATA_VALUE, value);
            });
        }
        if let Some(comment) = &entry.comment {
            element.put(
                NFTA_SET_ELEM_USERDATA,
                &udata(NFTNL_UDATA_SET_ELEM_COMMENT, comment),
            );
        }
    });
}

/// Pairs starts with ends. The kernel's order is its own; where one interval ends and the next begins, the end is first.
fn intervals(family: Family, entries: Vec<Entry>) -> Vec<(u128, u128)> {
    let mut marks: Vec<(u128, bool)> = entries
        .into_iter()
        .filter_map(|entry| Some((address(family, &entry.key)?, !entry.end)))
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
