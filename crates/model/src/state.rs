//! A node as it was observed: the half of every comparison that comes from the kernel.
//!
//! `host` fills it, `plan` compares it with what should be. Only what Podwire decides about is here: its own objects, and
//! of other people's only what stands in the way of pods.

use crate::addr::{Mac, PodRange};
use crate::attachment::Attachment;
use crate::firewall::{ForeignChain, TableState};
use crate::name::IfName;
use crate::net::{Address, Route};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use ipnet::IpNet;

/// What was seen of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostState {
    /// Values of the sysctls that were asked for, by path below `/proc/sys/net`; one that the kernel lacks is absent.
    pub sysctls: BTreeMap<String, String>,
    /// The links by name, without the pods' veths.
    pub links: BTreeMap<IfName, LinkState>,
    /// Addresses on those links.
    pub addresses: BTreeSet<Address>,
    /// Routes of Podwire's protocol, without those of single pods.
    pub routes: BTreeSet<Route>,
    /// Links with a route that a router advertised; asked for before IPv6 is forwarded.
    pub advertised: BTreeSet<IfName>,
    /// Our table, if it is there.
    pub table: Option<TableState>,
    /// Other programs' base chains on forward and input.
    pub foreign: Vec<ForeignChain>,
    /// How the kernel would reach the addresses that were asked for; one without a route is absent.
    pub lookups: BTreeMap<IpAddr, Lookup>,
    /// The conflist that the runtime reads, if there is one of ours.
    pub conflist: Option<String>,
    /// The ruleset's generation when the tables were read.
    pub generation: u32,
    /// Ranges that attachments on this node hold addresses of.
    pub inhabited: BTreeSet<PodRange>,
    /// Those of them that hold pods of the cluster's network.
    pub peopled: BTreeSet<PodRange>,
    /// Bridges that attachments on this node are ports of.
    pub bridges: BTreeSet<IfName>,
    /// Ranges of pods on bridges that are not the cluster's.
    pub shared: BTreeSet<IpNet>,
    /// Attachments on this node that have host ports.
    pub publishing: Vec<Attachment>,
}

/// A link as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Its index.
    pub index: u32,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it is a bridge.
    pub bridge: bool,
    /// Its MAC, if it has one.
    pub mac: Option<Mac>,
    /// Index of the bridge that it is a port of.
    pub master: Option<u32>,
}

/// The kernel's answer to "how would you reach this address?"
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Through which link.
    pub dev: IfName,
    /// By way of which gateway; none if the address is on the link.
    pub gateway: Option<IpAddr>,
}

/// One end of a pod's link as it was found, with what hangs on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Whether it is set up.
    pub up: bool,
    /// Its alias; empty if it has none.
    pub alias: String,
    /// The bridge that it is a port of.
    pub bridge: Option<IfName>,
    /// Its addresses.
    pub addresses: BTreeSet<IpNet>,
    /// Routes of the main table out of it.
    pub routes: BTreeSet<Route>,
    /// Its permanent neighbour entries.
    pub neighbours: BTreeMap<IpAddr, Mac>,
}
