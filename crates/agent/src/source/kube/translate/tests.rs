//! Nodes as an API server sends them, and the cluster that they are.

use super::super::known::Nodes;
use super::*;
use serde_json::{Value, json};

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn settings(prefixes: &[&str]) -> Settings {
    Settings {
        own: name("master"),
        network: NetworkName::new("podwire").unwrap(),
        prefixes: prefixes.iter().map(|p| p.parse().unwrap()).collect(),
    }
}

/// A Node; `second` of its creation.
fn node(name: &str, second: u32, cidrs: &[&str], addresses: &[&str]) -> Value {
    let internal = addresses
        .iter()
        .map(|a| json!({"type": "InternalIP", "address": a}));
    let mut addresses: Vec<Value> = internal.collect();
    addresses.push(json!({"type": "Hostname", "address": name}));
    let mut node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "resourceVersion": "7",
            "creationTimestamp": format!("2026-11-24T09:00:{second:02}Z"),
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
        },
        "spec": {"taints": []},
        "status": {"addresses": addresses, "images": [{"names": ["x"], "sizeBytes": 1}]},
    });
    if let Some(first) = cidrs.first() {
        node["spec"]["podCIDR"] = json!(first);
        node["spec"]["podCIDRs"] = json!(cidrs);
    }
    node
}

fn nodes(list: &[Value]) -> Nodes {
    let mut nodes = Nodes::default();
    for node in list {
        nodes.put(&serde_json::from_value(node.clone()).unwrap());
    }
    nodes
}

fn translated(list: &[Value]) -> (Cluster, Vec<String>) {
    let (cluster, findings) = cluster(&nodes(list).seen, &settings(&[]));
    (cluster, findings.iter().map(|f| f.what.clone()).collect())
}

fn ranges(cluster: &Cluster, node: &str) -> Vec<String> {
    let node = &cluster.nodes[&name(node)];
    node.ranges.iter().map(ToString::to_string).collect()
}

const MASTER: (&[&str], &[&str]) = (&["10.244.0.0/24"], &["10.128.0.2"]);

fn master() -> Value {
    node("master", 0, MASTER.0, MASTER.1)
}

#[test]
fn ranges_of_both_families_keep_the_apis_order() {
    let (four, six) = ("10.244.1.0/24", "fd00:10:244:1::/64");
    for cidrs in [[four, six], [six, four]] {
        let addresses = ["fd00:10:128::3", "10.128.0.3"];
        let (cluster, told) = translated(&[master(), node("worker", 1, &cidrs, &addresses)]);
        assert_eq!(told, [""; 0]);
        assert_eq!(ranges(&cluster, "worker"), cidrs);
        let worker = &cluster.nodes[&name("worker")];
        assert_eq!(
            worker.address(Family::V4).unwrap().to_string(),
            "10.128.0.3"
        );
        assert_eq!(
            worker.address(Family::V6).unwrap().to_string(),
            "fd00:10:128::3"
        );
    }
}

#[test]
fn a_node_from_before_two_families_has_its_one_range() {
    let mut old = master();
    old["spec"]["podCIDRs"] = Value::Null;
    let (cluster, told) = translated(&[old]);
    assert_eq!(told, [""; 0]);
    assert_eq!(ranges(&cluster, "master"), ["10.244.0.0/24"]);
}

#[test]
fn this_node_without_a_range_waits_and_says_so() {
    let (cluster, told) = translated(&[node("master", 0, &[], MASTER.1)]);
    assert_eq!(told, ["node master has no podCIDR yet"]);
    assert_eq!(ranges(&cluster, "master"), [""; 0]);
}

#[test]
fn others_without_a_range_are_one_sentence() {
    let mut list = vec![master()];
    list.extend((0..8).map(|i| node(&format!("w{i}"), 1, &[], &[])));
    let (_, told) = translated(&list);
    assert_eq!(
        told,
        ["nodes without podCIDR: w0, w1, w2, w3, w4 and 3 more"]
    );
}

#[test]
fn a_cluster_that_does_not_know_this_node_says_so() {
    let (cluster, told) = translated(&[node("worker", 1, &["10.244.1.0/24"], &["10.128.0.3"])]);
    assert_eq!(told, ["the API server knows no node master"]);
    assert_eq!(cluster.nodes.len(), 1);
}

#[test]
fn of_two_overlapping_ranges_the_older_node_keeps_its_own() {
    let young = node("a-young", 9, &["10.244.0.0/25"], &["10.128.0.4"]);
    let (cluster, told) = translated(&[young, master()]);
    assert_eq!(
        told,
        [
            "range 10.244.0.0/25 of node a-young overlaps range 10.244.0.0/24 of node master, which is older and keeps it"
        ]
    );
    assert_eq!(ranges(&cluster, "master"), ["10.244.0.0/24"]);
    assert_eq!(ranges(&cluster, "a-young"), [""; 0]);
}

