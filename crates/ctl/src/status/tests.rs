//! What people and programs read.

use super::*;
use model::attachment::{Key, Mode, PodAddress};
use model::name::{ContainerId, IfName, NodeName, PodRef};
use model::net::{Route, Target};
use model::state::End;
use model::status::{Path, Peer, Way};
use std::collections::BTreeMap;

fn range(text: &str) -> PodRange {
    PodRange::parse(text).unwrap()
}

fn attachment(container: &str, pod: Option<&str>, addresses: &[(&str, &str)]) -> Attachment {
    Attachment {
        addresses: addresses
            .iter()
            .map(|(ip, of)| PodAddress {
                ip: ip.parse().unwrap(),
                range: range(of),
            })
            .collect(),
        key: Key {
            network: NetworkName::new("podwire").unwrap(),
            container: ContainerId::new(container).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        },
        netns: "/run/netns/x".into(),
        inode: 1,
        standpoint: None,
        mode: Mode::Routed,
        mtu: None,
        mac: None,
        bandwidth: model::bandwidth::Bandwidth::default(),
        pod: pod.map(|name| PodRef {
            namespace: "default".into(),
            name: name.into(),
            uid: String::new(),
        }),
        ports: Vec::new(),
        bridged: None,
        born: 1,
    }
}

fn report() -> Status {
    Status {
        node: NodeName::new("k8s-master").unwrap(),
        network: NetworkName::new("podwire").unwrap(),
        ranges: vec![range("10.244.0.0/24"), range("fd00:10:244::/64")],
        peers: vec![Peer {
            name: NodeName::new("k8s-worker").unwrap(),
            ways: vec![
                Way {
                    range: range("10.244.1.0/24"),
                    path: Path::Direct {
                        via: "10.128.0.3".parse().unwrap(),
                        dev: "eth0".into(),
                    },
                },
                Way {
                    range: range("fd00:10:244:1::/64"),
                    path: Path::None,
                },
            ],
        }],
        table: Some("podwire-0123456789abcdef".into()),
        generation: 7,
        findings: Vec::new(),
        leaks: Vec::new(),
        reclaimed: 0,
        at: 1_795_509_048,
        pid: 17522,
    }
}

fn view(agent: Option<Status>, running: bool, silent: u64) -> View {
    let ranges = ["10.244.0.0/24", "fd00:10:244::/64"];
    let both = [("10.244.0.2", ranges[0]), ("fd00:10:244::2", ranges[1])];
    View {
        findings: findings(agent.as_ref(), running, silent),
        agent,
        running,
        silent,
        absent: None,
        networks: vec![Network {
            name: NetworkName::new("podwire").unwrap(),
            ranges: ranges.iter().map(|text| (range(text), 2)).collect(),
            attachments: vec![
                (attachment("c1", Some("web"), &both), 93_784),
                (
                    attachment(&"0123456789".repeat(6), None, &[("10.244.0.3", ranges[0])]),
                    59,
                ),
            ],
        }],
    }
}

#[test]
fn a_person_sees_a_node_in_order() {
    let text = human(&view(Some(report()), true, 3));
    assert_eq!(
        text,
        "\
node         k8s-master
agent        running, process 17522
table        podwire-0123456789abcdef, ruleset generation 7
peers        k8s-worker  10.244.1.0/24       direct via 10.128.0.3 dev eth0
             k8s-worker  fd00:10:244:1::/64  none

network      podwire
ranges       10.244.0.0/24     2 of 253 used
             fd00:10:244::/64  2 of 2^64-2 used
attachments  2
  POD                   INTERFACE  ADDRESSES                  HOST INTERFACE   AGE
  default/web           eth0       10.244.0.2 fd00:10:244::2  HOST-1  1d2h
  01234567890123456789  eth0       10.244.0.3                 HOST-2  59s

nothing is wrong
"
        .replace("HOST-1", &attachment("c1", None, &[]).key.host_interface())
        .replace(
            "HOST-2",
            &attachment(&"0123456789".repeat(6), None, &[])
                .key
                .host_interface()
        )
    );
}

