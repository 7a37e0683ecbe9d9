//! The hand-made demo on real Kubernetes: two nodes, pods on both, five targets from each.
//!
//! The steps are the demo's own: the nodes are Ready, each has a pod range, a taint keeps pods off the master, without it
//! they run on both nodes, and a pod on each reaches everything. Podwire is there from the beginning, as on every cluster;
//! what a pod misses without it shows `cargo xtask demo`. What must come out of it is told in [`Walk::faults`].

mod report;
mod round;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::pod::{self, Pod};
use crate::shape::{Family, MASTER};
use crate::{Listener, Objects, lan};
use lab::walk::Target;
use round::Connection;

const NAME: &str = "demo";
/// Taint of a master, as kubeadm sets it.
const TAINT: &str = "node-role.kubernetes.io/control-plane:NoSchedule";
/// Where hosts answer, beside whatever else listens on them.
const HOST_PORT: u16 = 8090;
const RUN_WITHIN: Duration = Duration::from_secs(60);
const NODES: usize = 2;
/// So many pods with the taint, and twice as many without.
const FEW: usize = 2;

/// The demo, done.
#[derive(Debug)]
pub struct Walk {
    family: Family,
    /// What `kubectl get node` says.
    nodes: String,
    ranges: Vec<Ranges>,
    tainted: Vec<Pod>,
    untainted: Vec<Pod>,
    connections: Vec<Connection>,
}

/// A node's pod ranges.
#[derive(Debug)]
struct Ranges {
    node: String,
    ranges: Vec<String>,
}

/// Does it on a cluster of two nodes, and removes its pods and the taint again.
///
/// # Errors
/// When a step fails; what a pod does not reach is none, but one of [`Walk::faults`].
pub fn perform(cluster: &Cluster) -> Result<Walk> {
    ensure!(
        cluster.nodes().len() == NODES,
        "the demo has two nodes, not {}",
        cluster.nodes().len()
    );
    let nodes = cluster.kubectl(&["get", "node"])?;
    let ranges = ranges(cluster)?;
    cluster.kubectl(&["taint", "node", MASTER, TAINT])?;
    let outcome = both_sides(cluster);
    // As it was, whatever came of it; after success it is gone already.
    drop(cluster.kubectl(&["taint", "node", MASTER, &format!("{TAINT}-")]));
    let (tainted, untainted, connections) = outcome?;
    Ok(Walk {
        family: cluster.shape().family,
        nodes,
        ranges,
        tainted,
        untainted,
        connections,
    })
}

fn both_sides(cluster: &Cluster) -> Result<(Vec<Pod>, Vec<Pod>, Vec<Connection>)> {
    let _deployment = Objects::new(cluster, &[deployment(cluster)?])?;
    let tainted = running(cluster, FEW)?;
    cluster.kubectl(&["taint", "node", MASTER, &format!("{TAINT}-")])?;
    let (all, name) = (2 * FEW, format!("deployment/{NAME}"));
    cluster.kubectl(&["scale", &name, &format!("--replicas={all}")])?;
    let untainted = running(cluster, all)?;
    let mut listeners = vec![Listener::new(cluster, &cluster.outside(), HOST_PORT)?];
    for node in cluster.nodes() {
        listeners.push(Listener::new(cluster, &node, HOST_PORT)?);
    }
    let connections = round::run(cluster, &untainted)?;
    Ok((tainted, untainted, connections))
}

fn running(cluster: &Cluster, count: usize) -> Result<Vec<Pod>> {
    let name = format!("deployment/{NAME}");
    let wanted = format!("jsonpath={{.status.readyReplicas}}={count}");
    let within = format!("--timeout={}s", RUN_WITHIN.as_secs());
    let outcome = cluster.kubectl(&["wait", &name, &format!("--for={wanted}"), &within]);
    outcome.map_err(|error| error.context(cluster.explain()))?;
    pod::list(cluster, &format!("app={NAME}"))
}

/// Pods that are spread over all nodes that they may run on.
fn deployment(cluster: &Cluster) -> Result<Value> {
    let spread = json!({
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": {"app": NAME}},
    });
    let pods = json!({
        "terminationGracePeriodSeconds": 1,
        "topologySpreadConstraints": [spread],
        "containers": [pod::web(cluster)?],
    });
    let mut deployment = pod::workload("Deployment", NAME, &pods);
    deployment["spec"]["replicas"] = FEW.into();
    Ok(deployment)
}

