//! From rtnetlink's messages to what was seen, by hand: of some sixty attributes of a link a handful matters here.
//!
//! Follows rtnetlink(7). An attribute that is missing or strange is taken as absent; a message that makes no sense is
//! skipped, so that one foreign object of a new kind does not hide the others.

use super::encode::LAST;
use super::settle::Detection;
use crate::netlink::{Raw, attributes};
use ipnet::IpNet;
use model::addr::Mac;
use model::name::IfName;
use std::net::IpAddr;

const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;
const RTMSG: usize = 12;
const NDMSG: usize = 12;
const RTNEXTHOP: usize = 8;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_DADFAILED: u8 = 0x08;
const IFA_F_TENTATIVE: u8 = 0x40;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_VIA: u16 = 18;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 1;
const NUD_PERMANENT: u16 = 0x80;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_UNREACHABLE: u8 = 7;
const RT_TABLE_MAIN: u8 = 254;

/// A link as the kernel described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSeen {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: IfName,
    /// What it is, such as `veth` or `bridge`; none for a device of hardware and for `lo`.
    pub kind: Option<String>,
    /// Its alias.
    pub alias: Option<String>,
    /// Its MAC, if it has one of six bytes.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// The group that it is in. All are in group 0 unless somebody puts them into another one.
    pub group: u32,
    /// Index of the bridge that it is a port of.
    pub master: Option<u32>,
    /// Whether that bridge may send a frame back through this port.
    pub hairpin: bool,
    /// The other end of a veth.
    pub peer: Option<PeerSeen>,
}

/// The other end of a veth, or the link below this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSeen {
    /// Its index in its own network namespace.
    pub index: u32,
    /// The number by which this network namespace knows that one; none if it is the same.
    pub netns: Option<i32>,
}

/// Reads `RTM_NEWLINK`.
pub(super) fn link(raw: Raw<'_>) -> Option<LinkSeen> {
    let get = |kind| value(raw.attributes(IFINFOMSG), kind);
    let info = get(IFLA_LINKINFO).unwrap_or_default();
    Some(LinkSeen {
        index: u32_at(raw.body, 4)?,
        name: IfName::new(&text(get(IFLA_IFNAME)?)?).ok()?,
        kind: value(attributes(info), IFLA_INFO_KIND).and_then(text),
        alias: get(IFLA_IFALIAS).and_then(text),
        mac: get(IFLA_ADDRESS).and_then(mac),
        mtu: get(IFLA_MTU).and_then(number).unwrap_or(0),
        up: u32_at(raw.body, 8)? & IFF_UP != 0,
        group: get(IFLA_GROUP).and_then(number).unwrap_or(0),
        master: get(IFLA_MASTER).and_then(number),
        hairpin: hairpin(info).unwrap_or(false),
        peer: get(IFLA_LINK).and_then(number).map(|index| PeerSeen {
            index,
            netns: get(IFLA_LINK_NETNSID)
                .and_then(number)
                .map(u32::cast_signed),
        }),
    })
}

/// The flag in what a bridge says of its port.
fn hairpin(info: &[u8]) -> Option<bool> {
    let get = |kind| value(attributes(info), kind);
    if text(get(IFLA_INFO_SLAVE_KIND)?)? != "bridge" {
        return None;
    }
    let port = get(IFLA_INFO_SLAVE_DATA)?;
    let mode = value(attributes(port), IFLA_BRPORT_MODE)?;
    Some(mode.first() == Some(&1))
}

/// Reads `RTM_NEWADDR`: the link's index and the address.
pub(super) fn address(raw: Raw<'_>) -> Option<(u32, IpNet)> {
    let get = |kind| value(raw.attributes(IFADDRMSG), kind);
    // Of a point-to-point link IFA_ADDRESS is the far end.
    let ip = get(IFA_LOCAL).or_else(|| get(IFA_ADDRESS)).and_then(ip)?;
    let net = IpNet::new(ip, *raw.body.get(1)?).ok()?;
    Some((u32_at(raw.body, 4)?, net))
}

/// Reads of `RTM_NEWADDR` whether the kernel still asks for others that have the address.
pub(super) fn detection(raw: Raw<'_>) -> Option<Detection> {
    let flags = *raw.body.get(2)?;
    Some(if flags & IFA_F_DADFAILED != 0 {
        Detection::Duplicate
    } else if flags & IFA_F_TENTATIVE != 0 {
        Detection::Pending
    } else {
        Detection::Over
    })
}

/// A route as the kernel described it.
pub(super) struct RouteSeen {
    pub(super) dst: IpNet,
    pub(super) kind: RouteKind,
    pub(super) src: Option<IpAddr>,
    pub(super) protocol: u8,
}

