//! What was there before is there afterwards, unchanged; what stays of ours is what is documented.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use lab::walk::{Mode, Site};
use lab::{Lab, Node, firewall, wire};
use rustix::process::Signal;
use serde_json::Value;

use super::{SOON, Scene, said};

/// What an administrator has on a machine: a bridge, a link, routes, a table of nft, and several firewalls.
pub(super) fn furnish(node: &Node) -> Result<()> {
    for words in [
        "ip link add br-theirs type bridge",
        "ip addr add 172.30.0.1/24 dev br-theirs",
        "ip link set br-theirs up",
        "ip link add their0 type veth peer name their1",
        "ip link set their0 up",
        "ip route add 203.0.113.0/24 via 10.128.0.1",
        "ip route add unreachable 198.51.100.0/24",
        "ip -6 route add 2001:db8:99::/64 via fd00:10:128::1",
        "ip rule add from 192.0.2.0/24 table 77",
        "nft add table inet theirs",
        "nft add set inet theirs known { type ipv4_addr; }",
        "nft add chain inet theirs out { type filter hook output priority 0; policy accept; }",
        "iptables-nft -t nat -A POSTROUTING -s 172.30.0.0/24 ! -o br-theirs -j MASQUERADE",
        "ip6tables-nft -A FORWARD -s 2001:db8:bad::/64 -j DROP",
    ] {
        said(node, words).with_context(|| words.to_owned())?;
    }
    firewall::input_drop(node)?;
    // Neighbour discovery and pods' echo requests are theirs to allow.
    node.attempt(|| wire::add_address("lo", "192.0.2.9/32".parse()?))
}

/// The whole ruleset without our table and our rules.
fn rulesets(node: &Node) -> Result<String> {
    let text = super::timeless(&said(node, "nft list ruleset")?);
    let mut kept = String::new();
    let mut ours = false;
    for line in text.lines() {
        ours |= line == "table inet podwire {";
        if !ours && !line.contains("podwire") {
            kept.push_str(line);
            kept.push('\n');
        }
        ours &= line != "}";
    }
    Ok(kept)
}

/// Links, addresses, routes and rules, without what of ours is documented to stay.
fn network(node: &Node) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for words in [
        "ip -j addr",
        "ip -j route show table all",
        "ip -j -6 route show table all",
        "ip -j rule",
    ] {
        let list: Value = serde_json::from_str(&said(node, words)?)?;
        for item in list.as_array().context("a list")? {
            if may_stay(item) {
                continue;
            }
            let mut item = item.clone();
            if let Some(addresses) = item.get_mut("addr_info").and_then(Value::as_array_mut) {
                addresses.retain(|address| !is_of_pods(&address["local"]));
            }
            all.insert(format!("{words}: {item}"));
        }
    }
    Ok(all)
}

/// The demo's bridge, routes of our protocol and to our addresses, and what the kernel adds to a node that forwards.
fn may_stay(item: &Value) -> bool {
    item["ifname"] == "cni0"
        || item["dev"] == "cni0"
        || item["protocol"] == "112"
        || item["type"] == "anycast"
        || is_of_pods(&item["dst"])
}

fn is_of_pods(address: &Value) -> bool {
    let text = address.as_str().unwrap_or_default();
    text.starts_with("10.244.") || text.starts_with("fd00:10:244:")
}

#[test]
fn foreign_tables_bridges_links_and_routes_are_afterwards_as_before() -> Result<()> {
    Lab::scenario(|lab| {
        for mode in [Mode::Bridge, Mode::Routed] {
            let site = Site::new(lab)?;
            let master = site.master().clone();
            furnish(&master)?;
            let before = (rulesets(&master)?, network(&master)?);
            let scene = Scene::on(site, mode)?;
            for side in &scene.site.sides {
                for pod in &side.pods {
                    side.detach(&scene.programs, mode, pod)?;
                }
            }
            let agent = &scene.agents[0].process;
            agent.kill(Signal::TERM)?;
            agent.wait_within(SOON)?;
            let after = (rulesets(&master)?, network(&master)?);
            ensure!(
                before.0 == after.0,
                "{mode:?}: before:\n{}\nafter:\n{}",
                before.0,
                after.0
            );
            let gone: Vec<_> = before.1.difference(&after.1).collect();
            let new: Vec<_> = after.1.difference(&before.1).collect();
            ensure!(
                gone.is_empty() && new.is_empty(),
                "{mode:?}: gone {gone:#?} new {new:#?}"
            );
        }
        Ok(())
    })
}
