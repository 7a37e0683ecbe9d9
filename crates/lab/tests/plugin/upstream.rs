//! What tests of other projects found when they were run against the plugin under the reference plugins' names.
//!
//! Those suites are run by `cargo xtask suites`; here each finding stands by itself, so that it is seen without them.

use anyhow::{Context, Result, ensure};
use lab::plugin::{Answer, Attachment, Plugin};
use lab::{Lab, Node, Pod, programs};
use serde_json::{Value, json};

use super::{ip, leftovers};

fn plugin(name: &str) -> Result<Plugin> {
    Ok(Plugin::new(programs()?.plugins.join(name)))
}

/// A network of type `bridge` with a bridge of its own.
fn network(name: &str, ipam: Value) -> Value {
    json!({"cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": format!("br-{name}"),
        "isGateway": true, "isDefaultGateway": true, "ipam": ipam})
}

fn subnets(ranges: &[&str]) -> Value {
    let sets = ranges.iter().map(|range| json!([{"subnet": range}]));
    json!({"type": "host-local", "ranges": sets.collect::<Vec<_>>()})
}

fn defaults(pod: &Pod, family: &str) -> Result<String> {
    Ok(ip(pod, &format!("{family} route show default"))?.to_string())
}

/// As those who compare an error as a whole see it.
fn says_only(answer: &Answer, msg: &str) -> Result<()> {
    let is_whole = answer.error_code().is_some() && answer.json.get("details").is_none();
    ensure!(is_whole && answer.json["msg"] == msg, "{answer:?}");
    Ok(())
}

#[test]
fn a_pod_of_two_networks_has_the_default_routes_of_both() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let pod = node.pod("a")?;
        let bridge = plugin("bridge")?;
        let mut told = Vec::new();
        for (name, interface, ranges) in [
            ("red", "eth0", ["10.7.1.0/24", "fd00:71::/64"]),
            ("blue", "eth1", ["10.7.2.0/24", "fd00:72::/64"]),
        ] {
            let attachment = Attachment::of(&pod).interface(interface);
            let conf = network(name, subnets(&ranges));
            let result = bridge
                .add(&node, &attachment, &conf)?
                .ok()
                .with_context(|| format!("ADD to {name}"))?;
            told.push((attachment, conf, result));
        }
        for (attachment, conf, result) in &told {
            let again = bridge.add(&node, attachment, conf)?.ok()?;
            ensure!(again == *result, "a second ADD: {again}");
            let mut conf = conf.clone();
            conf["prevResult"] = result.clone();
            bridge.check(&node, attachment, &conf)?.ok()?;
        }
        let four = ip(&pod, "route show default")?;
        ensure!(
            four[0]["gateway"] == "10.7.2.1" && four[1]["gateway"] == "10.7.1.1",
            "the later one goes before: {four}"
        );
        for gateway in ["fd00:71::1", "fd00:72::1"] {
            ensure!(defaults(&pod, "-6")?.contains(gateway), "{gateway}");
        }
        let (attachment, conf, _) = &told[1];
        bridge.del(&node, attachment, conf)?.ok()?;
        ensure!(
            defaults(&pod, "-4")?.contains("10.7.1.1"),
            "the other's stays"
        );
        ensure!(
            defaults(&pod, "-6")?.contains("fd00:71::1"),
            "the other's stays"
        );
        Ok(())
    })
}

#[test]
fn a_gateway_without_addresses_is_a_bridge_all_the_same() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let conf = network("plain", json!({}));
        let bridge = plugin("bridge")?;
        for name in ["a", "b"] {
            let pod = node.pod(name)?;
            let told = bridge.add(&node, &Attachment::of(&pod), &conf)?.ok()?;
            ensure!(told["interfaces"][0]["name"] == "br-plain", "{told}");
            bridge.del(&node, &Attachment::of(&pod), &conf)?.ok()?;
        }
        ensure!(node.attempt(|| leftovers("plain"))?.is_empty());
        Ok(())
    })
}

#[test]
fn a_pod_without_addresses_has_no_ports_and_its_result_goes_through() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let attachment = Attachment::of(&node.pod("a")?);
        let earlier = json!({"cniVersion": "1.0.0", "dns": {},
            "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": attachment.netns}]});
        let ports = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
        for runtime in [json!({}), json!({"portMappings": ports})] {
            let conf = json!({"cniVersion": "1.0.0", "name": "mine", "type": "portmap",
                "prevResult": earlier, "runtimeConfig": runtime});
            let told = plugin("portmap")?.add(&node, &attachment, &conf)?.ok()?;
            ensure!(told == earlier, "{told}");
        }
        Ok(())
    })
}

