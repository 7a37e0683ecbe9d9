//! What a pod network has to endure on a cluster: crashes, upgrades, reboots, nodes that come and go, and many pods.
//!
//! Nearly everything happens under streams of packets between pods of two nodes, of which none may be lost (`traffic`), and
//! ends with the question whether the API, Podwire's state and the kernel of each node name the same pods (`ledger`).

mod agent;
pub(crate) mod churn;
pub(crate) mod ledger;
mod nodes;
pub(crate) mod pods;
pub(crate) mod traffic;
pub(crate) mod upgrade;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
/// Where time itself is what has to be endured.
pub(crate) use cluster::wait::rest as let_pass;
use cluster::{Cluster, Node};
use serde_json::Value;

/// For what takes seconds, on a machine that has a lot else to do.
pub(crate) const SOON: Duration = Duration::from_secs(120);
/// For what takes a minute there.
pub(crate) const AT_LAST: Duration = Duration::from_secs(400);
/// For `kubectl wait` and its like.
pub(crate) const SOON_FOR_KUBECTL: &str = "--timeout=120s";

/// The agent's process, its DaemonSet, and its pods.
pub(crate) const AGENT: &str = "podwired";
pub(crate) const DAEMON_SET: &str = "daemonset/podwire";
pub(crate) const AGENTS: &str = "app.kubernetes.io/name=podwire";

/// The first two are the ends of all streams.
pub(crate) const NODES: [&str; 3] = ["master", "worker1", "worker2"];

pub(crate) fn three_nodes() -> Result<Cluster> {
    crate::with("3 --family dual")
}

/// kubectl on the agents' namespace.
pub(crate) fn kubectl(cluster: &Cluster, words: &[&str]) -> Result<String> {
    cluster.kubectl(&[&["-n", "kube-system"], words].concat())
}

/// Kills the agent of each node at once.
pub(crate) fn kill_agents(cluster: &Cluster) -> Result<()> {
    let nodes = cluster.nodes();
    nodes
        .iter()
        .try_for_each(|node| node.kill_all(AGENT).map(drop))
}

/// Waits until each node has one agent, which runs and is Ready.
pub(crate) fn agents_run(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        cluster.until(SOON, &format!("{} has its agent", node.name()), || {
            let running = node.pids_of(AGENT)?.len();
            ensure!(running == 1, "{running} agents run");
            agent_of(cluster, &node).map(drop)
        })?;
    }
    Ok(())
}

/// The name of the only agent's pod of a node, if it is Ready.
pub(crate) fn agent_of(cluster: &Cluster, node: &Node<'_>) -> Result<String> {
    let here = format!("--field-selector=spec.nodeName={}", node.name());
    let pods = cluster.json(&["pods", "-n", "kube-system", "-l", AGENTS, &here])?;
    let [pod] = &pods["items"].as_array().context("a list of pods")?[..] else {
        anyhow::bail!("not one agent is on {}: {pods}", node.name());
    };
    ensure!(is_ready(pod), "the agent of {} is not Ready", node.name());
    let name = pod["metadata"]["name"].as_str();
    Ok(name.context("a pod has a name")?.to_owned())
}

/// What `podwire status` says on a node; an error if anything is wrong.
pub(crate) fn status(cluster: &Cluster, node: &Node<'_>) -> Result<String> {
    let agent = agent_of(cluster, node)?;
    kubectl(cluster, &["exec", &agent, "--", "/podwire", "status"])
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
