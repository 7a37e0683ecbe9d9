//! The cluster: nodes, their addresses and their pod ranges, whatever source they come from.
//!
//! A file and the Kubernetes API deliver the same value; below this point nothing knows the difference.

use crate::addr::{Family, PodRange};
use crate::name::{NetworkName, NodeName};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::IpAddr;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// All nodes, and the prefixes that hold all pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Name of the CNI network.
    pub network: NetworkName,
    /// Prefixes that all pod ranges lie in; may be empty, then the ranges themselves are all there is.
    pub prefixes: Vec<IpNet>,
    /// The nodes by name.
    pub nodes: BTreeMap<NodeName, Node>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its addresses on the network between the nodes.
    pub addresses: Vec<IpAddr>,
    /// The ranges that its pods get addresses from.
    pub ranges: Vec<PodRange>,
}

impl Node {
    /// Its first address of a family.
    #[must_use]
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses
            .iter()
            .copied()
            .find(|ip| Family::of(*ip) == family)
    }
}

/// What is wrong between the nodes of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Two ranges share addresses.
    #[error("range {0} of node {1} overlaps range {2} of node {3}")]
    Overlap(PodRange, NodeName, PodRange, NodeName),
    /// Two nodes have one address.
    #[error("address {0} belongs to node {1} and to node {2}")]
    SharedAddress(IpAddr, NodeName, NodeName),
    /// A range lies in none of the cluster's prefixes.
    #[error("range {0} of node {1} lies outside of the cluster's network")]
    Outside(PodRange, NodeName),
    /// A node's address lies in somebody's pod range.
    #[error("address {0} of node {1} lies in range {2} of node {3}")]
    AddressInRange(IpAddr, NodeName, PodRange, NodeName),
    /// A node has no range.
    #[error("node {0} has no range")]
    NoRange(NodeName),
    /// A node has no address.
    #[error("node {0} has no address")]
    NoAddress(NodeName),
}

impl Fault {
    /// The node at which the fault is reported: the later one of two.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        match self {
            Self::Overlap(_, _, _, node) | Self::SharedAddress(_, _, node) => node,
            Self::AddressInRange(_, node, ..) | Self::Outside(_, node) => node,
            Self::NoRange(node) | Self::NoAddress(node) => node,
        }
    }
}

impl Cluster {
    /// Everything that is wrong between the nodes, at once.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let nodes: Vec<(&NodeName, &Node)> = self.nodes.iter().collect();
        let meetings = self.meetings();
        let mut faults = Vec::new();
        for (i, (name, node)) in nodes.iter().enumerate() {
            self.alone(name, node, &mut faults);
            let others = meetings.range((i, 0)..(i + 1, 0)).map(|(_, j)| *j);
            for (j, (other_name, other)) in others.filter_map(|j| Some((j, nodes.get(j)?))) {
                if j < i {
                    pair(other_name, other, name, node, &mut faults);
                }
                within(name, node, other_name, other, &mut faults);
            }
        }
        faults
    }

    /// Nodes, by their places, of which one's range or address lies in another's, both ways round. Of two ranges that meet,
    /// one holds the other; so in their order, an outer one first, those that hold an address are those still open.
    fn meetings(&self) -> BTreeSet<(usize, usize)> {
        let mut spans: Vec<(IpAddr, Reverse<IpAddr>, usize)> = Vec::new();
        for (place, node) in self.nodes.values().enumerate() {
            let ranges = node.ranges.iter().map(PodRange::net);
            spans.extend(ranges.map(|net| (net.network(), Reverse(net.broadcast()), place)));
            spans.extend(node.addresses.iter().map(|ip| (*ip, Reverse(*ip), place)));
        }
        spans.sort_unstable();
        let mut meetings = BTreeSet::new();
        let mut open: Vec<(IpAddr, usize)> = Vec::new();
        for (first, Reverse(last), place) in spans {
            open.retain(|(end, _)| *end >= first);
            let met = open
                .iter()
                .flat_map(|(_, other)| [(*other, place), (place, *other)]);
            meetings.extend(met);
            open.push((last, place));
        }
        meetings
    }

    fn alone(&self, name: &NodeName, node: &Node, faults: &mut Vec<Fault>) {
        if node.ranges.is_empty() {
            faults.push(Fault::NoRange(name.clone()));
        }
        if node.addresses.is_empty() {
            faults.push(Fault::NoAddress(name.clone()));
        }
        for (i, range) in node.ranges.iter().enumerate() {
            if !self.prefixes.is_empty() && !self.prefixes.iter().any(|p| p.contains(&range.net()))
            {
                faults.push(Fault::Outside(*range, name.clone()));
            }
            for earlier in node.ranges.iter().take(i).filter(|r| overlap(r, range)) {
                faults.push(Fault::Overlap(*earlier, name.clone(), *range, name.clone()));
            }
        }
    }
}

