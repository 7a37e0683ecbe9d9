//! A node of a cluster: fresh, in order, and as its neighbours come, go and move.

use super::{FRESH, PODS, TWO, plan, settled, show};
use crate::given::{cluster, host, name, with};
use insta::assert_snapshot;

#[test]
fn a_fresh_node_of_two_has_everything_to_do() {
    assert_snapshot!(show(&plan(&cluster(PODS, TWO), &host(FRESH))), @r#"
    set sysctl net/ipv4/ip_forward = 1
    add address 10.244.0.1/32 dev lo
    replace route unreachable 10.244.0.0/24
    replace route 10.244.1.0/24 via 10.128.0.3 dev eth0 src 10.244.0.1
    put table inet podwire version CURRENT pods4 { 10.244.0.0/16 } local4 { 10.244.0.0/24 } nodes4 { 10.128.0.2/32, 10.128.0.3/32 }
    write conflist {
      "cniVersion": "1.0.0",
      "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
      "name": "podwire",
      "plugins": [
        {
          "type": "podwire",
          "capabilities": {"bandwidth": true, "ipRanges": true, "ips": true, "mac": true, "portMappings": true},
          "ranges": ["10.244.0.0/24"],
          "network": ["10.244.0.0/16"],
          "mtu": 1460
        }
      ]
    }

    peer b: 10.244.1.0/24 direct via 10.128.0.3 dev eth0
    "#);
}

#[test]
fn a_node_in_order_has_nothing_to_do() {
    let two = cluster(PODS, TWO);
    assert_snapshot!(show(&plan(&two, &settled(&two, &host(FRESH)))), @"
    nothing to do
    peer b: 10.244.1.0/24 direct via 10.128.0.3 dev eth0
    ");
}

#[test]
fn what_others_have_chained_to_the_plugin_stays_in_the_conflist() {
    let two = cluster(PODS, TWO);
    let mut have = settled(&two, &host(FRESH));
    let ours = have.conflist.take().expect("a conflist");
    let mesh = "    },\n    {\"type\": \"mesh\"}\n  ]";
    let chained = ours.replace("    }\n  ]", mesh);
    assert_ne!(chained, ours);
    have.conflist = Some(chained.clone());
    assert_eq!(plan(&two, &have).conflist, None);
    have.conflist = Some(chained.replace("1460", "9000"));
    let Some(model::change::Change::WriteConflist(text)) = plan(&two, &have).conflist else {
        panic!("another MTU");
    };
    assert_snapshot!(text, @r#"
    {
      "cniVersion": "1.0.0",
      "cniVersions": [
        "0.3.1",
        "0.4.0",
        "1.0.0",
        "1.1.0"
      ],
      "name": "podwire",
      "plugins": [
        {
          "capabilities": {
            "bandwidth": true,
            "ipRanges": true,
            "ips": true,
            "mac": true,
            "portMappings": true
          },
          "mtu": 1460,
          "network": [
            "10.244.0.0/16"
          ],
          "ranges": [
            "10.244.0.0/24"
          ],
          "type": "podwire"
        },
        {
          "type": "mesh"
        }
      ]
    }
    "#);
    have.conflist = Some(text);
    assert_eq!(plan(&two, &have).conflist, None);
}

#[test]
fn a_node_of_both_families_has_two_of_everything() {
    let both = cluster(
        "10.244.0.0/16 fd00:10:244::/48",
        "a: 10.128.0.2 fd00:aa::2 / 10.244.0.0/24 fd00:10:244::/64
         b: 10.128.0.3 fd00:aa::3 / 10.244.1.0/24 fd00:10:244:1::/64",
    );
    let have = with(host(FRESH), "lookup fd00:aa::3 dev eth0");
    assert_snapshot!(show(&plan(&both, &have)), @r#"
    set sysctl net/ipv4/ip_forward = 1
    set sysctl net/ipv6/conf/all/forwarding = 1
    add address 10.244.0.1/32 dev lo
    add address fd00:10:244::1/128 dev lo
    replace route unreachable 10.244.0.0/24
    replace route 10.244.1.0/24 via 10.128.0.3 dev eth0 src 10.244.0.1
    replace route unreachable fd00:10:244::/64
    replace route fd00:10:244:1::/64 via fd00:aa::3 dev eth0 src fd00:10:244::1
    put table inet podwire version CURRENT pods4 { 10.244.0.0/16 } pods6 { fd00:10:244::/48 } local4 { 10.244.0.0/24 } local6 { fd00:10:244::/64 } nodes4 { 10.128.0.2/32, 10.128.0.3/32 } nodes6 { fd00:aa::2/128, fd00:aa::3/128 }
    write conflist {
      "cniVersion": "1.0.0",
      "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
      "name": "podwire",
      "plugins": [
        {
          "type": "podwire",
          "capabilities": {"bandwidth": true, "ipRanges": true, "ips": true, "mac": true, "portMappings": true},
          "ranges": ["10.244.0.0/24", "fd00:10:244::/64"],
          "network": ["10.244.0.0/16", "fd00:10:244::/48"],
          "mtu": 1460
        }
      ]
    }

    peer b: 10.244.1.0/24 direct via 10.128.0.3 dev eth0
    peer b: fd00:10:244:1::/64 direct via fd00:aa::3 dev eth0
    "#);
}

#[test]
fn a_node_that_is_not_in_the_cluster_needs_nothing() {
    let plan = plan::node::plan(&cluster(PODS, TWO), &name("c"), &host(FRESH));
    assert_snapshot!(show(&plan), @"nothing to do");
}

#[test]
fn a_node_joins_and_gets_a_route() {
    let before = settled(&cluster(PODS, TWO), &host(FRESH));
    let three = cluster(
        PODS,
        "a: 10.128.0.2 / 10.244.0.0/24
         b: 10.128.0.3 / 10.244.1.0/24
         c: 10.128.0.4 / 10.244.2.0/24",
    );
    let have = with(before, "lookup 10.128.0.4 dev eth0");
    assert_snapshot!(show(&plan(&three, &have)), @"
    replace route 10.244.2.0/24 via 10.128.0.4 dev eth0 src 10.244.0.1
    add element nodes4 { 10.128.0.4/32 }
    peer b: 10.244.1.0/24 direct via 10.128.0.3 dev eth0
    peer c: 10.244.2.0/24 direct via 10.128.0.4 dev eth0
    ");
}

#[test]
fn a_node_leaves_and_its_route_goes() {
    let before = settled(&cluster(PODS, TWO), &host(FRESH));
    let one = cluster(PODS, "a: 10.128.0.2 / 10.244.0.0/24");
    assert_snapshot!(show(&plan(&one, &before)), @"
    delete route 10.244.1.0/24 via 10.128.0.3 dev eth0 src 10.244.0.1
    delete element nodes4 { 10.128.0.3/32 }
    ");
}

#[test]
fn a_peers_range_moves_and_the_new_route_comes_before_the_old_one_goes() {
    let before = settled(&cluster(PODS, TWO), &host(FRESH));
    let moved = cluster(
        PODS,
        "a: 10.128.0.2 / 10.244.0.0/24
         b: 10.128.0.3 / 10.244.9.0/24",
    );
    assert_snapshot!(show(&plan(&moved, &before)), @"
    replace route 10.244.9.0/24 via 10.128.0.3 dev eth0 src 10.244.0.1
    delete route 10.244.1.0/24 via 10.128.0.3 dev eth0 src 10.244.0.1
    peer b: 10.244.9.0/24 direct via 10.128.0.3 dev eth0
    ");
}

#[test]
fn a_peers_address_moves_and_its_route_is_replaced() {
    let before = settled(&cluster(PODS, TWO), &host(FRESH));
    let moved = cluster(
        PODS,
        "a: 10.128.0.2 / 10.244.0.0/24
         b: 10.128.0.9 / 10.244.1.0/24",
    );
    let have = with(before, "lookup 10.128.0.9 dev eth0");
    assert_snapshot!(show(&plan(&moved, &have)), @"
    replace route 10.244.1.0/24 via 10.128.0.9 dev eth0 src 10.244.0.1
    delete element nodes4 { 10.128.0.3/32 }
    add element nodes4 { 10.128.0.9/32 }
    peer b: 10.244.1.0/24 direct via 10.128.0.9 dev eth0
    ");
}

#[test]
fn without_prefixes_the_ranges_themselves_are_the_pods() {
    let have = settled(&cluster("", TWO), &host(FRESH));
    let held = have.table.expect("a table").elements;
    let held: Vec<String> = held
        .iter()
        .flat_map(|(set, elements)| elements.iter().map(move |e| format!("{set} {e}")))
        .collect();
    assert_snapshot!(held.join("\n"), @"
    pods4 10.244.0.0/24
    pods4 10.244.1.0/24
    local4 10.244.0.0/24
    nodes4 10.128.0.2/32
    nodes4 10.128.0.3/32
    ");
}

#[test]
fn a_peer_behind_a_gateway_has_no_way_and_that_is_said() {
    let have = with(host(FRESH), "lookup 10.128.0.3 via 10.128.0.1 dev eth0");
    let two = cluster(PODS, TWO);
    assert_snapshot!(show(&plan(&two, &settled(&two, &have))), @"
    nothing to do
    peer b: 10.244.1.0/24 none
    finding: node b at 10.128.0.3 is behind gateway 10.128.0.1, which knows nothing of range 10.244.1.0/24; put the nodes on one segment; a tunnel between segments is not there yet
    ");
}

#[test]
fn a_peer_without_a_route_has_no_way_and_that_is_said() {
    let mut have = host(FRESH);
    have.lookups.clear();
    let two = cluster(PODS, TWO);
    assert_snapshot!(show(&plan(&two, &settled(&two, &have))), @"
    nothing to do
    peer b: 10.244.1.0/24 none
    finding: no route leads to node b at 10.128.0.3; see: ip route get 10.128.0.3
    ");
}

#[test]
fn a_peer_without_ipv6_has_no_way_to_its_ipv6_range() {
    let mixed = cluster(
        "",
        "a: 10.128.0.2 fd00:aa::2 / 10.244.0.0/24 fd00:10:244::/64
         b: 10.128.0.3 / 10.244.1.0/24 fd00:10:244:1::/64",
    );
    let have = settled(&mixed, &host(FRESH));
    assert_snapshot!(show(&plan(&mixed, &have)), @"
    nothing to do
    peer b: 10.244.1.0/24 direct via 10.128.0.3 dev eth0
    peer b: fd00:10:244:1::/64 none
    finding: node b has no address of the family of its range fd00:10:244:1::/64; give the node an address of that family, or take the range away
    ");
}

#[test]
fn a_peer_whose_address_is_this_nodes_own_has_no_way_and_that_is_said() {
    let have = with(host(FRESH), "lookup 10.128.0.3 dev lo");
    let two = cluster(PODS, TWO);
    assert_snapshot!(show(&plan(&two, &settled(&two, &have))), @r#"
    nothing to do
    peer b: 10.244.1.0/24 none
    finding: address 10.128.0.3 of node b is this node's own; give each node an address of its own; see: ip address show to 10.128.0.3
    "#);
}