fn ranges(cluster: &Cluster) -> Result<Vec<Ranges>> {
    let nodes = cluster.json(&["nodes"])?;
    let nodes = nodes["items"].as_array().context("a list of nodes")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ranges = nodes.iter().map(|node| Ranges {
        node: text(&node["metadata"]["name"]),
        ranges: node["spec"]["podCIDRs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect(),
    });
    Ok(ranges.collect())
}

impl Walk {
    /// How many connections were tried.
    pub fn count(&self) -> usize {
        self.connections.len()
    }

    /// Everything that is not as it must be.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.untried();
        let ready = |line: &&str| line.split_whitespace().nth(1) == Some("Ready");
        if self.nodes.lines().filter(ready).count() != NODES {
            faults.push(format!("expected: two nodes Ready; found:\n{}", self.nodes));
        }
        let families = lan::pods(self.family).len();
        for Ranges { node, ranges } in &self.ranges {
            if ranges.len() != families {
                faults.push(format!(
                    "expected: {families} pod ranges of {node}; found: {ranges:?}"
                ));
            }
        }
        let on = |pods: &[Pod], node: &str| pods.iter().filter(|pod| pod.node == node).count();
        let others = self.tainted.len() - on(&self.tainted, MASTER);
        if others != FEW {
            faults.push(format!("with the taint: {:?}", self.tainted));
        }
        if on(&self.untainted, MASTER) != FEW || self.untainted.len() != 2 * FEW {
            faults.push(format!("without the taint: {:?}", self.untainted));
        }
        faults.extend(self.connections.iter().filter_map(Connection::fault));
        faults
    }

    /// What nobody tried to reach: every target is to be tried once from each node in each family of the cluster.
    fn untried(&self) -> Vec<String> {
        let mut untried = Vec::new();
        if self.ranges.len() != NODES {
            untried.push(format!("expected: two nodes; found: {:?}", self.ranges));
        }
        let families = self.family.pick(("IPv4", true), ("IPv6", false));
        let nodes = self.ranges.iter().map(|ranges| &ranges.node);
        let pairs = nodes.flat_map(|node| families.iter().map(move |family| (node, family)));
        for ((node, (name, is_ipv4)), target) in
            pairs.flat_map(|pair| Target::ALL.map(|target| (pair, target)))
        {
            let is_it = |one: &&Connection| {
                one.from == *node && one.own.is_ipv4() == *is_ipv4 && one.target == target
            };
            let times = self.connections.iter().filter(is_it).count();
            if times != 1 {
                untried.push(format!(
                    "{name} from {node} to {}: expected: tried once; found: {times} times",
                    target.name()
                ));
            }
        }
        untried
    }
}

fn node_address(cluster: &Cluster, name: &str, like: IpAddr) -> Result<IpAddr> {
    lan::like(&lan::addresses(name, cluster.shape().family)?, like)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(family: Family, ranges: &[&str]) -> Walk {
        let nodes = [MASTER, "worker1"];
        let pod = |node: &str| Pod {
            name: "demo".to_owned(),
            node: node.to_owned(),
            addresses: Vec::new(),
        };
        let mut connections = Vec::new();
        for node in nodes {
            for own in ["10.244.0.2", "fd00:10:244::2"] {
                let own: IpAddr = own.parse().unwrap();
                if ranges
                    .iter()
                    .any(|range| range.contains(':') == own.is_ipv6())
                {
                    connections
                        .extend(Target::ALL.map(|target| Connection::reached(node, target, own)));
                }
            }
        }
        Walk {
            family,
            nodes: nodes.map(|node| format!("{node} Ready\n")).concat(),
            ranges: nodes
                .map(|node| Ranges {
                    node: node.to_owned(),
                    ranges: ranges.iter().map(ToString::to_string).collect(),
                })
                .into(),
            tainted: vec![pod("worker1"), pod("worker1")],
            untainted: [nodes, nodes].concat().into_iter().map(pod).collect(),
            connections,
        }
    }

    const BOTH: [&str; 2] = ["10.244.0.0/24", "fd00:10:244::/64"];

    #[test]
    fn a_walk_in_all_families_of_the_cluster_has_no_fault() {
        for (family, ranges) in [
            (Family::Dual, &BOTH[..]),
            (Family::Dual6, &BOTH),
            (Family::Ipv4, &BOTH[..1]),
            (Family::Ipv6, &BOTH[1..]),
        ] {
            assert_eq!(walk(family, ranges).faults(), [""; 0], "{family:?}");
        }
    }

    #[test]
    fn a_target_that_was_not_tried_is_a_fault() {
        let mut walk = walk(Family::Dual, &BOTH);
        walk.connections.remove(12);
        assert_eq!(
            walk.faults(),
            ["IPv4 from worker1 to pod on the same host: expected: tried once; found: 0 times"]
        );
        walk.connections.clear();
        assert_eq!(walk.faults().len(), 20);
    }

    #[test]
    fn a_family_that_pods_do_not_have_is_a_fault() {
        let faults = walk(Family::Dual, &BOTH[..1]).faults();
        assert_eq!(faults.len(), 10 + 2);
        assert!(
            faults[0].starts_with("IPv6 from master to own host"),
            "{faults:?}"
        );
        assert!(
            faults[11].starts_with("expected: 2 pod ranges of worker1"),
            "{faults:?}"
        );
    }
}
