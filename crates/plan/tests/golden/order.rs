//! A node without an agent: what the plugin itself puts in order.

use super::{FRESH, PODS, TWO, changes, settled};
use crate::given::{cluster, host, with};
use crate::kernel::apply;
use insta::assert_snapshot;
use model::cni::{NetConf, Valid};
use model::state::HostState;
use plan::order::{By, mark, order};

/// What the plugin reads of a configuration of type `bash-cni`.
fn conf(network: &str, subnet: &str, bridge: &str) -> NetConf {
    let text = format!(
        r#"{{"cniVersion":"0.3.1","name":"mynet","type":"bash-cni","network":"{network}","subnet":"{subnet}","bridge":"{bridge}"}}"#
    );
    let valid = Valid::read(&text, "bash-cni").expect("a configuration");
    valid
        .network(&model::cni::Args::default())
        .expect("a network")
}

fn demo() -> NetConf {
    conf("10.240.0.0/16", "10.240.0.0/24", "cni0")
}

fn fresh() -> HostState {
    with(
        host("sysctl ipv4/ip_forward 0"),
        "chain ip filter FORWARD on forward drop
         20 other jump DOCKER-USER",
    )
}

fn after(conf: &NetConf, mut have: HostState) -> HostState {
    apply(&order(conf, By::Alone, &have), &mut have);
    have
}

#[test]
fn a_fresh_node_gets_forwarding_the_table_and_a_way_through_docker() {
    assert_snapshot!(changes(&order(&demo(), By::Alone, &fresh())), @r#"
    set sysctl net/ipv4/ip_forward = 1
    put table inet podwire version CURRENT pods4 { 10.240.0.0/16 } local4 { 10.240.0.0/24 } bridges { "cni0" }
    add rule ip filter FORWARD ip saddr 10.240.0.0/16 accept comment "podwire: pods"
    add rule ip filter FORWARD ip daddr 10.240.0.0/16 accept comment "podwire: pods"
    "#);
}

#[test]
fn a_node_in_order_is_left_alone() {
    assert_snapshot!(changes(&order(&demo(), By::Alone, &after(&demo(), fresh()))), @"nothing to do");
}

#[test]
fn a_second_network_is_added_to_the_first() {
    let second = conf("10.9.0.0/16", "10.9.3.0/24", "cni1");
    let have = after(&demo(), fresh());
    assert_snapshot!(changes(&order(&second, By::Alone, &have)), @r#"
    add element pods4 { 10.9.0.0/16 }
    add element local4 { 10.9.3.0/24 }
    add element bridges { "cni1" }
    delete rule ip filter FORWARD handle 21
    delete rule ip filter FORWARD handle 22
    add rule ip filter FORWARD ip saddr 10.9.0.0/16 accept comment "podwire: pods"
    add rule ip filter FORWARD ip daddr 10.9.0.0/16 accept comment "podwire: pods"
    add rule ip filter FORWARD ip saddr 10.240.0.0/16 accept comment "podwire: pods"
    add rule ip filter FORWARD ip daddr 10.240.0.0/16 accept comment "podwire: pods"
    "#);
    let both = after(&second, have);
    assert_snapshot!(changes(&order(&demo(), By::Alone, &both)), @"nothing to do");
}

#[test]
fn a_table_of_another_version_is_put_anew_with_what_it_held() {
    let mut have = after(&demo(), fresh());
    have.table.as_mut().expect("a table").version = "podwire-old".into();
    let second = conf("10.9.0.0/16", "10.9.3.0/24", "cni1");
    assert_snapshot!(changes(&order(&second, By::Alone, &have)), @r#"
    put table inet podwire version CURRENT pods4 { 10.9.0.0/16, 10.240.0.0/16 } local4 { 10.9.3.0/24, 10.240.0.0/24 } bridges { "cni0", "cni1" }
    delete rule ip filter FORWARD handle 21
    delete rule ip filter FORWARD handle 22
    add rule ip filter FORWARD ip saddr 10.9.0.0/16 accept comment "podwire: pods"
    add rule ip filter FORWARD ip daddr 10.9.0.0/16 accept comment "podwire: pods"
    add rule ip filter FORWARD ip saddr 10.240.0.0/16 accept comment "podwire: pods"
    add rule ip filter FORWARD ip daddr 10.240.0.0/16 accept comment "podwire: pods"
    "#);
}

#[test]
fn an_agents_narrower_prefixes_become_one_that_holds_them() {
    // The agent was told no prefix for the whole cluster: its table names each node's range.
    let have = settled(&cluster("", TWO), &host(FRESH));
    let wider = conf(PODS, "10.244.0.0/24", "cni0");
    assert_snapshot!(changes(&order(&wider, By::Alone, &have)), @r#"
    delete element pods4 { 10.244.0.0/24, 10.244.1.0/24 }
    add element pods4 { 10.244.0.0/16 }
    add element bridges { "cni0" }
    "#);
}

#[test]
fn an_agents_wider_prefix_is_kept() {
    let have = settled(&cluster("10.0.0.0/8", TWO), &host(FRESH));
    assert_snapshot!(changes(&order(&conf(PODS, "10.244.0.0/24", "cni0"), By::Alone, &have)), @r#"add element bridges { "cni0" }"#);
}

#[test]
fn beside_an_agent_only_the_own_range_and_bridge_are_added() {
    // The agent was told no prefix for the whole cluster; it would take a wider one away again.
    let have = settled(&cluster("", TWO), &host(FRESH));
    let own = conf(PODS, "10.244.0.0/24", "cni0");
    assert_snapshot!(changes(&order(&own, By::BesideAgent, &have)), @r#"add element bridges { "cni0" }"#);
    assert_ne!(mark(&own, By::BesideAgent), mark(&own, By::Alone));
}

#[test]
fn with_an_agent_forwarding_is_the_agents() {
    let mut conf = demo();
    conf.alone = false;
    let done = order(&conf, By::Alone, &fresh());
    assert!(!changes(&done).contains("sysctl"), "{done:?}");
}

#[test]
fn another_subnet_network_bridge_or_keeper_has_another_mark() {
    let mut agents = demo();
    agents.alone = false;
    let others = [
        conf("10.240.0.0/16", "10.240.5.0/24", "cni0"),
        conf("10.0.0.0/8", "10.240.0.0/24", "cni0"),
        conf("10.240.0.0/16", "10.240.0.0/24", "cni1"),
        agents,
    ];
    assert_eq!(mark(&demo(), By::Alone), mark(&demo(), By::Alone));
    assert!(
        others
            .iter()
            .all(|other| mark(other, By::Alone) != mark(&demo(), By::Alone))
    );
}
