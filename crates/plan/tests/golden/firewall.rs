//! Other people's firewalls: where our rules go, and how the chain stands afterwards.

use super::{FRESH, PODS, TWO, changes, plan, settled};
use crate::given::{cluster, host, with};
use crate::kernel::apply;
use insta::assert_snapshot;
use model::firewall::Role;
use std::fmt::Write as _;

/// What is done to the chains of a node that is in order else, and what then stands in them.
fn judged(chains: &str) -> String {
    let two = cluster(PODS, TWO);
    let mut have = with(settled(&two, &host(FRESH)), chains);
    let plan = plan(&two, &have);
    let mut text = changes(&plan.changes);
    for finding in &plan.findings {
        writeln!(text, "finding: {finding}").expect("memory");
    }
    if plan.changes.is_empty() {
        return text;
    }
    apply(&plan.changes, &mut have);
    for chain in &have.foreign {
        writeln!(text, "then {}:", chain.chain).expect("memory");
        for rule in &chain.rules {
            let role = match &rule.role {
                Role::Final => "final".into(),
                Role::Other => "other".into(),
                Role::Ours(matches) => {
                    let words: Vec<String> = matches.iter().map(ToString::to_string).collect();
                    format!("ours {}", words.join(" "))
                }
            };
            writeln!(text, "  {} {role}", rule.handle).expect("memory");
        }
        writeln!(
            text,
            "  policy {}",
            if chain.drops { "drop" } else { "accept" }
        )
        .expect("memory");
    }
    text
}

