//! From a change to its rtnetlink messages.
//!
//! Follows rtnetlink(7) and what ip(8) sends. Links are named by name, which spares the index; addresses, routes and
//! neighbours need the index of a link that exists already.

use super::{Links, qdisc};
use crate::Error;
use model::addr::{Family, Mac};
use model::change::Change;
use model::name::IfName;
use model::net::{Address, Link, LinkKind, Metrics, Neighbour, Peer, Port, Route, Target};
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

const IFLA_IFALIAS: u16 = 20;
/// Route protocol of all of Podwire's routes.
pub(super) const PROTOCOL: u8 = 112;
/// Metric of unreachable routes: behind every other route for the same destination.
pub(super) const LAST: u32 = u32::MAX;

const ADD: u16 = NLM_F_CREATE | NLM_F_EXCL;
const PUT: u16 = NLM_F_CREATE | NLM_F_REPLACE;
/// A route to where another one leads already: before that one in IPv4, another next hop of it in IPv6.
const BESIDE: u16 = NLM_F_CREATE;

/// Why a change has no messages.
pub(super) enum Refusal {
    /// A link that it names is not there.
    NoLink(Errno),
    /// Another link has the name.
    Taken,
    /// It is no change for this socket, or for this call.
    Wrong(&'static str),
}

impl Refusal {
    pub(super) fn of(self, change: &Change) -> Error {
        match self {
            Self::NoLink(errno) => Error::new(change.to_string(), errno),
            Self::Taken => Error::new(change.to_string(), Errno::EXIST),
            Self::Wrong(reason) => Error::because(change.to_string(), reason),
        }
    }
}

type Messages = Vec<(RouteNetlinkMessage, u16)>;

/// The messages of `change` with their flags.
pub(super) fn messages(
    change: &Change,
    links: &mut Links<'_>,
    pod: Option<BorrowedFd<'_>>,
) -> Result<Messages, Refusal> {
    use RouteNetlinkMessage as M;
    Ok(match change {
        Change::AddLink(link) => return add_link(link, links, pod),
        Change::SetUp(name) => vec![(M::NewLink(up(named(name))), 0)],
        Change::SetPromiscuous(name) => vec![(M::NewLink(promiscuous(named(name))), 0)],
        Change::SetMac(name, mac) => vec![(M::NewLink(addressed(named(name), *mac)), 0)],
        Change::SetDown(name) => vec![(M::NewLink(down(named(name))), 0)],
        Change::RemoveLink(name) => vec![(M::DelLink(named(name)), 0)],
        Change::AddAddress(a) => vec![(M::NewAddress(address(a, links)?), ADD)],
        Change::AskAddress(a) => {
            let mut message = address(a, links)?;
            message.header.flags = AddressHeaderFlags::empty();
            vec![(M::NewAddress(message), ADD)]
        }
        Change::RemoveAddress(a) => vec![(M::DelAddress(address(a, links)?), 0)],
        Change::AddRoute(r) => vec![(M::NewRoute(route(r, links)?), ADD)],
        Change::AddRouteWith(r, metrics) => {
            vec![(M::NewRoute(measured(route(r, links)?, *metrics)), BESIDE)]
        }
        Change::ReplaceRoute(r) => vec![(M::NewRoute(route(r, links)?), PUT)],
        Change::RemoveRoute(r) => vec![(M::DelRoute(route(r, links)?), 0)],
        Change::AddNeighbour(n) => vec![(M::NewNeighbour(permanent(n, links)?), PUT)],
        Change::AdmitStation(mac, dev) => vec![(M::NewNeighbour(station(*mac, dev, links)?), PUT)],
        Change::RemoveNeighbour(n) => vec![(M::DelNeighbour(neighbour(n, links)?), 0)],
        Change::PutQdisc(q) => {
            vec![(M::NewQueueDiscipline(qdisc::put(q, links)?), PUT)]
        }
        Change::SetSysctl(_)
        | Change::PutTable(_)
        | Change::RemoveTable
        | Change::AddElements(..)
        | Change::RemoveElements(..)
        | Change::InsertRule(..)
        | Change::RemoveRule(..)
        | Change::ForgetFlows(_)
        | Change::WriteConflist(_)
        | Change::RemoveFile(_)
        | Change::RemoveFolder(_) => {
            return Err(Refusal::Wrong("this is no change of rtnetlink's"));
        }
    })
}

/// The link whose index a change needs.
pub(super) fn needs(change: &Change) -> Option<&IfName> {
    match change {
        Change::AddLink(link) => match &link.kind {
            LinkKind::Veth { port, .. } => port.as_ref().map(|port| &port.bridge),
            LinkKind::Bridge => None,
        },
        Change::AddAddress(a) | Change::AskAddress(a) | Change::RemoveAddress(a) => Some(&a.dev),
        Change::AdmitStation(_, dev) => Some(dev),
        Change::AddRoute(r)
        | Change::AddRouteWith(r, _)
        | Change::ReplaceRoute(r)
        | Change::RemoveRoute(r) => match &r.target {
            Target::Dev(dev) | Target::Via(_, dev) => Some(dev),
            Target::Unreachable => None,
        },
        Change::AddNeighbour(n) | Change::RemoveNeighbour(n) => Some(&n.dev),
        Change::PutQdisc(q) => Some(&q.dev),
        Change::SetUp(_)
        | Change::SetPromiscuous(_)
        | Change::SetMac(..)
        | Change::SetDown(_)
        | Change::RemoveLink(_)
        | Change::SetSysctl(_)
        | Change::PutTable(_)
        | Change::RemoveTable
        | Change::AddElements(..)
        | Change::RemoveElements(..)
        | Change::InsertRule(..)
        | Change::RemoveRule(..)
        | Change::ForgetFlows(_)
        | Change::WriteConflist(_)
        | Change::RemoveFile(_)
        | Change::RemoveFolder(_) => None,
    }
}

fn add_link(
    link: &Link,
    links: &mut Links<'_>,
    pod: Option<BorrowedFd<'_>>,
) -> Result<Messages, Refusal> {
    let mut birth = up(named(&link.name));
    birth.attributes.extend(about(link.mac, link.mtu));
    let mut more = Vec::new();
    let info = match &link.kind {
        LinkKind::Bridge => vec![LinkInfo::Kind(InfoKind::Bridge)],
        LinkKind::Veth { peer, alias, port } => {
            // Refused here and not by the kernel: the messages behind the birth would go to the link that has the name.
            match links.index(&link.name) {
                Ok(_) => return Err(Refusal::Taken),
                Err(Refusal::NoLink(Errno::NODEV)) => {}
                Err(unknown) => return Err(unknown),
            }
            let pod = pod.ok_or(Refusal::Wrong(
                "no network namespace for the peer was given",
            ))?;
            if let Some(port) = port {
                let bridge = links.index(&port.bridge)?;
                birth.attributes.push(LinkAttribute::Controller(bridge));
            }
            more.push(second(&link.name, alias, port.as_ref()));
            more.push(without_own_ipv6(&link.name));
            let peer = InfoVeth::Peer(in_pod(peer, link.mtu, pod));
            vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(peer)),
            ]
        }
    };
    birth.attributes.push(LinkAttribute::LinkInfo(info));
    let mut messages = vec![(RouteNetlinkMessage::NewLink(birth), ADD)];
    messages.extend(
        more.into_iter()
            .map(|m| (RouteNetlinkMessage::NewLink(m), 0)),
    );
    Ok(messages)
}

