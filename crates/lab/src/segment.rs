//! A LAN segment: a network namespace with nothing in it but a bridge, as a switch is.
//!
//! It has no address and no packet filter. Nodes are plugged into it by veth pairs.

use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::book::Book;
use crate::namespace;
use crate::place::{Doors, Place};
use crate::wire::{self, Mac, Peer};

/// The bridge in the segment's namespace.
const BRIDGE: &str = "lan0";

/// A switch that nodes are plugged into; a handle, cheap to clone.
#[derive(Debug, Clone)]
pub struct Segment {
    place: Arc<Place>,
}

impl Segment {
    pub(crate) fn new(book: &Arc<Book>, name: &str) -> Result<Self> {
        let network = namespace::apart(name, namespace::new_network)??;
        let doors = Doors {
            network: Arc::new(network),
            mounts: None,
        };
        let place = Place::new(book, name, doors);
        place.attempt(|| {
            bypass_packet_filters()?;
            wire::add_bridge(BRIDGE, wire::mac_of(name))?;
            // The switch itself takes no part in the traffic.
            wire::set_parameter(&format!("ipv6/conf/{BRIDGE}/disable_ipv6"), "1")?;
            wire::set_up(BRIDGE)
        })?;
        Ok(Self { place })
    }

    /// Plugs in a namespace: it gets an interface, down and without address. Returns the port.
    pub fn plug(&self, network: BorrowedFd<'_>, interface: &str, mac: Mac) -> Result<String> {
        let port = format!("port{}", self.place.book()?.next_port());
        let peer = Peer {
            name: interface,
            mac,
            network: network.as_fd(),
        };
        self.place.attempt(|| {
            wire::add_veth(&port, Some(BRIDGE), peer)?;
            wire::set_parameter(&format!("ipv6/conf/{port}/disable_ipv6"), "1")
        })?;
        Ok(port)
    }

    /// Pulls the cable: the interface on the other end vanishes.
    pub fn unplug(&self, port: &str) -> Result<()> {
        self.place.attempt(|| wire::delete_link(port))
    }
}

impl Deref for Segment {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

/// A kernel with br_netfilter passes bridged frames through iptables, which no switch does.
fn bypass_packet_filters() -> Result<()> {
    for family in ["iptables", "ip6tables", "arptables"] {
        let name = format!("bridge/bridge-nf-call-{family}");
        if Path::new("/proc/sys/net").join(&name).exists() {
            wire::set_parameter(&name, "0").context("make the segment a plain switch")?;
        }
    }
    Ok(())
}
