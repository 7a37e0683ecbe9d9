//! Sysctls: strict filtering and router advertisements on the links between the nodes.

use super::{FRESH, PODS, TWO, plan};
use crate::given::{cluster, host, name, with};
use insta::assert_snapshot;
use model::change::Change;
use model::cluster::Cluster;

/// The sysctls that are set, in their order, and the findings.
fn sysctls(cluster: &Cluster, more: &str) -> String {
    let plan = plan(cluster, &with(host(FRESH), more));
    let mut text = String::new();
    for change in &plan.changes {
        if let Change::SetSysctl(sysctl) = change {
            text += &format!("{sysctl}\n");
        }
    }
    for finding in &plan.findings {
        text += &format!("finding: {finding}\n");
    }
    text
}

fn two() -> Cluster {
    cluster(PODS, TWO)
}

fn both() -> Cluster {
    cluster(
        "",
        "a: 10.128.0.2 / 10.244.0.0/24 fd00:10:244::/64
         b: 10.128.0.3 / 10.244.1.0/24",
    )
}

#[test]
fn a_strict_link_is_made_loose() {
    assert_snapshot!(sysctls(&two(), "sysctl ipv4/conf/eth0/rp_filter 1"), @"
    sysctl net/ipv4/conf/eth0/rp_filter = 2
    sysctl net/ipv4/ip_forward = 1
    ");
}

#[test]
fn strict_for_all_is_undercut_on_the_link_and_not_lowered() {
    assert_snapshot!(sysctls(&two(), "sysctl ipv4/conf/all/rp_filter 1"), @"
    sysctl net/ipv4/conf/eth0/rp_filter = 2
    sysctl net/ipv4/ip_forward = 1
    ");
}

#[test]
fn loose_for_all_is_loose_enough() {
    let more = "sysctl ipv4/conf/all/rp_filter 2
                sysctl ipv4/conf/eth0/rp_filter 1";
    assert_snapshot!(sysctls(&two(), more), @"sysctl net/ipv4/ip_forward = 1");
}

#[test]
fn advertisements_are_still_accepted_before_ipv6_is_forwarded() {
    assert_snapshot!(sysctls(&both(), "sysctl ipv6/conf/eth0/accept_ra 1"), @"
    sysctl net/ipv6/conf/eth0/accept_ra = 2
    sysctl net/ipv4/ip_forward = 1
    sysctl net/ipv6/conf/all/forwarding = 1
    ");
}

#[test]
fn a_link_that_has_a_route_by_advertisement_keeps_it_wherever_it_leads() {
    let more = "link eth7 mtu 1500
                advertised eth7
                sysctl ipv6/conf/eth7/accept_ra 1";
    assert_snapshot!(sysctls(&both(), more), @"
    sysctl net/ipv6/conf/eth7/accept_ra = 2
    sysctl net/ipv4/ip_forward = 1
    sysctl net/ipv6/conf/all/forwarding = 1
    ");
    assert_snapshot!(sysctls(&two(), more), @"sysctl net/ipv4/ip_forward = 1");
    let asked = plan::node::sysctls(&both(), &name("a"), &with(host(FRESH), more));
    assert!(asked.contains(&"ipv6/conf/eth7/accept_ra".into()));
    assert!(!asked.contains(&"ipv4/conf/eth7/rp_filter".into()));
}

#[test]
fn advertisements_that_the_kernel_does_not_handle_stay_unhandled() {
    assert_snapshot!(sysctls(&both(), "sysctl ipv6/conf/eth0/accept_ra 0"), @"
    sysctl net/ipv4/ip_forward = 1
    sysctl net/ipv6/conf/all/forwarding = 1
    ");
}

#[test]
fn without_an_ipv6_range_nothing_of_ipv6_is_touched() {
    assert_snapshot!(sysctls(&two(), "sysctl ipv6/conf/eth0/accept_ra 1"), @"sysctl net/ipv4/ip_forward = 1");
}

#[test]
fn a_kernel_without_ipv6_is_named_where_a_range_needs_it() {
    let mut have = host(FRESH);
    have.sysctls.retain(|key, _| !key.starts_with("ipv6"));
    let findings = plan(&both(), &have).findings;
    assert_snapshot!(findings.first().expect("a finding"), @"the kernel has no net/ipv6/conf/all/forwarding, but the node has a range of that family; take the range away, or boot a kernel with that protocol");
}

#[test]
fn only_the_links_between_the_nodes_are_asked_for() {
    let more = "address 192.0.2.1/24 dev eth9
                link eth9 mtu 9000
                lookup 10.128.0.4 via 10.128.0.1 dev bond0.7
                lookup 10.128.0.5 dev lo";
    let asked = plan::node::sysctls(&two(), &name("a"), &with(host(FRESH), more));
    assert_snapshot!(asked.join("\n"), @"
    ipv4/ip_forward
    ipv6/conf/all/forwarding
    ipv4/conf/all/rp_filter
    ipv4/conf/bond0.7/rp_filter
    ipv6/conf/bond0.7/accept_ra
    ipv4/conf/eth0/rp_filter
    ipv6/conf/eth0/accept_ra
    ");
}

#[test]
fn the_addresses_of_all_peers_are_looked_up() {
    let three = cluster(
        "",
        "a: 10.128.0.2 / 10.244.0.0/24
         b: 10.128.0.3 fd00:aa::3 / 10.244.1.0/24
         c: 10.128.0.4 / 10.244.2.0/24",
    );
    assert_snapshot!(format!("{:?}", plan::node::lookups(&three, &name("a"))), @"[10.128.0.3, fd00:aa::3, 10.128.0.4]");
}
