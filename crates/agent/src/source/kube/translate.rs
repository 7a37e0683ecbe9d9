//! Nodes of the API as the cluster: a pure function.
//!
//! The API promises little: ranges come later than nodes, and nothing keeps two nodes from having the same one. What is wrong
//! is said, and never takes the rest of the cluster with it. Of two nodes with overlapping ranges the older one keeps its
//! own, because its pods are there already.

use super::object::Seen;
use ipnet::IpNet;
use model::addr::{Family, PodRange};
use model::cluster::{Cluster, Node};
use model::name::{NetworkName, NodeName};
use model::status::Finding;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Most findings about other nodes; a cluster that is wrong everywhere must not fill the report.
const MOST_FINDINGS: usize = 20;

/// Most names in one finding.
const MOST_NAMES: usize = 5;

/// What the API does not say.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// This node.
    pub(crate) own: NodeName,
    /// The CNI network.
    pub(crate) network: NetworkName,
    /// Prefixes that hold all pods; may be empty.
    pub(crate) prefixes: Vec<IpNet>,
}

/// The cluster that these Nodes are, and what is wrong with it: first what is about this node.
pub(super) fn cluster(
    nodes: &BTreeMap<NodeName, Seen>,
    settings: &Settings,
) -> (Cluster, Vec<Finding>) {
    let mut findings = about_own(nodes, settings);
    let mut others = Vec::new();
    let mut kept = Kept::default();
    let mut by_age: Vec<(&NodeName, &Seen)> = nodes.iter().collect();
    by_age.sort_by_key(|(name, seen)| (&seen.created, *name));
    let mut cluster = Cluster {
        network: settings.network.clone(),
        prefixes: settings.prefixes.clone(),
        nodes: BTreeMap::new(),
    };
    for (name, seen) in by_age {
        let told = if *name == settings.own {
            &mut findings
        } else {
            &mut others
        };
        told.extend(seen.wrong.iter().map(|what| wrong(name, what)));
        let mut ranges = Vec::new();
        for range in &seen.ranges {
            if let Some((theirs, older)) = kept.overlapping(*range) {
                told.push(overlap(*range, name, theirs, older));
                continue;
            }
            if !settings.prefixes.is_empty() && !within(&settings.prefixes, *range) {
                told.push(outside(*range, name));
            }
            kept.keep(*range, name);
            ranges.push(*range);
        }
        let node = Node {
            addresses: seen.addresses.clone(),
            ranges,
        };
        cluster.nodes.insert(name.clone(), node);
    }
    if settings.prefixes.is_empty() {
        cluster.prefixes = kept.together();
    }
    others.extend(waiting(nodes, settings));
    findings.extend(capped(others));
    (cluster, findings)
}

/// What keeps this node from being one of the cluster.
fn about_own(nodes: &BTreeMap<NodeName, Seen>, settings: &Settings) -> Vec<Finding> {
    let own = &settings.own;
    match nodes.get(own) {
        None => vec![Finding {
            what: format!("the API server knows no node {own}"),
            hint: "podwired waits for it; if this node has another name there, give it by --node; \
                   see: kubectl get nodes"
                .into(),
        }],
        Some(seen) if seen.ranges.is_empty() && seen.wrong.is_empty() => vec![Finding {
            what: format!("node {own} has no podCIDR yet"),
            hint: "podwired waits for it; kube-controller-manager gives it where it runs with \
                   --allocate-node-cidrs and --cluster-cidr"
                .into(),
        }],
        Some(_) => Vec::new(),
    }
}

/// The other nodes without a range, in one sentence: while a cluster grows there may be many.
fn waiting(nodes: &BTreeMap<NodeName, Seen>, settings: &Settings) -> Option<Finding> {
    let bare = |(name, seen): &(&NodeName, &Seen)| {
        **name != settings.own && seen.ranges.is_empty() && seen.wrong.is_empty()
    };
    let names: Vec<&str> = nodes
        .iter()
        .filter(bare)
        .map(|(name, _)| name.as_str())
        .collect();
    let (shown, more) = names.split_at(names.len().min(MOST_NAMES));
    let list = match more.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    };
    (!names.is_empty()).then(|| Finding {
        what: format!("nodes without podCIDR: {list}"),
        hint: "their pods are reached once kube-controller-manager has given them one".into(),
    })
}

fn wrong(name: &NodeName, what: &str) -> Finding {
    Finding {
        what: format!("node {name}: {what}"),
        hint: format!("it is left out; see: kubectl get node {name} -o yaml"),
    }
}

fn overlap(range: PodRange, name: &NodeName, theirs: PodRange, older: &NodeName) -> Finding {
    let what = if name == older {
        format!("range {range} of node {name} overlaps its own range {theirs}")
    } else {
        format!(
            "range {range} of node {name} overlaps range {theirs} of node {older}, which is older and keeps it"
        )
    };
    Finding {
        what,
        hint: format!(
            "give node {name} another podCIDR: delete it (kubectl delete node {name}) and let its kubelet register anew"
        ),
    }
}

fn outside(range: PodRange, name: &NodeName) -> Finding {
    Finding {
        what: format!("range {range} of node {name} lies outside of the cluster's network"),
        hint: "give --prefixes the same prefixes as kube-controller-manager's --cluster-cidr"
            .into(),
    }
}

fn within(prefixes: &[IpNet], range: PodRange) -> bool {
    prefixes.iter().any(|prefix| prefix.contains(&range.net()))
}

fn capped(mut findings: Vec<Finding>) -> Vec<Finding> {
    let more = findings.len().saturating_sub(MOST_FINDINGS);
    if more > 0 {
        findings.truncate(MOST_FINDINGS);
        findings.push(Finding {
            what: format!("{more} more things are wrong with other nodes"),
            hint: "see to those above first".into(),
        });
    }
    findings
}

/// Ranges that have an owner, by their first address: they are disjoint, so that only two neighbours can overlap a new one.
#[derive(Default)]
struct Kept<'n> {
    ranges: BTreeMap<(Family, IpAddr), (PodRange, &'n NodeName)>,
}

impl<'n> Kept<'n> {
    fn overlapping(&self, range: PodRange) -> Option<(PodRange, &'n NodeName)> {
        let key = key(range);
        let before = self.ranges.range(..=key).next_back();
        let after = self.ranges.range(key..).next();
        let neighbours = before.into_iter().chain(after);
        let mut held = neighbours.map(|(_, held)| *held);
        held.find(|(held, _)| {
            held.net().contains(&range.net()) || range.net().contains(&held.net())
        })
    }

    /// All of them in as few prefixes as hold nothing else: controllers give ranges one after another, so there are few, and
    /// other programs' chains get one rule for each.
    fn together(&self) -> Vec<IpNet> {
        let nets = self.ranges.values().map(|(range, _)| range.net()).collect();
        IpNet::aggregate(&nets)
    }

    fn keep(&mut self, range: PodRange, name: &'n NodeName) {
        self.ranges.insert(key(range), (range, name));
    }
}

fn key(range: PodRange) -> (Family, IpAddr) {
    (range.family(), range.net().network())
}

#[cfg(test)]
mod tests;
