//! The cluster's authority and the key that signs tokens are replaced while agents run, which have read both.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use cluster::Cluster;
use serde_json::{Value, json};

use crate::endure::{
    AGENT, AT_LAST, NODES, SOON, agents_run, kubectl, ledger, pods, three_nodes, traffic,
};

/// Comes when the keys are others.
const NEW: &str = "worker3";
const CONDITION: &str = "NetworkUnavailable";

#[test]
fn no_packet_is_lost_when_authority_and_tokens_are_replaced_and_agents_go_on_without_a_restart()
-> Result<()> {
    let cluster = three_nodes()?;
    let traffic = traffic::begin(&cluster)?;
    let before = agents(&cluster)?;
    let token = kubectl(&cluster, &["create", "token", "podwire"])?;
    let authority = authority(&cluster)?;
    ensure!(answer(&cluster, &token)? == "200", "the token is no good");
    cluster.replace_keys()?;
    ensure!(answer(&cluster, &token)? == "401", "the old token is good");
    cluster.until(SOON, "pods are told of the new authority", || {
        let now = self::authority(&cluster)?;
        ensure!(now != authority, "it is the old one");
        Ok(())
    })?;
    for node in NODES {
        tell_of_an_outage(&cluster, node)?;
    }
    // kubelet brings token and authority to a pod's folder about once a minute.
    for node in NODES {
        cluster.until(AT_LAST, &format!("{node} says that it is up"), || {
            let condition = condition(&cluster, node)?;
            ensure!(condition["status"] == "False", "{condition}");
            Ok(())
        })?;
    }
    cluster.add_node(NEW, &[])?;
    // Its pods are reached only from where its range is known.
    pods::new_ones_talk(&cluster)?;
    ledger::agree(&cluster)?;
    cluster.remove_node(NEW)?;
    let after = agents(&cluster)?;
    ensure!(before == after, "agents were {before:?} and are {after:?}");
    agents_run(&cluster)?;
    ledger::agree(&cluster)?;
    traffic.arrived_whole()?;
    // Others' pods may need a restart to take a new authority; that is their owners' business.
    if !cluster.kubectl(&DNS_IS_THERE)?.is_empty() {
        kubectl(&cluster, &["rollout", "restart", "deployment/coredns"])?;
        cluster.names()?;
    }
    Ok(())
}

const DNS_IS_THERE: [&str; 6] = [
    "get",
    "deployment/coredns",
    "-n=kube-system",
    "--ignore-not-found",
    "-o",
    "name",
];

/// Processes of the agents that are there all the time.
fn agents(cluster: &Cluster) -> Result<BTreeMap<&'static str, Vec<u32>>> {
    let pids = |name| Ok((name, cluster.node(name)?.pids_of(AGENT)?));
    NODES.into_iter().map(pids).collect()
}

/// What a pod without a kubeconfig believes.
fn authority(cluster: &Cluster) -> Result<String> {
    let path = "jsonpath={.data.ca\\.crt}";
    kubectl(
        cluster,
        &["get", "configmap", "kube-root-ca.crt", "-o", path],
    )
}

/// The number that HTTP gives to somebody who lists nodes with this token.
fn answer(cluster: &Cluster, token: &str) -> Result<String> {
    let server = kubectl(
        cluster,
        &[
            "config",
            "view",
            "-o",
            "jsonpath={.clusters[0].cluster.server}",
        ],
    )?;
    let url = format!("{server}/api/v1/nodes?limit=1");
    let bearer = format!("Authorization: Bearer {token}");
    let words = [
        "curl",
        "-sk",
        "-m",
        "10",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
    ];
    cluster
        .outside()
        .run(&[&words[..], &[&bearer, &url]].concat())
}

/// In the agent's place, and wrongly; he takes it back as soon as he hears of it and can write.
fn tell_of_an_outage(cluster: &Cluster, node: &str) -> Result<()> {
    let outage =
        json!({"type": CONDITION, "status": "True", "reason": "Test", "message": "not so"});
    let patch = json!({"status": {"conditions": [outage]}}).to_string();
    cluster
        .kubectl(&["patch", "node", node, "--subresource=status", "-p", &patch])
        .map(drop)
}

fn condition(cluster: &Cluster, node: &str) -> Result<Value> {
    let mut node = cluster.json(&["node", node])?;
    let conditions = node["status"]["conditions"].as_array_mut();
    let mut conditions = conditions.into_iter().flatten();
    let condition = conditions.find(|condition| condition["type"] == CONDITION);
    Ok(condition.context("the agent has said nothing")?.take())
}