#[test]
fn a_dead_agent_is_told_with_the_command_that_starts_it() {
    let text = human(&view(Some(report()), false, 3700));
    assert!(
        text.contains(
            "
agent        not running; it reported 1h1m ago
table        podwire-0123456789abcdef, ruleset generation 7, as of 1h1m ago
peers        as of 1h1m ago
             k8s-worker  10.244.1.0/24       direct via 10.128.0.3 dev eth0
"
        ),
        "{text}"
    );
    assert!(
        text.ends_with(
            "
wrong: the agent is not running: pods start and talk, but nothing is repaired
       start it: podwired --nodes <file> --node k8s-master
"
        ),
        "{text}"
    );
}

#[test]
fn an_agent_that_hangs_is_told() {
    let found = findings(Some(&report()), true, 91);
    assert_eq!(found[0].what, "the agent has not reported for 91 s");
    assert!(found[0].hint.ends_with("kill 17522"));
}

#[test]
fn without_an_agent_the_stores_networks_are_shown_and_nothing_is_wrong() {
    let text = human(&view(None, false, 0));
    assert!(
        text.starts_with("agent        none has run here\n\nnetwork      podwire\n"),
        "{text}"
    );
    assert!(text.ends_with("\nnothing is wrong\n"), "{text}");
}

#[test]
fn the_object_has_the_promised_keys() {
    let object: serde_json::Value =
        serde_json::from_str(&json(&view(Some(report()), true, 3))).unwrap();
    assert_eq!(object["agent_running"], true);
    assert_eq!(object["agent"]["generation"], 7);
    assert_eq!(
        object["agent"]["peers"][0]["ways"][0]["path"]["direct"]["dev"],
        "eth0"
    );
    assert_eq!(object["findings"].as_array().unwrap().len(), 0);
    let network = &object["networks"][0];
    assert_eq!(network["name"], "podwire");
    assert_eq!(
        network["ranges"][0],
        serde_json::json!({ "range": "10.244.0.0/24", "used": 2, "total": 253 })
    );
    let first = &network["attachments"][0];
    assert_eq!(first["pod"]["name"], "web");
    assert_eq!(first["addresses"][1], "fd00:10:244::2");
    assert_eq!(first["bridge"], serde_json::Value::Null);
    assert_eq!(first["age_seconds"], 93_784);
}

#[test]
fn the_end_of_a_pod_is_told_in_one_sentence() {
    let pod = attachment("c1", Some("web"), &[("10.244.0.2", "10.244.0.0/24")]);
    let name = IfName::new(&pod.key.host_interface()).unwrap();
    let whole = End {
        up: true,
        alias: "default/web".into(),
        bridge: None,
        addresses: BTreeSet::new(),
        routes: BTreeSet::from([Route {
            dst: "10.244.0.2/32".parse().unwrap(),
            target: Target::Dev(name.clone()),
            src: Some("10.244.0.1".parse().unwrap()),
        }]),
        neighbours: BTreeMap::from([("10.244.0.2".parse().unwrap(), pod.pod_mac())]),
    };
    let what = |pod: &Attachment, end: Option<&End>| {
        ends::finding(pod, &name, end).map(|finding| finding.what)
    };
    assert_eq!(what(&pod, Some(&whole)), None);

    let gone = ends::finding(&pod, &name, None).unwrap();
    let expected = format!("pod default/web: link {name} is gone from the node");
    assert_eq!(gone.what, expected);
    assert_eq!(
        gone.hint,
        "delete the pod so that it is made anew: kubectl delete pod -n default web"
    );

    let mut down = whole.clone();
    down.up = false;
    down.routes.clear();
    let expected = format!("pod default/web: link {name} is down on the node");
    assert_eq!(what(&pod, Some(&down)), Some(expected));

    let bare = Attachment { pod: None, ..pod };
    let mut lacking = whole;
    lacking.alias = bare.alias();
    lacking.routes.clear();
    lacking.neighbours.clear();
    let told = what(&bare, Some(&lacking)).unwrap();
    assert!(
        told.starts_with("container c1: the node lacks route 10.244.0.2/32")
            && told.contains("; the node lacks neighbour 10.244.0.2"),
        "{told}"
    );
}

#[test]
fn a_node_without_any_state_is_no_error() {
    let view = gather(std::path::Path::new("/nonexistent/podwire")).unwrap();
    assert!(view.agent.is_none() && view.networks.is_empty() && view.findings.is_empty());
    assert_eq!(
        human(&view),
        "agent        none has run here\nnetwork      none: no pod has been attached here\n\nnothing is known: there is no /nonexistent/podwire\n"
    );
}