#[test]
fn an_empty_chain_with_policy_drop_gets_our_rules() {
    assert_snapshot!(judged("chain inet filter forward on forward drop"), @r#"
    add rule inet filter forward ip saddr 10.244.0.0/16 accept comment "podwire: pods"
    add rule inet filter forward ip daddr 10.244.0.0/16 accept comment "podwire: pods"
    then inet filter forward:
      1 ours ip saddr 10.244.0.0/16
      2 ours ip daddr 10.244.0.0/16
      policy drop
    "#);
}

#[test]
fn a_chain_that_accepts_at_its_end_is_left_alone() {
    let chain = "chain ip filter FORWARD on forward accept
                 4 other jump KUBE-FORWARD
                 5 ours saddr 10.99.0.0/16";
    assert_snapshot!(judged(chain), @"nothing to do");
}

#[test]
fn in_dockers_chain_our_rules_stand_behind_dockers() {
    let chain = "chain ip filter FORWARD on forward drop
                 20 other jump DOCKER-USER
                 21 other jump DOCKER-FORWARD";
    assert_snapshot!(judged(chain), @r#"
    add rule ip filter FORWARD ip saddr 10.244.0.0/16 accept comment "podwire: pods"
    add rule ip filter FORWARD ip daddr 10.244.0.0/16 accept comment "podwire: pods"
    then ip filter FORWARD:
      20 other
      21 other
      22 ours ip saddr 10.244.0.0/16
      23 ours ip daddr 10.244.0.0/16
      policy drop
    "#);
}

#[test]
fn before_a_final_reject_our_rules_stand_behind_all_others() {
    let chain = "chain inet cloud forward on forward accept
                 3 other ct state established,related accept
                 4 other tcp dport 22 accept
                 5 final reject
                 6 other that nothing reaches";
    assert_snapshot!(judged(chain), @r#"
    insert rule inet cloud forward before handle 5 ip saddr 10.244.0.0/16 accept comment "podwire: pods"
    insert rule inet cloud forward before handle 5 ip daddr 10.244.0.0/16 accept comment "podwire: pods"
    then inet cloud forward:
      3 other
      4 other
      7 ours ip saddr 10.244.0.0/16
      8 ours ip daddr 10.244.0.0/16
      5 final
      6 other
      policy accept
    "#);
}

#[test]
fn a_last_rule_with_a_condition_is_no_end() {
    let chain = "chain inet cloud forward on forward accept
                 3 other iifname eth9 drop";
    assert_snapshot!(judged(chain), @"nothing to do");
}

#[test]
fn a_chain_that_only_its_owner_writes_is_named() {
    let chain = "chain inet firewalld filter_FORWARD on forward accept owned
                 9 other jump filter_FORWARD_POLICIES
                 10 final reject";
    assert_snapshot!(judged(chain), @"
    nothing to do
    finding: chain inet firewalld filter_FORWARD drops pods' packets at its end, and its table belongs to another program; let the owner accept them; for firewalld: firewall-cmd --permanent --zone=trusted --add-source=<pod network>
    ");
}

#[test]
fn an_owned_chain_that_accepts_at_its_end_is_not_named() {
    assert_snapshot!(judged("chain inet firewalld nat on forward accept owned"), @"nothing to do");
}

#[test]
fn rules_of_ours_at_the_top_go_to_the_end() {
    let chain = "chain ip filter FORWARD on forward drop
                 8 ours saddr 10.244.0.0/16
                 9 ours daddr 10.244.0.0/16
                 20 other jump DOCKER-USER";
    assert_snapshot!(judged(chain), @r#"
    delete rule ip filter FORWARD handle 8
    delete rule ip filter FORWARD handle 9
    add rule ip filter FORWARD ip saddr 10.244.0.0/16 accept comment "podwire: pods"
    add rule ip filter FORWARD ip daddr 10.244.0.0/16 accept comment "podwire: pods"
    then ip filter FORWARD:
      20 other
      21 ours ip saddr 10.244.0.0/16
      22 ours ip daddr 10.244.0.0/16
      policy drop
    "#);
}

#[test]
fn a_stop_that_comes_before_rules_of_ours_stays_and_is_named() {
    let chain = "chain inet cloud forward on forward accept
                 4 other tcp dport 22 accept
                 5 final reject
                 8 ours saddr 10.244.0.0/16
                 9 ours daddr 10.244.0.0/16";
    assert_snapshot!(judged(chain), @"
    nothing to do
    finding: rule 5 of chain inet cloud forward lets nothing pass, and stands before the rules that let pods pass; if it is not meant: nft delete rule inet cloud forward handle 5
    ");
}

#[test]
fn rules_of_ours_for_another_network_are_replaced() {
    let chain = "chain ip filter FORWARD on forward drop
                 8 ours saddr 10.99.0.0/16
                 9 ours daddr 10.99.0.0/16";
    assert_snapshot!(judged(chain), @r#"
    delete rule ip filter FORWARD handle 8
    delete rule ip filter FORWARD handle 9
    add rule ip filter FORWARD ip saddr 10.244.0.0/16 accept comment "podwire: pods"
    add rule ip filter FORWARD ip daddr 10.244.0.0/16 accept comment "podwire: pods"
    then ip filter FORWARD:
      1 ours ip saddr 10.244.0.0/16
      2 ours ip daddr 10.244.0.0/16
      policy drop
    "#);
}

#[test]
fn rules_of_ours_in_their_place_stay_in_any_order() {
    let chain = "chain ip filter FORWARD on forward drop
                 20 other jump DOCKER-USER
                 9 ours daddr 10.244.0.0/16
                 8 ours saddr 10.244.0.0/16";
    assert_snapshot!(judged(chain), @"nothing to do");
}

#[test]
fn an_input_chain_lets_the_nodes_own_pods_in_by_link_and_source() {
    let chain = "bridge cni0
                 chain inet filter input on input drop
                 7 other ct state established,related accept";
    assert_snapshot!(judged(chain), @r#"
    add element bridges { "cni0" }
    add rule inet filter input iifname "pw*" ip saddr 10.244.0.0/24 accept comment "podwire: pods"
    add rule inet filter input iifname "cni0" ip saddr 10.244.0.0/24 accept comment "podwire: pods"
    then inet filter input:
      7 other
      8 ours iifname "pw*" ip saddr 10.244.0.0/24
      9 ours iifname "cni0" ip saddr 10.244.0.0/24
      policy drop
    "#);
}

#[test]
fn a_chain_of_the_other_family_needs_nothing() {
    assert_snapshot!(judged("chain ip6 filter FORWARD on forward drop"), @"nothing to do");
}
