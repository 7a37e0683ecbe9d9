//! A node is replaced by another; one gets another range while its pods live; one claims another's range.

use anyhow::{Context, Result, bail, ensure};
use cluster::{Cluster, Objects};

use serde_json::json;

use crate::endure::{NODES, SOON, agents_run, ledger, pods, status, three_nodes, traffic};

/// No stream ends there.
const NODE: &str = NODES[2];
/// Gets what another has had.
const HEIR: &str = "worker3";
const NAME: &str = "moved";
const PODS: usize = 10;

#[test]
fn no_packet_is_lost_between_other_nodes_when_one_is_removed_and_another_gets_its_range()
-> Result<()> {
    let cluster = three_nodes()?;
    let traffic = traffic::begin(&cluster)?;
    let ranges = ranges(&cluster, NODE)?;
    for (old, new) in [(NODE, HEIR), (HEIR, NODE)] {
        cluster.remove_node(old)?;
        cluster.add_node(new, &ranges)?;
        let given = self::ranges(&cluster, new)?;
        ensure!(given == ranges, "{new} has {given:?}, not {ranges:?}");
        agents_run(&cluster)?;
        pods::new_ones_talk(&cluster)?;
        ledger::agree(&cluster)?;
    }
    traffic.arrived_whole()
}

#[test]
fn no_packet_is_lost_between_other_nodes_when_one_registers_anew_and_gets_another_range()
-> Result<()> {
    let cluster = three_nodes()?;
    let traffic = traffic::begin(&cluster)?;
    let moved = pods::idle(&cluster, NAME, PODS, &[NODE])?;
    pods::counted(&cluster, NAME, PODS)?;
    let before = ranges(&cluster, NODE)?;
    pods::delete(&cluster, &["node", NODE])?;
    // kubelet registers its node when it starts, and not again.
    cluster.node(NODE)?.kill("kubelet")?;
    let after = cluster.until(SOON, "the node has a pod range again", || {
        ranges(&cluster, NODE)
    })?;
    ensure!(before != after, "it has got its old range again");
    agents_run(&cluster)?;
    pods::counted(&cluster, NAME, PODS)?;
    pods::new_ones_talk(&cluster)?;
    // The other nodes send to the new range only, and nobody but the node itself can know who is cut off by that.
    let node = cluster.node(NODE)?;
    cluster.until(SOON, "it is said that pods are not reached", || {
        let Err(error) = status(&cluster, &node) else {
            bail!("nothing is wrong");
        };
        let said = error.to_string();
        ensure!(before.iter().all(|range| said.contains(range)), "{said}");
        Ok(())
    })?;
    drop(moved);
    // A pod keeps its address to its end, and the node its range as long. There may be more pods than ours.
    let here = format!("--field-selector=spec.nodeName={NODE}");
    pods::delete(&cluster, &["pod", "-A", &here])?;
    ledger::agree(&cluster)?;
    is_forgotten(&cluster, &before)?;
    // With its range's first address a node speaks to pods; that must now be a stranger's.
    cluster.add_node(HEIR, &before)?;
    agents_run(&cluster)?;
    pods::new_ones_talk(&cluster)?;
    ledger::agree(&cluster)?;
    cluster.remove_node(HEIR)?;
    ledger::agree(&cluster)?;
    traffic.arrived_whole()
}

/// Waits until nothing of these ranges is left on the node that they were of.
fn is_forgotten(cluster: &Cluster, ranges: &[String]) -> Result<()> {
    let node = cluster.node(NODE)?;
    for range in ranges {
        let family = if range.contains(':') { "-6" } else { "-4" };
        cluster.until(SOON, &format!("{NODE} forgets {range}"), || {
            for words in [["address", "show", "to"], ["route", "show", "root"]] {
                let left = node.run(&[&["ip", family], &words[..], &[range]].concat())?;
                ensure!(left.is_empty(), "{left}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn no_packet_is_lost_when_a_node_claims_the_range_of_an_older_one() -> Result<()> {
    const THIEF: &str = "thief";
    let cluster = three_nodes()?;
    let traffic = traffic::begin(&cluster)?;
    let ranges = ranges(&cluster, NODES[1])?;
    let thief = Objects::new(
        &cluster,
        &[json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": THIEF},
            "spec": {"podCIDR": ranges[0], "podCIDRs": ranges, "unschedulable": true},
        })],
    )?;
    let addresses = ["192.168.77.99", "fd00:192:168:77::99"]
        .map(|address| json!({"type": "InternalIP", "address": address}));
    let patch = json!({"status": {"addresses": addresses}}).to_string();
    cluster.kubectl(&["patch", "node", THIEF, "--subresource=status", "-p", &patch])?;
    for node in cluster.nodes() {
        cluster.until(SOON, "it is said that ranges overlap", || {
            let Err(error) = status(&cluster, &node) else {
                bail!("{}: nothing is wrong", node.name());
            };
            let said = error.to_string();
            ensure!(said.contains(THIEF) && said.contains(NODES[1]), "{said}");
            Ok(())
        })?;
    }
    pods::new_ones_talk(&cluster)?;
    drop(thief);
    agents_run(&cluster)?;
    ledger::agree(&cluster)?;
    traffic.arrived_whole()
}

/// The pod ranges of a node.
fn ranges(cluster: &Cluster, node: &str) -> Result<Vec<String>> {
    let node = cluster.json(&["node", node])?;
    let ranges = node["spec"]["podCIDRs"].as_array();
    let texts = ranges.context("no pod ranges")?.iter();
    let texts = texts.filter_map(|range| range.as_str());
    Ok(texts.map(str::to_owned).collect())
}
