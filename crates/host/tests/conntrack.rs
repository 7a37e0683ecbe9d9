//! Flows are forgotten exactly: those of one port, and nobody else's.
//!
//! The peers are sockets of this thread in a fresh network namespace; an nftables rule makes the kernel track flows.

use crate::place::{address, bridge, name, node};
use host::conntrack::Conntrack;
use host::nft::Nft;
use host::rtnl::Rtnl;
use model::addr::Family;
use model::change::Change;
use model::ports::Flows;
use std::net::UdpSocket;
use std::process::Command;

/// A node with two addresses of each family, one of which a Service has, that leads port 5300 to port 53.
fn tracking() -> (Rtnl, Nft, Conntrack) {
    let mut rtnl = node();
    let made = [
        Change::SetUp(name("lo")),
        bridge("br0"),
        Change::AddAddress(address("192.0.2.1/24", "br0")),
        Change::AddAddress(address("192.0.2.9/24", "br0")),
        Change::AddAddress(address("2001:db8::1/64", "br0")),
    ];
    rtnl.apply(&made, None).ok().unwrap();
    let script = "table inet podwire {
        set services4 { type ipv4_addr; elements = { 192.0.2.9 }; }
        set services6 { type ipv6_addr; }
        chain out { type nat hook output priority -100; udp dport 5300 redirect to :53; }; }";
    let loaded = Command::new("nft").arg(script).status();
    assert!(loaded.expect("apt-get install nftables").success());
    (rtnl, Nft::open().unwrap(), Conntrack::open().unwrap())
}

/// Begins a flow of UDP that nobody answers.
fn begin(to: &str) -> UdpSocket {
    let from = if to.starts_with('[') {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = UdpSocket::bind(from).unwrap();
    socket.send_to(b"?", to).unwrap();
    socket
}

fn nowhere(family: Family, at: Option<&str>, port: u16) -> Flows {
    Flows {
        family,
        at: at.map(|at| at.parse().unwrap()),
        port,
        led: None,
    }
}

#[test]
fn flows_to_the_node_that_lead_nowhere_are_forgotten_and_a_services_are_not() {
    let (mut rtnl, mut nft, mut conntrack) = tracking();
    let peers = [
        "192.0.2.1:53",
        "192.0.2.1:53",
        "127.0.0.1:53",
        "192.0.2.1:54",
        // A Service's, and one that is not for this node.
        "192.0.2.9:53",
        "192.0.2.77:53",
        "[2001:db8::1]:53",
    ];
    let _peers = peers.map(begin);
    let mut forget = |flows: Flows| conntrack.forget(&[flows], &mut rtnl, &mut nft).unwrap();
    assert_eq!(forget(nowhere(Family::V4, Some("192.0.2.77"), 53)), 0);
    assert_eq!(forget(nowhere(Family::V4, Some("127.0.0.1"), 53)), 1);
    assert_eq!(forget(nowhere(Family::V4, None, 53)), 2);
    assert_eq!(forget(nowhere(Family::V4, None, 53)), 0);
    assert_eq!(forget(nowhere(Family::V6, None, 53)), 1);
    assert_eq!(forget(nowhere(Family::V4, None, 54)), 1);
}

#[test]
fn flows_that_are_led_are_forgotten_by_where_they_lead_to() {
    let (mut rtnl, mut nft, mut conntrack) = tracking();
    let _peer = begin("192.0.2.1:5300");
    let led = |to: &str| Flows {
        led: Some(to.parse().unwrap()),
        ..nowhere(Family::V4, None, 5300)
    };
    let mut forget = |flows: Flows| conntrack.forget(&[flows], &mut rtnl, &mut nft).unwrap();
    assert_eq!(forget(nowhere(Family::V4, None, 5300)), 0);
    assert_eq!(forget(led("127.0.0.1:54")), 0);
    assert_eq!(forget(led("127.0.0.1:53")), 1);
    assert_eq!(forget(led("127.0.0.1:53")), 0);
}

#[test]
fn flows_of_several_ports_and_families_are_forgotten_together() {
    let (mut rtnl, mut nft, mut conntrack) = tracking();
    let peers = [
        "192.0.2.1:53",
        "192.0.2.1:54",
        "192.0.2.1:55",
        "[2001:db8::1]:54",
    ];
    let _peers = peers.map(begin);
    let flows = [
        nowhere(Family::V4, None, 53),
        nowhere(Family::V6, None, 54),
        nowhere(Family::V4, None, 54),
    ];
    let mut forget = |flows: &[Flows]| conntrack.forget(flows, &mut rtnl, &mut nft).unwrap();
    assert_eq!((forget(&flows), forget(&flows), forget(&[])), (3, 0, 0));
    assert_eq!(forget(&[nowhere(Family::V4, None, 55)]), 1);
}
