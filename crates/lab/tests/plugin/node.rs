//! What of a node belongs to no single pod: table, forwarding, bridge, and networks beside each other.

use std::fs;

use anyhow::{Context, Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, firewall, probe, wire};
use serde_json::json;

use super::firewalls::World;
use super::{Kind, Rig, SOON, addresses, ip, said, same};

fn forwarding(rig: &Rig) -> Result<String> {
    rig.node.attempt(|| {
        Ok(fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?
            .trim()
            .to_owned())
    })
}

#[test]
fn the_demos_type_turns_forwarding_on_and_podwire_leaves_it_to_its_agent() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            ensure!(forwarding(&rig)? == "0");
            rig.pod("a")?;
            ensure!(forwarding(&rig)? == if kind == Kind::Bridge { "1" } else { "0" });
            // Somebody turned it off again.
            rig.node
                .attempt(|| wire::set_parameter("ipv4/ip_forward", "0"))?;
            rig.pod("b")?;
            ensure!(forwarding(&rig)? == if kind == Kind::Bridge { "1" } else { "0" });
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_next_add_puts_a_missing_table_back() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            rig.pod("a")?;
            let table = said(&rig.node, "nft list table inet podwire")?;
            rig.pod("b")?;
            ensure!(said(&rig.node, "nft list table inet podwire")? == table);
            said(&rig.node, "nft delete table inet podwire")?;
            rig.pod("c")?;
            ensure!(said(&rig.node, "nft list table inet podwire")? == table);
            said(&rig.node, "nft flush chain inet podwire spoofed")?;
            rig.pod("d")?;
            same(&said(&rig.node, "nft list table inet podwire")?, &table)?;
            Ok(())
        })?;
    }
    Ok(())
}

/// As another version of Podwire left it: only its comment tells.
#[test]
fn the_next_add_replaces_the_table_of_another_version() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            rig.pod("a")?;
            let table = || said(&rig.node, "nft list table inet podwire");
            let ours = table()?;
            let version = ours
                .split('"')
                .find(|part| part.starts_with("podwire-"))
                .with_context(|| ours.clone())?;
            let other = ours.replace(version, "podwire-0000000000000000");
            said(&rig.node, "nft delete table inet podwire")?;
            let load = rig
                .node
                .command("nft")
                .args(["-f", "-"])
                .stdin(other.clone());
            load.output_within(SOON)?.ok()?;
            same(&table()?, &other)?;
            rig.pod("b")?;
            same(&table()?, &ours)
        })?;
    }
    Ok(())
}

