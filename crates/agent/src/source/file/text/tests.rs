//! Files that people write, and what they are told.

use super::*;

const SOUND: &str = r#"
prefixes = ["10.244.0.0/16", "fd00:10:244::/56"]

[[node]]
name = "k8s-master"
addresses = ["10.128.0.2", "fd00:10:128::2"]
ranges = ["10.244.0.0/24", "fd00:10:244::/64"]

[[node]]
name = "k8s-worker"
addresses = ["10.128.0.3", "fd00:10:128::3"]
ranges = ["10.244.1.0/24", "fd00:10:244:1::/64"]
"#;

fn own() -> NodeName {
    NodeName::new("k8s-master").unwrap()
}

fn told(text: &str) -> Vec<String> {
    let problems = read(text, &own()).expect_err("the file is wrong");
    problems
        .iter()
        .map(|problem| format!("nodes.toml:{problem}"))
        .collect()
}

#[test]
fn a_sound_file_is_a_cluster() {
    let cluster = read(SOUND, &own()).unwrap();
    assert_eq!(cluster.network.as_str(), "podwire");
    assert_eq!(cluster.prefixes.len(), 2);
    let worker = &cluster.nodes[&NodeName::new("k8s-worker").unwrap()];
    assert_eq!(worker.ranges[1].to_string(), "fd00:10:244:1::/64");
    assert_eq!(worker.addresses[0].to_string(), "10.128.0.3");
}

#[test]
fn network_and_prefixes_are_optional() {
    let text = "network = \"mynet\"\nnode = [{ name = \"k8s-master\", addresses = [\"10.0.0.1\"], ranges = [\"10.1.0.0/24\"] }]\n";
    let cluster = read(text, &own()).unwrap();
    assert_eq!(cluster.network.as_str(), "mynet");
    assert!(cluster.prefixes.is_empty());
}

#[test]
fn all_errors_are_told_at_once_each_with_its_line() {
    let text = r#"network = "my net"
prefixes = ["10.244.0.0/16", 7]
mtu = 1400

[[node]]
name = "k8s-master"
addresses = ["10.128.0.300", "127.0.0.1"]
ranges = ["10.244.0.1/24"]

[[node]]
nmae = "k8s-worker"
addresses = "10.128.0.3"
ranges = [
  "10.244.1.0/24",
  "10.244.2.0/31",
  "ten",
]

[[node]]
name = "k8s-master"
addresses = []
"#;
    assert_eq!(
        told(text),
        [
            "nodes.toml:1: network \"my net\": it holds ' ', which is not allowed there",
            "nodes.toml:2: prefix is a string, not an integer",
            "nodes.toml:3: unknown key \"mtu\"; keys are network, prefixes, node",
            "nodes.toml:7: address \"10.128.0.300\" is no IP address such as 10.128.0.2",
            "nodes.toml:7: address 127.0.0.1 leads to no node: it is loopback, link-local, multicast or unspecified",
            "nodes.toml:8: range 10.244.0.1/24 has host bits set; the prefix would be 10.244.0.0/24",
            "nodes.toml:10: this node has no name",
            "nodes.toml:11: unknown key \"nmae\"; did you mean \"name\"?",
            "nodes.toml:12: addresses is a list of strings, not a string",
            "nodes.toml:15: range 10.244.2.0/31 is too small: network, gateway and broadcast leave no address for a pod; a range is at least a /30",
            "nodes.toml:16: range \"ten\" is no prefix such as 10.244.0.0/24",
            "nodes.toml:20: node k8s-master is listed twice; first in line 6",
        ]
    );
}

#[test]
fn what_is_wrong_between_nodes_has_the_line_of_the_range_or_the_address() {
    let text = r#"prefixes = ["10.244.0.0/16"]
[[node]]
name = "a"
addresses = ["10.128.0.2"]
ranges = ["10.244.0.0/23"]
[[node]]
name = "b"
addresses = [
  "10.128.0.2",
  "10.244.0.9",
]
ranges = [
  "10.244.1.0/24",
  "10.9.0.0/24",
]
[[node]]
name = "c"
"#;
    assert_eq!(
        told(text),
        [
            "nodes.toml: does not list node k8s-master, which --node names; it lists a, b, c",
            "nodes.toml:9: address 10.128.0.2 belongs to node a and to node b",
            "nodes.toml:10: address 10.244.0.9 of node b lies in range 10.244.0.0/23 of node a",
            "nodes.toml:13: range 10.244.0.0/23 of node a overlaps range 10.244.1.0/24 of node b",
            "nodes.toml:14: range 10.9.0.0/24 of node b lies outside of the cluster's network",
            "nodes.toml:17: node c has no address",
            "nodes.toml:17: node c has no range",
        ]
    );
}

#[test]
fn a_file_without_nodes_is_wrong() {
    let none = "nodes.toml: lists no node; a node begins with [[node]]";
    assert_eq!(told(""), [none]);
    assert_eq!(
        told("node = []"),
        ["nodes.toml:1: there is no node; a node begins with [[node]]"]
    );
    assert_eq!(
        told("[node]\nname = \"a\"\n"),
        ["nodes.toml:1: node is a list of tables, each with the head [[node]], not a table"]
    );
}

#[test]
fn an_error_of_syntax_has_its_line() {
    let told = told("network = \"a\"\n[[node]]\nname = \"a\nranges = []\n");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("nodes.toml:3: "), "{told:?}");
    assert!(told[0].len() > "nodes.toml:3: ".len());
}
