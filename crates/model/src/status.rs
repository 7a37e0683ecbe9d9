//! What the agent reports of its node, and `podwire status` prints.
//!
//! The agent writes it as JSON after each round; it is a report, not a state: nothing is ever decided from it.

use crate::addr::PodRange;
use crate::name::{NetworkName, NodeName};
use crate::reclaim::Leak;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// The report's file in the run folder.
pub const FILE: &str = "status.json";

/// More leaks than this are told by their number only.
pub const MOST_LEAKS: usize = 100;

/// A node's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node.
    pub node: NodeName,
    /// The CNI network.
    pub network: NetworkName,
    /// The node's own pod ranges.
    pub ranges: Vec<PodRange>,
    /// The other nodes and how their pods are reached.
    pub peers: Vec<Peer>,
    /// Version of our nftables table in the kernel; none if it is not there.
    pub table: Option<String>,
    /// Generation of the ruleset when it was last found in order.
    pub generation: u32,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
    /// What pods that have ended have left, as far as it was seen; at most [`MOST_LEAKS`].
    #[serde(default)]
    pub leaks: Vec<Leak>,
    /// How much the agent has reclaimed since its start: records of dead pods, and addresses that no record had.
    #[serde(default)]
    pub reclaimed: u64,
    /// Wall clock of the report, seconds since 1970.
    pub at: u64,
    /// Process id of the agent that wrote it.
    pub pid: u32,
}

impl Status {
    /// Nothing is known of the node yet.
    #[must_use]
    pub fn new(node: NodeName, network: NetworkName, pid: u32) -> Self {
        Self {
            node,
            network,
            ranges: Vec::new(),
            peers: Vec::new(),
            table: None,
            generation: 0,
            findings: Vec::new(),
            leaks: Vec::new(),
            reclaimed: 0,
            at: 0,
            pid,
        }
    }
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: NodeName,
    /// The way to each of its ranges.
    pub ways: Vec<Way>,
}

/// The way to one range of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The range.
    pub range: PodRange,
    /// The path that packets take.
    pub path: Path,
}

/// A path to another node's pods. A tunnel takes its place here when there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// Straight to the node's address, which is on the link.
    Direct {
        /// The node's address.
        via: IpAddr,
        /// The link.
        dev: String,
    },
    /// There is none; the reason stands among the findings.
    None,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct { via, dev } => write!(f, "direct via {via} dev {dev}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// Something that is wrong: what, why it matters, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was found.
    pub what: String,
    /// What to do about it; a command where there is one.
    pub hint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.hint)
    }
}