fn pair(
    name: &NodeName,
    node: &Node,
    later_name: &NodeName,
    later: &Node,
    faults: &mut Vec<Fault>,
) {
    for range in &later.ranges {
        for other in node.ranges.iter().filter(|r| overlap(r, range)) {
            faults.push(Fault::Overlap(
                *other,
                name.clone(),
                *range,
                later_name.clone(),
            ));
        }
    }
    for ip in later
        .addresses
        .iter()
        .filter(|ip| node.addresses.contains(ip))
    {
        faults.push(Fault::SharedAddress(*ip, name.clone(), later_name.clone()));
    }
}

fn within(name: &NodeName, node: &Node, owner: &NodeName, other: &Node, faults: &mut Vec<Fault>) {
    for range in &other.ranges {
        for ip in node.addresses.iter().filter(|ip| range.net().contains(*ip)) {
            faults.push(Fault::AddressInRange(
                *ip,
                name.clone(),
                *range,
                owner.clone(),
            ));
        }
    }
}

fn overlap(a: &PodRange, b: &PodRange) -> bool {
    a.net().contains(&b.net()) || b.net().contains(&a.net())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn node(addresses: &[&str], ranges: &[&str]) -> Node {
        Node {
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            ranges: ranges.iter().map(|r| PodRange::parse(r).unwrap()).collect(),
        }
    }

    fn cluster(prefixes: &[&str], nodes: &[(&str, Node)]) -> Cluster {
        Cluster {
            network: NetworkName::new("podwire").unwrap(),
            prefixes: prefixes.iter().map(|p| p.parse().unwrap()).collect(),
            nodes: nodes
                .iter()
                .map(|(n, node)| (NodeName::new(n).unwrap(), node.clone()))
                .collect(),
        }
    }

    #[test]
    fn a_sound_cluster_has_no_fault() {
        let c = cluster(
            &["10.244.0.0/16"],
            &[
                ("a", node(&["10.128.0.2"], &["10.244.0.0/24"])),
                ("b", node(&["10.128.0.3"], &["10.244.1.0/24"])),
            ],
        );
        assert_eq!(c.faults(), vec![]);
    }

    /// Each with each, as the order of addresses must not matter.
    fn slow(cluster: &Cluster) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (i, (name, node)) in cluster.nodes.iter().enumerate() {
            cluster.alone(name, node, &mut faults);
            for (j, (other_name, other)) in cluster.nodes.iter().enumerate() {
                if j < i {
                    pair(other_name, other, name, node, &mut faults);
                }
                within(name, node, other_name, other, &mut faults);
            }
        }
        faults
    }

    #[test]
    fn no_meeting_of_two_nodes_is_missed() {
        let ranges = [
            "10.0.0.0/14",
            "10.1.0.0/24",
            "10.1.0.0/16",
            "10.1.1.0/24",
            "fd00::/64",
        ];
        let addresses = ["10.1.0.9", "10.9.0.1", "10.9.0.2", "10.9.0.1", "fd00::9"];
        let mut seen = 0;
        // Each digit of base 5 says what one of four nodes has.
        for number in 0..5_usize.pow(4) {
            let of = |digit: u32| number / 5_usize.pow(digit) % 5;
            let nodes: Vec<_> = ["a", "b", "c", "d"]
                .into_iter()
                .zip(0..)
                .map(|(name, digit)| {
                    let (range, address) = (ranges[of(digit)], addresses[of((digit + 1) % 4)]);
                    (name, node(&[address], &[range]))
                })
                .collect();
            let c = cluster(&[], &nodes);
            seen += usize::from(!c.faults().is_empty());
            assert_eq!(c.faults(), slow(&c), "{c:?}");
        }
        assert!(seen > 100, "{seen}");
    }

    #[test]
    fn all_faults_are_found_at_once() {
        let c = cluster(
            &["10.244.0.0/16"],
            &[
                ("a", node(&["10.128.0.2"], &["10.244.0.0/23"])),
                (
                    "b",
                    node(
                        &["10.128.0.2", "10.244.0.9"],
                        &["10.244.1.0/24", "10.9.0.0/24"],
                    ),
                ),
                ("c", node(&[], &[])),
            ],
        );
        let text: Vec<_> = c.faults().iter().map(|f| std::format!("{f}")).collect();
        assert_eq!(
            text,
            [
                "range 10.9.0.0/24 of node b lies outside of the cluster's network",
                "range 10.244.0.0/23 of node a overlaps range 10.244.1.0/24 of node b",
                "address 10.128.0.2 belongs to node a and to node b",
                "address 10.244.0.9 of node b lies in range 10.244.0.0/23 of node a",
                "node c has no range",
                "node c has no address",
            ]
        );
    }
}
