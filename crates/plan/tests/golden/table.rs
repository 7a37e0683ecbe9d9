//! Our whole table in the syntax of nft(8).

use super::{FRESH, PODS, TWO, plan};
use crate::given::{cluster, host, with};
use insta::assert_snapshot;
use model::change::Change;
use model::firewall::{Set, SetKind, TABLE, Table};
use std::fmt::{Error, Write as _};

fn listing(table: &Table) -> Result<String, Error> {
    let mut text = String::new();
    writeln!(text, "table inet {TABLE} {{ # {}", table.version)?;
    for set in Set::ALL {
        let kind = match set.kind() {
            SetKind::Prefixes(family) => format!("prefixes of {family:?}"),
            SetKind::Addresses(family) => format!("addresses of {family:?}"),
            SetKind::Interfaces => "names of links".into(),
            SetKind::Ports(family) => format!("protocol and port to {family:?}"),
            SetKind::PortsAt(family) => format!("address, protocol and port to {family:?}"),
            SetKind::Pairs(family) => format!("pairs of {family:?}"),
            SetKind::Pods(family) => format!("pods of {family:?}"),
        };
        let held = table.elements.get(&set).into_iter().flatten();
        let held: Vec<String> = held.map(ToString::to_string).collect();
        writeln!(text, "    set {set} {{ {} }} # {kind}", held.join(", "))?;
    }
    for chain in &table.chains {
        let kind = if chain.nat { "nat" } else { "filter" };
        let (hook, priority) = (chain.hook, chain.priority);
        writeln!(text, "    chain {} {{", chain.name)?;
        writeln!(
            text,
            "        type {kind} hook {hook} priority {priority}; policy accept;"
        )?;
        for rule in &chain.rules {
            writeln!(text, "        {rule}")?;
        }
        writeln!(text, "    }}")?;
    }
    writeln!(text, "}}")?;
    Ok(text)
}

#[test]
fn the_table_has_few_rules_and_everything_that_changes_in_sets() {
    let have = with(host(FRESH), "bridge cni0");
    let changes = plan(&cluster(PODS, TWO), &have).changes;
    let put = changes.iter().find(|c| matches!(c, Change::PutTable(_)));
    let Some(Change::PutTable(table)) = put else {
        panic!("no table in {changes:?}");
    };
    assert_snapshot!(listing(table).expect("memory"), @r#"
    table inet podwire { # podwire-9e1e642eb18d2d41
        set pods4 { 10.244.0.0/16 } # prefixes of V4
        set pods6 {  } # prefixes of V6
        set local4 { 10.244.0.0/24 } # prefixes of V4
        set local6 {  } # prefixes of V6
        set nodes4 { 10.128.0.2/32, 10.128.0.3/32 } # addresses of V4
        set nodes6 {  } # addresses of V6
        set bridges { "cni0" } # names of links
        set services4 {  } # addresses of V4
        set services6 {  } # addresses of V6
        set ports4 {  } # protocol and port to V4
        set ports6 {  } # protocol and port to V6
        set ports_at4 {  } # address, protocol and port to V4
        set ports_at6 {  } # address, protocol and port to V6
        set hairpin4 {  } # pairs of V4
        set hairpin6 {  } # pairs of V6
        set masqueraded4 {  } # pods of V4
        set masqueraded6 {  } # pods of V6
        set masqueraded_to4 {  } # pods of V4
        set masqueraded_to6 {  } # pods of V6
        set shared4 {  } # prefixes of V4
        set shared6 {  } # prefixes of V6
        chain spoofed {
            type filter hook prerouting priority -300; policy accept;
            iifname "pw*" ip6 saddr fe80::/10 accept comment "neighbour discovery of the link itself"
            iifname "pw*" fib saddr . iif oif missing counter drop comment "a source that is not the pod's"
            iifname != "lo" ip daddr 127.0.0.0/8 counter drop comment "the node's loopback is the node's"
        }
        chain outgoing {
            type nat hook postrouting priority 100; policy accept;
            ip saddr @local4 ip daddr != @pods4 ip daddr != @nodes4 ip daddr != 224.0.0.0/4 masquerade fully-random comment "pods that leave the cluster"
            ip6 saddr @local6 ip6 daddr != @pods6 ip6 daddr != @nodes6 ip6 daddr != ff00::/8 masquerade fully-random comment "pods that leave the cluster"
            oifname @bridges ip saddr @local4 ip daddr @local4 ct status dnat masquerade fully-random comment "a Service's answer must come back through the node"
            oifname @bridges ip saddr @shared4 ip daddr @shared4 ct status dnat masquerade fully-random comment "a Service's answer must come back through the node"
            oifname @bridges ip6 saddr @shared6 ip6 daddr @shared6 ct status dnat masquerade fully-random comment "a Service's answer must come back through the node"
            ip saddr @masqueraded4 ip daddr != 224.0.0.0/4 oifname != @bridges masquerade fully-random comment "pods that leave their bridge"
            ip6 saddr @masqueraded6 ip6 daddr != ff00::/8 oifname != @bridges masquerade fully-random comment "pods that leave their bridge"
            ip saddr . ip daddr @hairpin4 masquerade fully-random comment "a pod that asks its own host port"
            ip6 saddr . ip6 daddr @hairpin6 masquerade fully-random comment "a pod that asks its own host port"
            ip daddr @masqueraded_to4 ct status dnat masquerade fully-random comment "a host port whose pod answers to its node only"
            ip6 daddr @masqueraded_to6 ct status dnat masquerade fully-random comment "a host port whose pod answers to its node only"
            ip saddr 127.0.0.0/8 ip daddr != 127.0.0.0/8 ct status dnat masquerade fully-random comment "a host port at 127.0.0.1"
        }
        chain ports {
            type nat hook prerouting priority -90; policy accept;
            fib daddr type local ip daddr != @services4 dnat ip to ip daddr . meta l4proto . th dport map @ports_at4 comment "host ports at one address"
            fib daddr type local ip daddr != @services4 dnat ip to meta l4proto . th dport map @ports4 comment "host ports at every address"
            fib daddr type local ip6 daddr != ::1 ip6 daddr != @services6 dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports_at6 comment "host ports at one address"
            fib daddr type local ip6 daddr != ::1 ip6 daddr != @services6 dnat ip6 to meta l4proto . th dport map @ports6 comment "host ports at every address"
        }
        chain ports_output {
            type nat hook output priority -90; policy accept;
            fib daddr type local ip daddr != @services4 dnat ip to ip daddr . meta l4proto . th dport map @ports_at4 comment "host ports at one address"
            fib daddr type local ip daddr != @services4 dnat ip to meta l4proto . th dport map @ports4 comment "host ports at every address"
            fib daddr type local ip6 daddr != ::1 ip6 daddr != @services6 dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports_at6 comment "host ports at one address"
            fib daddr type local ip6 daddr != ::1 ip6 daddr != @services6 dnat ip6 to meta l4proto . th dport map @ports6 comment "host ports at every address"
        }
    }
    "#);
}
