//! A Node as the API server sends it, and what is kept of it.
//!
//! Written by hand: of the tens of kilobytes that a Node has, a name, some ranges and some addresses are kept, and the rest is
//! skipped while it is read. Reference: Kubernetes API, core/v1 Node.

use super::known::Said;
use crate::source::is_node_address;
use model::addr::PodRange;
use model::name::NodeName;
use serde::Deserialize;
use std::net::IpAddr;

/// The condition by which a node says that its network is not there.
pub(super) const CONDITION: &str = "NetworkUnavailable";

/// Its reasons in our words.
pub(super) const UP: &str = "PodwireIsUp";
pub(super) const DOWN: &str = "PodwireIsDown";

const INTERNAL: &str = "InternalIP";

/// The fields of a Node that are read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: State,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    creation_timestamp: Option<String>,
    #[serde(default)]
    resource_version: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Spec {
    #[serde(default, rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
    /// From before there were two families; the first of the list otherwise.
    #[serde(default, rename = "podCIDR")]
    pod_cidr: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct State {
    #[serde(default)]
    addresses: Option<Vec<Address>>,
    #[serde(default)]
    conditions: Option<Vec<Condition>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: Option<String>,
}

/// One page of a list of Nodes.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    /// Where in the list it is.
    pub(super) metadata: PageMetadata,
    /// The Nodes; Go writes no list as null.
    #[serde(default)]
    pub(super) items: Option<Vec<Object>>,
}

/// Where a page is in its list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMetadata {
    /// The state of the cluster that the list is of.
    pub(super) resource_version: String,
    /// What to ask for the next page with; empty on the last one.
    #[serde(default, rename = "continue")]
    pub(super) rest: Option<String>,
}

/// What is kept of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// When it was made, in the API server's words: they sort as the times do.
    pub(super) created: String,
    /// Its pod ranges in the API's order: the first one's family is the cluster's first.
    pub(super) ranges: Vec<PodRange>,
    /// Its addresses between nodes.
    pub(super) addresses: Vec<IpAddr>,
    /// What could not be used of it.
    pub(super) wrong: Vec<String>,
}

impl Object {
    /// The node's name, if it can be one of a node.
    pub(super) fn name(&self) -> Result<NodeName, String> {
        let name = &self.metadata.name;
        NodeName::new(name).map_err(|error| format!("node name {name:?}: {error}"))
    }

    /// The state of the cluster that it is of.
    pub(super) fn version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }

    /// What is kept of it.
    pub(super) fn seen(&self) -> Seen {
        let mut seen = Seen {
            created: self.metadata.creation_timestamp.clone().unwrap_or_default(),
            ..Seen::default()
        };
        let listed = self.spec.pod_cidrs.iter().flatten();
        let single = self.spec.pod_cidr.iter();
        let single = single.filter(|_| self.spec.pod_cidrs.as_ref().is_none_or(Vec::is_empty));
        for text in listed.chain(single) {
            match PodRange::parse(text) {
                Ok(range) => seen.ranges.push(range),
                Err(error) => seen.wrong.push(format!("podCIDR {error}")),
            }
        }
        let addresses = self.status.addresses.iter().flatten();
        for address in addresses.filter(|address| address.kind == INTERNAL) {
            match address.address.parse() {
                Ok(ip) if is_node_address(ip) => seen.addresses.push(ip),
                _ => seen
                    .wrong
                    .push(format!("{INTERNAL} {:?} leads to no node", address.address)),
            }
        }
        seen
    }

    /// What its condition [`CONDITION`] says.
    pub(super) fn said(&self) -> Said {
        let mut conditions = self.status.conditions.iter().flatten();
        let condition = conditions.find(|condition| condition.kind == CONDITION);
        match condition {
            Some(condition) => Said::Condition {
                unavailable: condition.status != "False",
                ours: matches!(condition.reason.as_deref(), Some(UP | DOWN)),
            },
            None => Said::Nothing,
        }
    }
}
