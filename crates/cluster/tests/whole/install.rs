//! Podwire comes to a cluster that has no network, and leaves nothing when it goes.
//!
//! What is left of it is asked of the nodes: rules, links, addresses, routes, sysctls and files, as they were before it came.

mod chart;
mod trace;
mod uninstall;

use anyhow::{Context, Result, bail, ensure};
use cluster::{Cluster, Place, image};

use crate::endure::{AGENT, AT_LAST, SOON, kubectl};
use trace::Trace;

const UNINSTALL: &str = include_str!("../../../../deploy/uninstall.yaml");
const DAEMON_SET: &str = "daemonset/podwire-uninstall";

/// A new one each time: nodes that have had a network are called Ready for some seconds more, and a test that failed may have
/// left one.
fn bare() -> Result<Cluster> {
    let place = Place::find()?;
    Cluster::down(&place)?;
    // A cluster without a network does not bring it by itself.
    image::podwire(&place)?;
    let cluster = crate::with("2 --family dual --network none")?;
    for node in cluster.nodes() {
        cluster.until(SOON, "its rules are there", || {
            let tables = node.run(&["nft", "list", "tables"])?;
            ensure!(tables.contains("kube-proxy"), "{tables}");
            Ok(())
        })?;
    }
    Ok(cluster)
}

/// What each node is like.
fn traces(cluster: &Cluster) -> Result<Vec<Trace>> {
    let nodes = cluster.nodes();
    nodes.iter().map(|node| Trace::of(node)).collect()
}

/// Waits until all nodes can have pods.
fn nodes_are_ready(cluster: &Cluster) -> Result<()> {
    let words = [
        "wait",
        "--for=condition=Ready",
        "--timeout=120s",
        "nodes",
        "--all",
    ];
    let outcome = cluster.kubectl(&words).map(drop);
    outcome.map_err(|error| error.context(cluster.explain()))
}

/// `deploy/uninstall.yaml` on all nodes, for as long as this lives.
struct Uninstall<'a>(&'a Cluster);

impl<'a> Uninstall<'a> {
    fn begin(cluster: &'a Cluster) -> Result<Self> {
        let uninstall = Self(cluster);
        cluster.apply(UNINSTALL)?;
        Ok(uninstall)
    }

    /// Waits until each node's log of the refusals says so.
    fn refuses(&self, parts: &[&str]) -> Result<()> {
        let cluster = self.0;
        for node in cluster.nodes() {
            let what = format!("{} refuses, and says {parts:?}", node.name());
            cluster.until(SOON, &what, || {
                let said = self.said(node.name())?;
                ensure!(
                    parts.iter().all(|part| said.contains(part)),
                    "it says {said:?}"
                );
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Waits until Podwire is off every node, however long the rest between two attempts has become.
    fn is_through(&self) -> Result<()> {
        self.0.until(AT_LAST, "Podwire is off all nodes", || {
            let words = ["rollout", "status", DAEMON_SET, "--timeout=10s"];
            kubectl(self.0, &words).map(drop)
        })
    }

    /// What the last attempt on a node has said that has ended.
    fn said(&self, node: &str) -> Result<String> {
        let here = format!("--field-selector=spec.nodeName={node}");
        let label = "app.kubernetes.io/name=podwire-uninstall";
        let words = ["get", "pods", "-l", label, &here, "-o", "name"];
        let pod = kubectl(self.0, &words)?;
        let log = ["logs", pod.trim(), "-c", "uninstall"];
        let said = kubectl(self.0, &log)?;
        if said.is_empty() {
            bail!("nothing yet");
        }
        Ok(said)
    }
}

impl Drop for Uninstall<'_> {
    fn drop(&mut self) {
        let words = [
            "delete",
            DAEMON_SET,
            "--cascade=foreground",
            "--timeout=60s",
        ];
        // With its pods, or else they are in the way of the next test, which then tells.
        drop(kubectl(self.0, &words));
    }
}

/// Waits until no agent runs.
fn agents_are_gone(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        cluster.until(SOON, "no agent runs", || {
            let running = node.pids_of(AGENT)?;
            ensure!(running.is_empty(), "on {} {running:?}", node.name());
            Ok(())
        })?;
    }
    Ok(())
}

/// Waits until all nodes are as they were.
fn nothing_is_left(cluster: &Cluster, before: &[Trace]) -> Result<()> {
    for (node, before) in cluster.nodes().iter().zip(before) {
        let what = format!("{} is as it was before Podwire", node.name());
        cluster.until(SOON, &what, || {
            before.is_left_by(&Trace::of(node)?).context("compare")
        })?;
    }
    Ok(())
}
