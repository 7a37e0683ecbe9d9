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
use crate::shape::MASTER;
use crate::{Listener, Objects, lan};
use round::Connection;

const NAME: &str = "demo";
/// Taint of a master, as kubeadm sets it.
const TAINT: &str = "node-role.kubernetes.io/control-plane:NoSchedule";
/// Where hosts answer, beside whatever else listens on them.
const HOST_PORT: u16 = 8090;
const RUN_WITHIN: Duration = Duration::from_secs(60);
/// So many pods with the taint, and twice as many without.
const FEW: usize = 2;

/// The demo, done.
#[derive(Debug)]
pub struct Walk {
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
        cluster.nodes().len() == 2,
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
    let labels = json!({"app": NAME});
    let web = json!({
        "name": "web",
        "image": cluster.place().image("agnhost")?,
        "args": ["netexec", format!("--http-port={}", pod::PORT)],
        "readinessProbe": {"httpGet": {"path": "/", "port": pod::PORT}, "periodSeconds": 1},
    });
    let spread = json!({
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": labels},
    });
    Ok(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": FEW,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "topologySpreadConstraints": [spread],
                    "containers": [web],
                },
            },
        },
    }))
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
        let mut faults = Vec::new();
        let ready = |line: &&str| line.split_whitespace().nth(1) == Some("Ready");
        if self.nodes.lines().filter(ready).count() != 2 {
            faults.push(format!("expected: two nodes Ready; found:\n{}", self.nodes));
        }
        for Ranges { node, ranges } in &self.ranges {
            if ranges.is_empty() {
                faults.push(format!("{node} has no pod range"));
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
}

/// The address of this family, if there is one.
fn among(addresses: &[IpAddr], like: IpAddr) -> Result<IpAddr> {
    let same = |address: &&IpAddr| address.is_ipv4() == like.is_ipv4();
    let found = addresses.iter().find(same).copied();
    found.with_context(|| format!("no address like {like} among {addresses:?}"))
}

fn node_address(cluster: &Cluster, name: &str, like: IpAddr) -> Result<IpAddr> {
    among(&lan::addresses(name, cluster.shape().family)?, like)
}