#[test]
fn what_the_oldest_versions_cannot_say_is_refused_before_anything_is_made() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let two = subnets(&["10.7.1.0/24", "10.7.2.0/24"]);
        for version in ["0.1.0", "0.2.0"] {
            let pod = node.pod(&format!("v{version}"))?;
            let attachment = Attachment::of(&pod);
            let mut conf = network("plain", json!({}));
            conf["cniVersion"] = version.into();
            let answer = plugin("bridge")?.add(&node, &attachment, &conf)?;
            says_only(&answer, "cannot convert: no valid IP addresses")?;
            let mut conf = network("two", two.clone());
            conf["cniVersion"] = version.into();
            let msg =
                format!("CNI version {version} does not support more than 1 address per family");
            for name in ["bridge", "host-local"] {
                says_only(&plugin(name)?.add(&node, &attachment, &conf)?, &msg)?;
                says_only(&plugin(name)?.del(&node, &attachment, &conf)?, &msg)?;
            }
        }
        for name in ["plain", "two"] {
            ensure!(node.attempt(|| leftovers(name))?.is_empty(), "{name}");
        }
        Ok(())
    })
}

#[test]
fn a_network_without_room_is_told_in_the_reference_plugins_words() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let attachment = Attachment::of(&node.pod("a")?);
        let conf = network("tiny", subnets(&["192.168.1.0/31"]));
        for name in ["bridge", "host-local"] {
            let answer = plugin(name)?.add(&node, &attachment, &conf)?;
            ensure!(answer.error_code() == Some(7), "{name}: {answer:?}");
            let words = "Network 192.168.1.0/31 too small to allocate from";
            ensure!(answer.stdout.contains(words), "{name}: {answer:?}");
            // What could never be there is looked for by somebody who wants to know what is wrong.
            says_only(&plugin(name)?.del(&node, &attachment, &conf)?, words)?;
        }
        Ok(())
    })
}

#[test]
fn a_pod_that_is_there_is_deleted_whatever_its_configuration_has_become() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let attachment = Attachment::of(&node.pod("a")?);
        let broken = network("mine", subnets(&["192.168.1.0/31"]));
        for name in ["bridge", "host-local"] {
            let conf = network("mine", subnets(&["192.168.1.0/24"]));
            plugin(name)?.add(&node, &attachment, &conf)?.ok()?;
            plugin(name)?.del(&node, &attachment, &broken)?.ok()?;
            ensure!(node.attempt(|| leftovers("mine"))?.is_empty(), "{name}");
            plugin(name)?.del(&node, &attachment, &conf)?.ok()?;
        }
        Ok(())
    })
}

/// The variables of a call with arguments that are none.
fn with_nonsense(attachment: &Attachment) -> Vec<(&'static str, String)> {
    let mut all = attachment.environment();
    for (name, value) in &mut all {
        if *name == "CNI_ARGS" {
            *value = "none".to_owned();
        }
    }
    all
}

#[test]
fn arguments_are_no_business_of_the_loopback_and_of_portmap() -> Result<()> {
    Lab::scenario(|lab| {
        let node: Node = lab.node("one").start()?;
        let attachment = Attachment::of(&node.pod("a")?);
        let earlier = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.7.1.2/24"}]});
        for (name, passes) in [("loopback", true), ("portmap", true), ("bridge", false)] {
            let mut conf = network("mine", subnets(&["10.7.1.0/24"]));
            conf["type"] = name.into();
            conf["prevResult"] = earlier.clone();
            let conf = conf.to_string();
            let environment = with_nonsense(&attachment);
            let answer = plugin(name)?.raw(&node, "ADD", &environment, conf.as_bytes())?;
            ensure!(answer.ok().is_ok() == passes, "{name}");
        }
        Ok(())
    })
}

#[test]
fn the_mac_of_somebody_elses_bridge_stays_while_pods_come_and_go() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        super::said(&node, "ip link add br-mine type bridge")?;
        let mac =
            || Ok::<_, anyhow::Error>(ip(&node, "link show dev br-mine")?[0]["address"].clone());
        let before = mac()?;
        let conf = network("mine", subnets(&["10.7.1.0/24", "fd00:71::/64"]));
        for name in ["a", "b"] {
            let pod = node.pod(name)?;
            let attachment = Attachment::of(&pod);
            let told = plugin("bridge")?.add(&node, &attachment, &conf)?.ok()?;
            ensure!(told["interfaces"][0]["mac"] == before, "{told}");
            ensure!(mac()? == before, "{} was {before}", mac()?);
            plugin("bridge")?.del(&node, &attachment, &conf)?.ok()?;
            ensure!(mac()? == before, "without a port {} was {before}", mac()?);
        }
        Ok(())
    })
}
