//! The cluster itself: it comes up, survives what real machines survive, and its pods are connected.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, pod};

use crate::with;

const SOON: Duration = Duration::from_secs(60);

/// Every pod gets every pod's name from every address of it.
pub(crate) fn all_reach_all(cluster: &Cluster, families: usize) -> Result<()> {
    let (each, pods) = pod::on_each_node(cluster, "each")?;
    ensure!(
        pods.len() == cluster.nodes().len(),
        "not one a node: {pods:?}"
    );
    for from in &pods {
        for to in &pods {
            ensure!(to.addresses.len() == families, "{to:?}");
            for address in &to.addresses {
                let url = format!("{}/hostname", pod::url(*address));
                let name = from.get(cluster, &url)?;
                ensure!(name == to.name, "{name} answers at {url} of {to:?}");
            }
        }
    }
    each.end()
}

#[test]
fn pods_on_all_nodes_reach_each_other() -> Result<()> {
    let cluster = with("2")?;
    let nodes = cluster.json(&["nodes"])?;
    let count = nodes["items"].as_array().map(Vec::len);
    ensure!(count == Some(2), "{count:?} nodes");
    all_reach_all(&cluster, 1)
}

#[test]
fn a_node_boots_after_a_power_cut_with_its_disk_and_a_new_life() -> Result<()> {
    let cluster = with("2")?;
    let node = cluster.node("worker1")?;
    let boot_id = || node.run(&["cat", "/proc/sys/kernel/random/boot_id"]);
    let before = boot_id()?;
    node.run(&["touch", "/var/lib/kept", "/run/lost"])?;
    node.power_off()?;
    ensure!(
        !node.is_on() && node.run(&["true"]).is_err(),
        "it is still on"
    );
    node.boot()?;
    ensure!(boot_id()? != before, "the boot id is the old one");
    node.run(&["rm", "/var/lib/kept"])?;
    ensure!(
        node.run(&["ls", "/run/lost"]).is_err(),
        "/run is the old one"
    );
    all_reach_all(&cluster, 1)
}

#[test]
fn a_daemon_that_is_killed_comes_back() -> Result<()> {
    let cluster = with("2")?;
    let node = cluster.node("worker1")?;
    for daemon in ["containerd", "kubelet", "kube-proxy"] {
        let before = node.pids_of(daemon)?;
        node.kill(daemon)?;
        cluster.until(SOON, &format!("{daemon} runs again"), || {
            let now = node.pids_of(daemon)?;
            ensure!(!now.is_empty() && now != before, "{daemon} runs as {now:?}");
            Ok(())
        })?;
    }
    cluster.until(SOON, "kubelet answers", || {
        node.run(&["curl", "-sSf", "http://127.0.0.1:10248/healthz"])
            .context("healthz")
    })?;
    all_reach_all(&cluster, 1)
}

#[test]
fn an_agent_in_its_container_and_the_plugin_on_the_node_live_in_the_same_boot() -> Result<()> {
    let cluster = with("2")?;
    let (each, pods) = pod::on_each_node(&cluster, "each")?;
    for pod in &pods {
        let words = ["cat", "/proc/sys/kernel/random/boot_id"];
        let (inside, outside) = (
            pod.run(&cluster, &words)?,
            cluster.node(&pod.node)?.run(&words)?,
        );
        ensure!(
            inside == outside,
            "{pod:?} sees {inside}, its node {outside}"
        );
    }
    each.end()
}