/// What a route does.
pub(super) enum RouteKind {
    /// Out of the link with this index, by way of a gateway or to a neighbour.
    Out(u32, Option<IpAddr>),
    /// Refused, behind all others.
    Unreachable,
}

/// Reads `RTM_NEWROUTE` of a main table, a route for each of its next hops; none for what Podwire never makes (other types
/// and metrics).
pub(super) fn routes(raw: Raw<'_>) -> Vec<RouteSeen> {
    let hops: Vec<Option<Way>> = match value(raw.attributes(RTMSG), RTA_MULTIPATH) {
        Some(hops) => hops_of(hops).map(Some).collect(),
        None => vec![way(raw.attributes(RTMSG))],
    };
    hops.into_iter().filter_map(|hop| route(raw, hop)).collect()
}

fn route(raw: Raw<'_>, way: Option<Way>) -> Option<RouteSeen> {
    let get = |kind| value(raw.attributes(RTMSG), kind);
    let [family, length, _, _, table, protocol, _, kind] = *raw.body.first_chunk()?;
    let everything = match family {
        AF_INET => IpAddr::from([0; 4]),
        AF_INET6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let kind = match kind {
        RTN_UNICAST => {
            let (oif, gateway) = way?;
            RouteKind::Out(oif, gateway)
        }
        RTN_UNREACHABLE if get(RTA_PRIORITY).and_then(number) == Some(LAST) => {
            RouteKind::Unreachable
        }
        _ => return None,
    };
    let dst = get(RTA_DST).and_then(ip).unwrap_or(everything);
    (table == RT_TABLE_MAIN).then_some(RouteSeen {
        dst: IpNet::new(dst, length).ok()?,
        kind,
        src: get(RTA_PREFSRC).and_then(ip),
        protocol,
    })
}

/// Reads the answer to a lookup: the link's index and the gateway; none where no packet gets out or in.
pub(super) fn lookup(raw: Raw<'_>) -> Option<Way> {
    match *raw.body.get(7)? {
        RTN_UNICAST | RTN_LOCAL => way(raw.attributes(RTMSG)),
        _ => None,
    }
}

/// Reads the answer to a lookup: whether the address is one of this machine's.
pub(super) fn is_own(raw: Raw<'_>) -> bool {
    raw.body.get(7) == Some(&RTN_LOCAL)
}

/// The link's index and the gateway.
type Way = (u32, Option<IpAddr>);

fn way<'a>(all: impl Iterator<Item = (u16, &'a [u8])> + Clone) -> Option<Way> {
    let oif = value(all.clone(), RTA_OIF).and_then(number)?;
    Some((oif, gateway(all)))
}

/// A gateway of the other family is an address behind that family's number.
fn gateway<'a>(all: impl Iterator<Item = (u16, &'a [u8])> + Clone) -> Option<IpAddr> {
    let gateway = value(all.clone(), RTA_GATEWAY).or_else(|| value(all, RTA_VIA)?.get(2..));
    gateway.and_then(ip)
}

/// The next hops of a route of several: `struct rtnexthop` and attributes, one behind the other.
fn hops_of(mut rest: &[u8]) -> impl Iterator<Item = Way> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let hop = rest.get(..length)?;
        let found = (u32_at(hop, 4)?, gateway(attributes(hop.get(RTNEXTHOP..)?)));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(found)
    })
}

/// Reads `RTM_NEWNEIGH`: the link's index, address and MAC of a permanent entry.
pub(super) fn permanent(raw: Raw<'_>) -> Option<(u32, IpAddr, Mac)> {
    let get = |kind| value(raw.attributes(NDMSG), kind);
    let state = u16::from_ne_bytes(*raw.body.get(8..)?.first_chunk()?);
    let entry = (
        u32_at(raw.body, 4)?,
        get(NDA_DST).and_then(ip)?,
        get(NDA_LLADDR).and_then(mac)?,
    );
    (state & NUD_PERMANENT != 0).then_some(entry)
}

fn value<'a>(mut all: impl Iterator<Item = (u16, &'a [u8])>, kind: u16) -> Option<&'a [u8]> {
    all.find(|(of, _)| *of == kind).map(|(_, value)| value)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    number(bytes.get(at..)?)
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|four| u32::from_ne_bytes(*four))
}

fn text(value: &[u8]) -> Option<String> {
    let bytes = value.strip_suffix(&[0]).unwrap_or(value);
    String::from_utf8(bytes.to_vec()).ok()
}

fn mac(value: &[u8]) -> Option<Mac> {
    value.try_into().ok().map(Mac)
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(value).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(value).ok().map(IpAddr::from);
    v4().or_else(v6)
}