pub(super) fn named(name: &IfName) -> LinkMessage {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::IfName(name.as_str().to_owned()));
    message
}

fn up(mut message: LinkMessage) -> LinkMessage {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

fn down(mut message: LinkMessage) -> LinkMessage {
    message.header.change_mask = LinkFlags::Up;
    message
}

fn about(mac: Mac, mtu: Option<u32>) -> impl Iterator<Item = LinkAttribute> {
    [LinkAttribute::Address(mac.0.to_vec())]
        .into_iter()
        .chain(mtu.map(LinkAttribute::Mtu))
}

fn addressed(mut message: LinkMessage, mac: Mac) -> LinkMessage {
    message.attributes.extend(about(mac, None));
    message
}

fn promiscuous(mut message: LinkMessage) -> LinkMessage {
    message.header.flags = LinkFlags::Promisc;
    message.header.change_mask = LinkFlags::Promisc;
    message
}

/// The peer cannot be born up: its other end is not there yet, and the kernel says ENOTCONN.
fn in_pod(peer: &Peer, mtu: Option<u32>, pod: BorrowedFd<'_>) -> LinkMessage {
    let mut message = named(&peer.name);
    message.attributes.extend(about(peer.mac, mtu));
    message
        .attributes
        .push(LinkAttribute::NetNsFd(pod.as_raw_fd()));
    message
}

/// What the kernel ignores at birth: the alias, and what a bridge's port is.
fn second(name: &IfName, alias: &str, port: Option<&Port>) -> LinkMessage {
    let mut message = named(name);
    // Without the terminator that the crate would add: the kernel takes 255 bytes with whatever is among them.
    let alias = DefaultNla::new(IFLA_IFALIAS, alias.as_bytes().to_vec());
    message.attributes.push(LinkAttribute::Other(alias));
    if let Some(port) = port {
        // What is not asked for is not sent: older kernels do not know all of it.
        let mut about = vec![InfoBridgePort::HairpinMode(port.hairpin)];
        about.extend(port.isolated.then_some(InfoBridgePort::Isolated(true)));
        if port.locked {
            about.push(InfoBridgePort::Learning(false));
            about.push(InfoBridgePort::Locked(true));
        }
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(about)),
        ]));
    }
    message
}

