//! A node whose own range changes: what lives in the old one keeps it, and an empty one goes.

use super::{FRESH, PODS, TWO, plan, settled, show};
use crate::given::{cluster, host, with};
use insta::assert_snapshot;
use model::state::HostState;

fn before() -> HostState {
    settled(&cluster(PODS, TWO), &host(FRESH))
}

const MOVED: &str = "
    a: 10.128.0.2 / 10.244.7.0/24
    b: 10.128.0.3 / 10.244.1.0/24";

#[test]
fn an_own_range_that_nobody_lives_in_is_left() {
    assert_snapshot!(show(&plan(&cluster(PODS, MOVED), &before())), @r#"
    add address 10.244.7.1/32 dev lo
    replace route 10.244.1.0/24 via 10.128.0.3 dev eth0 src 10.244.7.1
    replace route unreachable 10.244.7.0/24
    delete element local4 { 10.244.0.0/24 }
    add element local4 { 10.244.7.0/24 }
    delete address 10.244.0.1/32 dev lo
    delete route unreachable 10.244.0.0/24
    write conflist {
      "cniVersion": "1.0.0",
      "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
      "name": "podwire",
      "plugins": [
        {
          "type": "podwire",
          "capabilities": {"bandwidth": true, "ipRanges": true, "ips": true, "mac": true, "portMappings": true},
          "ranges": ["10.244.7.0/24"],
          "network": ["10.244.0.0/16"],
          "mtu": 1460
        }
      ]
    }

    peer b: 10.244.1.0/24 direct via 10.128.0.3 dev eth0
    "#);
}

#[test]
fn an_own_range_that_a_pod_lives_in_is_served_on() {
    let have = with(before(), "inhabited 10.244.0.0/24");
    assert_snapshot!(show(&plan(&cluster(PODS, MOVED), &have)), @r#"
    add address 10.244.7.1/32 dev lo
    replace route 10.244.1.0/24 via 10.128.0.3 dev eth0 src 10.244.7.1
    replace route unreachable 10.244.7.0/24
    add element local4 { 10.244.7.0/24 }
    write conflist {
      "cniVersion": "1.0.0",
      "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
      "name": "podwire",
      "plugins": [
        {
          "type": "podwire",
          "capabilities": {"bandwidth": true, "ipRanges": true, "ips": true, "mac": true, "portMappings": true},
          "ranges": ["10.244.7.0/24"],
          "network": ["10.244.0.0/16"],
          "mtu": 1460
        }
      ]
    }

    peer b: 10.244.1.0/24 direct via 10.128.0.3 dev eth0
    "#);
}

#[test]
fn pods_of_the_network_in_a_range_that_is_not_the_nodes_any_more_are_named() {
    let said = |nodes: &str, what: &str| {
        let plan = plan(&cluster(PODS, nodes), &with(before(), what));
        let lines = plan
            .findings
            .iter()
            .map(|finding| format!("{}\n{}", finding.what, finding.hint));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(said(MOVED, "peopled 10.244.0.0/24"), @r"
    pods have addresses of 10.244.0.0/24, which the cluster does not know as this node's: other nodes do not reach them
    delete these pods, so that new ones get an address of the node's range; podwire status lists them
    ");
    assert_eq!(
        said(MOVED, "inhabited 10.244.0.0/24"),
        "",
        "of another network"
    );
    let wider = MOVED.replace("10.244.7.0/24", "10.244.0.0/23");
    let wider = wider.replace("10.244.1.0/24", "10.244.2.0/24");
    assert_eq!(said(&wider, "peopled 10.244.0.0/24"), "", "still reached");
    let waiting = MOVED.replace("10.244.7.0/24", "");
    assert_eq!(
        said(&waiting, "peopled 10.244.0.0/24"),
        "",
        "may get it again"
    );
}

#[test]
fn an_old_range_outside_of_the_network_stays_a_pod_range_while_it_is_lived_in() {
    let have = with(before(), "inhabited 10.244.0.0/24");
    let elsewhere = cluster(
        "10.9.0.0/16",
        "a: 10.128.0.2 / 10.9.0.0/24
         b: 10.128.0.3 / 10.9.1.0/24",
    );
    assert_snapshot!(show(&plan(&elsewhere, &have)), @r#"
    add address 10.9.0.1/32 dev lo
    replace route unreachable 10.9.0.0/24
    replace route 10.9.1.0/24 via 10.128.0.3 dev eth0 src 10.9.0.1
    delete route 10.244.1.0/24 via 10.128.0.3 dev eth0 src 10.244.0.1
    delete element pods4 { 10.244.0.0/16 }
    add element pods4 { 10.9.0.0/16, 10.244.0.0/24 }
    add element local4 { 10.9.0.0/24 }
    write conflist {
      "cniVersion": "1.0.0",
      "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
      "name": "podwire",
      "plugins": [
        {
          "type": "podwire",
          "capabilities": {"bandwidth": true, "ipRanges": true, "ips": true, "mac": true, "portMappings": true},
          "ranges": ["10.9.0.0/24"],
          "network": ["10.9.0.0/16", "10.244.0.0/24"],
          "mtu": 1460
        }
      ]
    }

    peer b: 10.9.1.0/24 direct via 10.128.0.3 dev eth0
    "#);
}

#[test]
fn a_range_that_becomes_narrower_keeps_its_first_address() {
    let narrower = cluster(
        PODS,
        "a: 10.128.0.2 / 10.244.0.0/25
         b: 10.128.0.3 / 10.244.1.0/24",
    );
    let have = before();
    assert_snapshot!(show(&plan(&narrower, &have)), @r#"
    replace route unreachable 10.244.0.0/25
    delete element local4 { 10.244.0.0/24 }
    add element local4 { 10.244.0.0/25 }
    delete route unreachable 10.244.0.0/24
    write conflist {
      "cniVersion": "1.0.0",
      "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
      "name": "podwire",
      "plugins": [
        {
          "type": "podwire",
          "capabilities": {"bandwidth": true, "ipRanges": true, "ips": true, "mac": true, "portMappings": true},
          "ranges": ["10.244.0.0/25"],
          "network": ["10.244.0.0/16"],
          "mtu": 1460
        }
      ]
    }

    peer b: 10.244.1.0/24 direct via 10.128.0.3 dev eth0
    "#);
    assert_snapshot!(show(&plan(&narrower, &settled(&narrower, &have))), @"
    nothing to do
    peer b: 10.244.1.0/24 direct via 10.128.0.3 dev eth0
    ");
}

#[test]
fn an_old_range_may_be_given_to_another_node() {
    let given = cluster(
        PODS,
        "a: 10.128.0.2 / 10.244.7.0/24
         b: 10.128.0.3 / 10.244.0.0/24",
    );
    assert_snapshot!(show(&plan(&given, &before())), @r#"
    add address 10.244.7.1/32 dev lo
    replace route 10.244.0.0/24 via 10.128.0.3 dev eth0 src 10.244.7.1
    replace route unreachable 10.244.7.0/24
    delete route 10.244.1.0/24 via 10.128.0.3 dev eth0 src 10.244.0.1
    delete element local4 { 10.244.0.0/24 }
    add element local4 { 10.244.7.0/24 }
    delete address 10.244.0.1/32 dev lo
    delete route unreachable 10.244.0.0/24
    write conflist {
      "cniVersion": "1.0.0",
      "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
      "name": "podwire",
      "plugins": [
        {
          "type": "podwire",
          "capabilities": {"bandwidth": true, "ipRanges": true, "ips": true, "mac": true, "portMappings": true},
          "ranges": ["10.244.7.0/24"],
          "network": ["10.244.0.0/16"],
          "mtu": 1460
        }
      ]
    }

    peer b: 10.244.0.0/24 direct via 10.128.0.3 dev eth0
    "#);
}

#[test]
fn a_node_without_a_range_gets_no_conflist() {
    let none = cluster(PODS, "a: 10.128.0.2 / ");
    assert_snapshot!(show(&plan(&none, &host(FRESH))), @"put table inet podwire version CURRENT pods4 { 10.244.0.0/16 } nodes4 { 10.128.0.2/32 }");
}