/// As an administrator does who keeps the node's rules in a file.
#[test]
fn a_ruleset_with_our_table_can_be_saved_and_loaded() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            rig.pod("a")?;
            let ruleset = || said(&rig.node, "nft list ruleset");
            let before = ruleset()?;
            said(&rig.node, "nft flush ruleset")?;
            let load = rig
                .node
                .command("nft")
                .args(["-f", "-"])
                .stdin(before.clone());
            load.output_within(SOON)?.ok()?;
            same(&ruleset()?, &before)?;
            let generation = firewall::generation(&rig.node)?;
            rig.pod("b")?;
            same(&ruleset()?, &before)?;
            ensure!(
                firewall::generation(&rig.node)? == generation,
                "what was loaded was not taken as in order"
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// The ruleset was in order for the configuration of before.
#[test]
fn a_pod_of_an_edited_subnet_is_masqueraded_although_nobody_touched_the_ruleset() -> Result<()> {
    Lab::scenario(|lab| {
        let world = World::new(lab)?;
        let pods = world.attach()?;
        let edited = world.rig.with("subnet", "10.244.5.0/24");
        let (pod, result) = edited.pod("late")?;
        ensure!(addresses(&result) == ["10.244.5.2"], "{result}");
        world.is_masqueraded(&pod)?;
        let local = said(&world.rig.node, "nft list set inet podwire local4")?;
        for range in ["10.244.0.0/24", "10.244.5.0/24"] {
            ensure!(local.contains(range), "{local}");
        }
        world.reach(pods)
    })
}

/// One node has one set of routes, whatever its networks are called.
#[test]
fn networks_of_both_types_share_a_range_without_an_address_twice() -> Result<()> {
    Lab::scenario(|lab| {
        let bridged = Rig::new(lab, Kind::Bridge)?.with("subnet", "10.244.0.0/29");
        let routed = Rig::on(bridged.node.clone(), Kind::Routed)?;
        let routed = routed.with("ranges", json!(["10.244.0.0/29"]));
        let mut given = Vec::new();
        for (rig, name) in [
            (&bridged, "a"),
            (&routed, "b"),
            (&routed, "c"),
            (&bridged, "d"),
            (&routed, "e"),
        ] {
            given.extend(addresses(&rig.pod(name)?.1));
        }
        given.sort();
        let all: Vec<_> = (2..=6).map(|i| format!("10.244.0.{i}")).collect();
        ensure!(given == all, "{given:?}");
        for (rig, name) in [(&bridged, "f"), (&routed, "g")] {
            let pod = rig.node.pod(name)?;
            let answer = rig
                .plugin
                .add(&rig.node, &Attachment::of(&pod), &rig.conf)?;
            ensure!(answer.error_code() == Some(11), "{answer:?}");
        }
        Ok(())
    })
}

#[test]
fn two_networks_on_one_node_do_not_disturb_each_other() -> Result<()> {
    Lab::scenario(|lab| {
        let world = World::new(lab)?;
        firewall::docker(&world.rig.node)?;
        let pods = world.attach()?;
        let other = world.rig.with("name", "second").with("bridge", "cni1");
        let other = other
            .with("network", "10.245.0.0/16")
            .with("subnet", "10.245.0.0/24");
        let (pod, result) = other.pod("x")?;
        ensure!(addresses(&result) == ["10.245.0.2"], "{result}");
        let rules = || said(&world.rig.node, "iptables-nft -S FORWARD");
        let both = rules()?;
        for words in [
            "-s 10.244.0.0/16",
            "-d 10.244.0.0/16",
            "-s 10.245.0.0/16",
            "-d 10.245.0.0/16",
        ] {
            ensure!(both.matches(words).count() == 1, "{both}");
        }
        world.reach(pods)?;
        probe::ping(&pod, "108.177.121.113".parse()?, SOON)?;
        // Neither takes the other's rules away, whoever comes next.
        world.rig.pod("y")?;
        other.pod("z")?;
        ensure!(rules()? == both, "{}", rules()?);
        other.del(&pod)?;
        world.reach(pods)
    })
}

#[test]
fn both_types_live_on_one_node() -> Result<()> {
    Lab::scenario(|lab| {
        let world = World::new(lab)?;
        let pods = world.attach()?;
        let routed = Rig::on(world.rig.node.clone(), Kind::Routed)?;
        let routed = routed.with("ranges", json!(["10.244.9.0/24", "fd00:10:244:9::/64"]));
        let (pod, _) = routed.pod("r")?;
        world.reach(pods)?;
        for pods in pods {
            probe::ping(&pod, pods, SOON)?;
        }
        probe::ping(&pod, "10.244.9.1".parse()?, SOON)?;
        probe::ping(&pod, "fd00:10:244:9::1".parse()?, SOON)?;
        routed.del(&pod)?;
        world.reach(pods)
    })
}

#[test]
fn a_bridge_that_was_there_is_used_as_it_is() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        // As the demo's reader made it by hand.
        for words in [
            "ip link add cni0 type bridge",
            "ip link set cni0 up",
            "ip addr add 10.244.0.1/24 dev cni0",
        ] {
            said(&rig.node, words)?;
        }
        let shown = || Ok::<_, anyhow::Error>(ip(&rig.node, "-d addr show dev cni0")?[0].clone());
        let before = shown()?;
        let (pod, result) = rig.pod("a")?;
        let after = shown()?;
        for key in ["ifindex", "mtu", "group"] {
            ensure!(after[key] == before[key], "{after}");
        }
        let addresses = after["addr_info"].as_array().into_iter().flatten();
        let global = addresses.filter(|address| address["scope"] == "global");
        ensure!(global.count() == 1, "{after}");
        // The kernel gives such a bridge the MAC of one of its ports; the answer says what it is now.
        ensure!(
            result["interfaces"][2]["mac"] == after["address"],
            "{result}"
        );
        probe::ping(&pod, "10.244.0.1".parse()?, SOON)?;
        Ok(())
    })
}

#[test]
fn a_frame_comes_back_where_bridged_packets_are_filtered() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        let filtered = rig.node.attempt(|| {
            Ok(fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables").ok())
        })?;
        let (_, result) = rig.pod("a")?;
        let end = super::node_end(&result)?;
        let port = ip(&rig.node, &format!("-d link show dev {end}"))?[0].clone();
        let hairpin = filtered.is_some_and(|value| value.trim() == "1");
        ensure!(
            port["linkinfo"]["info_slave_data"]["hairpin"] == hairpin,
            "{port}"
        );
        Ok(())
    })
}

#[test]
fn a_node_that_checks_reverse_paths_strictly_is_no_hindrance() -> Result<()> {
    Lab::scenario(|lab| {
        let world = World::new(lab)?;
        for scope in ["all", "default"] {
            let strict = || wire::set_parameter(&format!("ipv4/conf/{scope}/rp_filter"), "1");
            world.rig.node.attempt(strict)?;
        }
        let pods = world.attach()?;
        world.reach(pods)
    })
}

/// An answer that crossed the bridge directly would come from another address than was asked.
#[test]
fn a_service_on_the_bridge_is_reached_with_and_without_bridge_filtering() -> Result<()> {
    const FILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    for value in ["0", "1"] {
        Lab::scenario(|lab| {
            let world = World::new(lab)?;
            let node = &world.rig.node;
            let known = node.attempt(|| Ok(fs::exists(FILTER)?))?;
            if known {
                node.attempt(|| Ok(fs::write(FILTER, value)?))?;
            }
            firewall::docker(node)?;
            let [_, second] = world.attach()?;
            for words in [
                "nft add table ip services",
                "nft add chain ip services pre { type nat hook prerouting priority -100 ; }",
                &format!("nft add rule ip services pre ip daddr 10.96.0.1 dnat to {second}"),
            ] {
                said(node, words)?;
            }
            let [client, server] = world.pods();
            let service = "10.96.0.1:8080".parse()?;
            let _listener = probe::listen(server, 8080)?;
            for pod in [client, server] {
                let seen = probe::tcp(pod, service, SOON)
                    .with_context(|| format!("{} with bridge filtering {value}", pod.name()))?;
                ensure!(seen.to_string() == "10.244.0.1", "seen as {seen}");
            }
            Ok(())
        })?;
    }
    Ok(())
}