/// The host end has no address, not even a link-local one. The kernel would make one when the link has a carrier, which
/// the host end gets only when the peer is set up. A message of its own, because all of it fails where there is no IPv6.
fn without_own_ipv6(name: &IfName) -> LinkMessage {
    let mut message = named(name);
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    message
        .attributes
        .push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(
            vec![mode],
        )]));
    message
}

fn address(address: &Address, links: &mut Links<'_>) -> Result<AddressMessage, Refusal> {
    let ip = address.net.addr();
    let mut message = AddressMessage::default();
    message.header.family = family(Family::of(ip));
    message.header.prefix_len = address.net.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.header.index = links.index(&address.dev)?;
    if ip.is_ipv6() {
        // Otherwise the address cannot be used for a second, while the kernel asks whether somebody else has it.
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    Ok(message)
}

fn route(route: &Route, links: &mut Links<'_>) -> Result<RouteMessage, Refusal> {
    let mut message = RouteMessage::default();
    let of = Family::of(route.dst.addr());
    message.header.address_family = family(of);
    message.header.destination_prefix_length = route.dst.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    let mut attributes = vec![RouteAttribute::Destination(route.dst.network().into())];
    match &route.target {
        Target::Dev(dev) => {
            if of == Family::V4 {
                message.header.scope = RouteScope::Link;
            }
            attributes.push(RouteAttribute::Oif(links.index(dev)?));
        }
        Target::Via(gateway, dev) => {
            message.header.flags = RouteFlags::Onlink;
            attributes.push(match (of, *gateway) {
                // Not RTA_GATEWAY: of that the kernel would read the first four bytes.
                (Family::V4, IpAddr::V6(ip)) => RouteAttribute::Via(RouteVia::Inet6(ip)),
                (_, ip) => RouteAttribute::Gateway(ip.into()),
            });
            attributes.push(RouteAttribute::Oif(links.index(dev)?));
        }
        Target::Unreachable => {
            message.header.kind = RouteType::Unreachable;
            attributes.push(RouteAttribute::Priority(LAST));
        }
    }
    if let Some(src) = route.src {
        attributes.push(RouteAttribute::PrefSource(src.into()));
    }
    message.attributes = attributes;
    Ok(message)
}

fn measured(mut message: RouteMessage, metrics: Metrics) -> RouteMessage {
    let mut of_link = Vec::new();
    of_link.extend(metrics.mtu.map(RouteMetric::Mtu));
    of_link.extend(metrics.advmss.map(RouteMetric::Advmss));
    if !of_link.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(of_link));
    }
    if let Some(priority) = metrics.priority {
        message.attributes.push(RouteAttribute::Priority(priority));
    }
    if let Some(table) = metrics.table {
        message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        message.attributes.push(RouteAttribute::Table(table));
    }
    if let Some(scope) = metrics.scope {
        message.header.scope = RouteScope::from(scope);
    }
    message
}

/// An entry of the bridge's own table, for the port alone.
fn station(mac: Mac, dev: &IfName, links: &mut Links<'_>) -> Result<NeighbourMessage, Refusal> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = links.index(dev)?;
    message.header.state = NeighbourState::Noarp;
    message.header.flags = NeighbourFlags::Controller;
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    Ok(message)
}

fn permanent(entry: &Neighbour, links: &mut Links<'_>) -> Result<NeighbourMessage, Refusal> {
    let mut message = neighbour(entry, links)?;
    message.header.state = NeighbourState::Permanent;
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(entry.mac.0.to_vec()));
    Ok(message)
}

fn neighbour(entry: &Neighbour, links: &mut Links<'_>) -> Result<NeighbourMessage, Refusal> {
    let mut message = NeighbourMessage::default();
    message.header.family = family(Family::of(entry.ip));
    message.header.ifindex = links.index(&entry.dev)?;
    message
        .attributes
        .push(NeighbourAttribute::Destination(entry.ip.into()));
    Ok(message)
}

fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}
