//! The walk of the hand-made demo: two nodes, two pods on each, one host outside, five targets.
//!
//! What the demo and the scenarios share: the nodes in the state in which the demo's reader found them, the pods' wiring by
//! hand and by the real plugin, an agent on each node, and the probes from a pod on each node to everything that it should
//! reach. What must come out of it is told in [`Round::faults`]. Nothing of the network under test is used but its
//! programs.

mod agent;
mod hand;
mod round;
mod site;
mod text;

use std::net::IpAddr;

pub use agent::{Agent, NODES, NODES_FILE, STATUS_FILE};
pub use hand::Wires;
pub use round::{Connection, Moment, Round, Target, word};
pub use site::{CONF_FOLDER, Side, Site, conflist, runtime_config};
pub use text::columns;

/// How the pods are wired by the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The demo's own `bash-cni` files: a bridge, IPv4.
    Bridge,
    /// The agent's conflist: type `podwire`, routed, both families.
    Routed,
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The addresses of the pods: by node, then by pod, then one of each family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(pub [[Vec<IpAddr>; 2]; 2]);

impl Mode {
    /// The families in which pods have addresses.
    pub fn families(self) -> &'static [Family] {
        match self {
            Self::Bridge => &[Family::V4],
            Self::Routed => &[Family::V4, Family::V6],
        }
    }
}

impl Family {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The first address of this family.
    pub fn among(self, addresses: &[IpAddr]) -> Option<IpAddr> {
        let wanted = |address: &&IpAddr| address.is_ipv4() == (self == Self::V4);
        addresses.iter().find(wanted).copied()
    }
}

impl Addresses {
    /// The address of one pod.
    pub fn of(&self, side: usize, pod: usize, family: Family) -> anyhow::Result<IpAddr> {
        let address = self.0.get(side).and_then(|pods| pods.get(pod));
        address
            .and_then(|addresses| family.among(addresses))
            .ok_or_else(|| anyhow::anyhow!("pod {pod} of node {side} has no {}", family.name()))
    }
}
