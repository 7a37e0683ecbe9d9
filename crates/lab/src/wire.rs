//! The little rtnetlink that the environment needs: bridges, veth pairs, addresses, routes.
//!
//! Every function acts on the network namespace of the calling thread: call it inside
//! [`Place::run`](crate::Place::run). It is written apart from the network under test on purpose,
//! so that a mistake in one cannot hide in the other. Documents: rtnetlink(7), veth(4).

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::net::{AddressFamily as SocketFamily, SocketType};

use crate::netlink::exchange;
use crate::process::wait_readable;

/// A MAC address.
pub type Mac = [u8; 6];

/// The far end of a veth pair, born in another network namespace.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// Its name there.
    pub name: &'a str,
    /// Its MAC address.
    pub mac: Mac,
    /// The namespace.
    pub network: BorrowedFd<'a>,
}

/// Adds a bridge.
pub fn add_bridge(name: &str, mac: Mac) -> Result<()> {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    create(
        format!("add bridge {name}"),
        RouteNetlinkMessage::NewLink(link),
    )
}

/// Adds a veth pair: this end up and, if asked for, in a bridge; the other one named and down.
pub fn add_veth(name: &str, bridge: Option<&str>, peer: Peer<'_>) -> Result<()> {
    let mut far = LinkMessage::default();
    far.attributes = vec![
        LinkAttribute::IfName(peer.name.to_owned()),
        LinkAttribute::Address(peer.mac.to_vec()),
        LinkAttribute::NetNsFd(peer.network.as_raw_fd()),
    ];
    let mut near = LinkMessage::default();
    near.header.flags = LinkFlags::Up;
    near.header.change_mask = LinkFlags::Up;
    near.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far))),
        ]),
    ];
    if let Some(bridge) = bridge {
        let index = index(bridge)?;
        near.attributes.push(LinkAttribute::Controller(index));
    }
    create(
        format!("add veth {name} with peer {}", peer.name),
        RouteNetlinkMessage::NewLink(near),
    )
}

/// Sets a link up.
pub fn set_up(name: &str) -> Result<()> {
    set_flags(name, LinkFlags::Up, "up")
}

/// Sets a link down.
pub fn set_down(name: &str) -> Result<()> {
    set_flags(name, LinkFlags::empty(), "down")
}

/// Deletes a link, and with it its peer.
pub fn delete_link(name: &str) -> Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index(name)?;
    change(
        format!("delete link {name}"),
        RouteNetlinkMessage::DelLink(link),
    )
}

/// Tells whether a link of this name exists.
pub fn exists(name: &str) -> bool {
    index(name).is_ok()
}

/// Waits until no link of this name exists: a veth end vanishes with the namespace of the other.
pub fn wait_until_gone(name: &str, within: Duration) -> Result<()> {
    /// `RTNLGRP_LINK`.
    const LINK_EVENTS: u32 = 1;
    const MSG_DONTWAIT: i32 = 0x40;
    let deadline = Instant::now() + within;
    let mut socket = Socket::new(NETLINK_ROUTE).context("open a netlink socket")?;
    // Without a port of its own a socket gets no events.
    socket.bind_auto().context("bind a netlink socket")?;
    socket
        .add_membership(LINK_EVENTS)
        .context("listen to link events")?;
    while exists(name) {
        ensure!(
            wait_readable(&socket, deadline)?,
            "link {name} is still there after {within:?}"
        );
        // What the event says does not matter, and neither does that some were lost.
        let mut event = Vec::with_capacity(32 << 10);
        drop(socket.recv(&mut event, MSG_DONTWAIT));
    }
    Ok(())
}

/// Adds an address, IPv6 ones without duplicate address detection, so that it serves at once.
pub fn add_address(link: &str, address: IpNet) -> Result<()> {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = index(link)?;
    if address.addr().is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes = vec![
        AddressAttribute::Address(address.addr()),
        AddressAttribute::Local(address.addr()),
    ];
    create(
        format!("add address {address} to {link}"),
        RouteNetlinkMessage::NewAddress(message),
    )
}

/// Adds a static route over a gateway; `0.0.0.0/0` and `::/0` are the default routes.
pub fn add_route(destination: IpNet, gateway: IpAddr) -> Result<()> {
    create(
        format!("add route {destination} via {gateway}"),
        RouteNetlinkMessage::NewRoute(route(destination, gateway)),
    )
}

/// Deletes a route that [`add_route`] made.
pub fn delete_route(destination: IpNet, gateway: IpAddr) -> Result<()> {
    change(
        format!("delete route {destination} via {gateway}"),
        RouteNetlinkMessage::DelRoute(route(destination, gateway)),
    )
}

/// Writes one kernel parameter below `/proc/sys/net`, such as `ipv4/ip_forward`.
pub fn set_parameter(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys/net").join(name);
    std::fs::write(&path, value).with_context(|| format!("write {value} to {}", path.display()))
}

/// A locally administered MAC address that is a function of the text (FNV-1a).
pub fn mac_of(text: &str) -> Mac {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [_, _, a, b, c, d, e, _] = hash.to_be_bytes();
    [0x02, a, b, c, d, e]
}

fn route(destination: IpNet, gateway: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Gateway(RouteAddress::from(gateway))];
    if destination.prefix_len() > 0 {
        message
            .attributes
            .push(RouteAttribute::Destination(destination.network().into()));
    }
    message
}

fn set_flags(name: &str, flags: LinkFlags, word: &str) -> Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index(name)?;
    link.header.flags = flags;
    link.header.change_mask = LinkFlags::Up;
    change(
        format!("set {name} {word}"),
        RouteNetlinkMessage::SetLink(link),
    )
}

fn create(what: String, message: RouteNetlinkMessage) -> Result<()> {
    request(what, message, NLM_F_CREATE | NLM_F_EXCL)
}

fn change(what: String, message: RouteNetlinkMessage) -> Result<()> {
    request(what, message, 0)
}

fn request(what: String, message: RouteNetlinkMessage, flags: u16) -> Result<()> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    exchange(NETLINK_ROUTE, vec![(what, message)])
}

fn index(name: &str) -> Result<u32> {
    let socket = rustix::net::socket(SocketFamily::INET, SocketType::DGRAM, None)
        .context("open a socket to look up a link")?;
    rustix::net::netdevice::name_to_index(&socket, name)
        .with_context(|| format!("look up link {name}"))
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