#[test]
fn an_overlap_is_seen_from_either_side_and_only_where_there_is_one() {
    let wide = node("wide", 2, &["10.244.0.0/16"], &["10.128.0.9"]);
    let narrow = node("narrow", 1, &["10.244.255.0/24"], &["10.128.0.8"]);
    let beside = node("beside", 3, &["10.243.255.0/24"], &["10.128.0.7"]);
    let below = node("below", 4, &["10.244.7.0/24"], &["10.128.0.6"]);
    let own = node("master", 0, &["10.1.0.0/24"], MASTER.1);
    let (cluster, told) = translated(&[own, wide, narrow, beside, below]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("range 10.244.0.0/16 of node wide overlaps range 10.244.255.0/24"));
    assert_eq!(ranges(&cluster, "below"), ["10.244.7.0/24"]);
    assert_eq!(ranges(&cluster, "beside"), ["10.243.255.0/24"]);
}

#[test]
fn this_nodes_own_lost_range_is_the_first_finding() {
    let old = node("old", 0, &["10.244.0.0/23"], &["10.128.0.4"]);
    let own = node("master", 5, &["10.244.1.0/24"], MASTER.1);
    let (_, told) = translated(&[own, old, node("bare", 1, &[], &[])]);
    assert!(told[0].starts_with("range 10.244.1.0/24 of node master overlaps"));
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn an_address_that_changes_is_news_and_a_heartbeat_is_not() {
    let mut nodes = nodes(&[master()]);
    let mut put = |node: Value| nodes.put(&serde_json::from_value(node).unwrap());
    let mut beat = master();
    beat["metadata"]["resourceVersion"] = json!("8");
    beat["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    assert!(!put(beat));
    assert!(put(node("master", 0, MASTER.0, &["10.128.0.77"])));
    let (cluster, _) = cluster(&nodes.seen, &settings(&[]));
    let address = cluster.nodes[&name("master")].address(Family::V4);
    assert_eq!(address.unwrap().to_string(), "10.128.0.77");
}

#[test]
fn a_node_that_is_gone_is_gone() {
    let worker = node("worker", 1, &["10.244.1.0/24"], &["10.128.0.3"]);
    let mut nodes = nodes(&[master(), worker.clone()]);
    let worker = serde_json::from_value(worker).unwrap();
    assert!(nodes.remove(&worker));
    assert!(!nodes.remove(&worker));
    let (cluster, _) = cluster(&nodes.seen, &settings(&[]));
    assert_eq!(cluster.nodes.len(), 1);
}

#[test]
fn what_cannot_be_used_is_left_out_and_said() {
    let odd = node(
        "odd",
        1,
        &["10.244.1.0/31", "10.244.2.0/24"],
        &["127.0.0.1", "10.128.0.3", "ten"],
    );
    let (cluster, told) = translated(&[master(), odd]);
    assert_eq!(ranges(&cluster, "odd"), ["10.244.2.0/24"]);
    assert_eq!(cluster.nodes[&name("odd")].addresses.len(), 1);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[1].starts_with("node odd: InternalIP \"127.0.0.1\""));
}

#[test]
fn a_range_outside_of_the_prefixes_is_said_and_kept() {
    let nodes = nodes(&[master()]);
    let (cluster, findings) = cluster(&nodes.seen, &settings(&["10.9.0.0/16"]));
    assert_eq!(ranges(&cluster, "master"), ["10.244.0.0/24"]);
    assert_eq!(
        findings[0].what,
        "range 10.244.0.0/24 of node master lies outside of the cluster's network"
    );
}

#[test]
fn without_prefixes_the_ranges_are_put_together_as_far_as_they_hold_nothing_else() {
    let given = |i: usize| format!("10.244.{i}.0/24");
    let list: Vec<Value> = (0..500)
        .map(|i| {
            node(
                &format!("n{i:03}"),
                1,
                &[&format!("10.{}.{}.0/24", 244 + i / 256, i % 256)],
                &[],
            )
        })
        .chain([node("far", 2, &["192.168.7.0/24", "fd00:7::/64"], &[])])
        .collect();
    let told = |list: &[Value]| {
        let (cluster, _) = translated(list);
        let prefixes: Vec<String> = cluster.prefixes.iter().map(ToString::to_string).collect();
        prefixes.join(" ")
    };
    assert_eq!(
        told(&list),
        "10.244.0.0/16 10.245.0.0/17 10.245.128.0/18 10.245.192.0/19 10.245.224.0/20 10.245.240.0/22 192.168.7.0/24 fd00:7::/64"
    );
    let two = [
        node("a", 1, &[&given(0)], &[]),
        node("b", 1, &[&given(2)], &[]),
    ];
    assert_eq!(told(&two), "10.244.0.0/24 10.244.2.0/24");
}

#[test]
fn a_cluster_that_is_wrong_everywhere_does_not_fill_the_report() {
    let mut list = vec![master()];
    list.extend((0..100).map(|i| node(&format!("w{i}"), 1, &["10.244.0.0/24"], &[])));
    let (_, told) = translated(&list);
    assert_eq!(told.len(), MOST_FINDINGS + 1);
    assert_eq!(
        told[MOST_FINDINGS],
        "80 more things are wrong with other nodes"
    );
}
