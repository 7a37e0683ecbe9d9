//! Nodes and pods that exist in the API only: no kubelet runs them.
//!
//! A Node is as large as kubelets make theirs, because what it costs is its size; it is complete when it is created, as a
//! kubelet's is. Ranges lie within the cluster's, behind those of real nodes; addresses are on a network of their own, which
//! [`reach`] puts on a real node's link. IPv4 only.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::api::{Api, NODES, PODS, Talk};
use crate::machine::{Machine, UPLINK};

/// Connections that fill at the same time.
const WORKERS: usize = 4;

/// As many images as a kubelet reports at most.
const IMAGES: usize = 50;

/// Where they live, and the numbers in it that are no filler's.
const NETWORK: u32 = 0x0A09_0000;
const REAL: u32 = 0xFF00;

/// The first range, and the addresses in each.
const RANGES: u32 = 0x0AF4_4000;
const RANGE: u32 = 8;

/// Leases of nodes.
pub(crate) const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// The name of a node that no kubelet runs.
fn name(number: usize) -> String {
    format!("filler-{number:04}")
}

/// Where it is in the API.
pub(crate) fn path(number: usize) -> String {
    format!("{NODES}/{}", name(number))
}

/// Its pod range.
pub(crate) fn range(number: usize) -> Result<String> {
    let number = u32::try_from(number).context("the number of a node")?;
    Ok(format!("{}/29", ip(RANGES + RANGE * number)))
}

/// Lets a real node reach their addresses, as far as its routes can know.
pub(crate) fn reach(node: &Machine, number: u8) -> Result<()> {
    let address = format!("{}/16", ip(NETWORK + REAL + u32::from(number)));
    node.run(&["ip", "address", "replace", &address, "dev", UPLINK])
        .map(drop)
}

/// The Node as its kubelet would create it.
pub(crate) fn node(number: usize) -> Result<Value> {
    let (name, range) = (name(number), range(number)?);
    let place = u32::try_from(number).context("the number of a node")?;
    let images: Vec<_> = (0..IMAGES)
        .map(|image| {
            let path = format!("registry.example/team-{}/application-{image}", image % 7);
            let digest = format!("{image:064x}");
            json!({"names": [format!("{path}@sha256:{digest}"), format!("{path}:v1.{image}.0")], "sizeBytes": 50_000_000 + image})
        })
        .collect();
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
        }},
        "spec": {
            "podCIDR": range, "podCIDRs": [range],
            "taints": [{"key": "filler", "effect": "NoSchedule"}],
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": ip(NETWORK + 1 + place).to_string()},
                {"type": "Hostname", "address": name},
            ],
            "capacity": {"cpu": "4", "memory": "16Gi", "pods": "110"},
            "allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"},
            "conditions": conditions(0),
            "images": images,
        },
    }))
}

/// What a kubelet reports from time to time; `beat` makes the time of it, which differs each time.
pub(crate) fn conditions(beat: usize) -> Value {
    let (minutes, seconds) = (beat / 60, beat % 60);
    let (hours, minutes) = (minutes / 60 % 24, minutes % 60);
    let now = format!("2026-01-01T{hours:02}:{minutes:02}:{seconds:02}Z");
    let kinds = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
    kinds
        .iter()
        .map(|kind| {
            let is_ready = *kind == "Ready";
            json!({
                "type": kind,
                "status": if is_ready { "True" } else { "False" },
                "reason": format!("KubeletHas{kind}"),
                "message": "this node is a filler of a test, and nobody runs it",
                "lastHeartbeatTime": now,
            })
        })
        .collect()
}

/// Where the lease of such a node is.
pub(crate) fn lease_path(number: usize) -> String {
    format!("{LEASES}/{}", name(number))
}

/// The lease by which a kubelet says that it lives.
pub(crate) fn lease(number: usize) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name(number)},
        "spec": {"holderIdentity": name(number), "leaseDurationSeconds": 40},
    })
}

/// A pod on one of these nodes.
fn pod(number: usize, nodes: usize) -> Value {
    let environment: Vec<_> = (0..20)
        .map(|variable| json!({"name": format!("VARIABLE_{variable}"), "value": "x".repeat(40)}))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("filler-{number:05}"), "labels": {"app": format!("app-{}", number % 200), "tier": "web"}},
        "spec": {
            "nodeName": name(number % nodes.max(1)),
            "tolerations": [{"operator": "Exists"}],
            "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "registry.example/application:v1", "env": environment}],
        },
    })
}

/// Makes the nodes of these numbers.
pub(crate) fn nodes(api: &Api, numbers: std::ops::Range<usize>) -> Result<()> {
    each(api, numbers, |talk, number| {
        talk.create(NODES, &node(number)?)
    })
}

/// Makes so many pods on so many nodes.
pub(crate) fn pods(api: &Api, pods: usize, nodes: usize) -> Result<()> {
    each(api, 0..pods, |talk, number| {
        talk.create(PODS, &pod(number, nodes))
    })
}

/// Does it for each number, on some connections at the same time.
pub(crate) fn each(
    api: &Api,
    numbers: std::ops::Range<usize>,
    work: impl Fn(&mut Talk, usize) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(numbers.start);
    let worker = || -> Result<()> {
        let mut talk = api.talk()?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                return Ok(());
            }
            work(&mut talk, number)?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            match worker.join() {
                Ok(outcome) => outcome?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })
}

fn ip(number: u32) -> std::net::Ipv4Addr {
    number.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_range_is_a_real_nodes_and_all_lie_in_the_clusters() {
        // Real nodes have the first /24s of 10.244.0.0/16.
        assert_eq!(range(0).unwrap(), "10.244.64.0/29");
        assert_eq!(range(4999).unwrap(), "10.244.220.56/29");
    }

    #[test]
    fn a_node_is_as_large_as_a_real_one() {
        let size = node(7).unwrap().to_string().len();
        assert!((10_000..16_000).contains(&size), "{size} bytes");
    }
}
