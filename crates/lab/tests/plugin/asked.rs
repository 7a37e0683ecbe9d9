//! What a runtime asks for one attachment, by each of the three ways: its MAC, its addresses, the ranges they are taken from.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Answer, Attachment};
use lab::{Lab, Pod, probe, wire};
use serde_json::{Value, json};

use super::{Kind, Rig, SOON, addresses, ip, network, said, same, state};

const MAC: &str = "02:00:00:00:00:07";

/// By which way it is asked.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// `CNI_ARGS`
    Environment,
    /// `args.cni`
    Arguments,
    /// `runtimeConfig`, in the case of CNI's conventions.
    Runtime,
    /// `runtimeConfig`, as Go writes what has no name of its own.
    Go,
}

impl Way {
    const ALL: [Self; 4] = [Self::Environment, Self::Arguments, Self::Runtime, Self::Go];
}

impl Rig {
    fn asking(&self, pod: &Pod, way: Way, ips: &[&str], mac: &str) -> Result<Answer> {
        let mut rig = self.clone();
        let mut environment = Attachment::of(pod).environment();
        match way {
            Way::Environment => {
                for (name, value) in &mut environment {
                    if *name == "CNI_ARGS" {
                        *value = format!("{value};IP={};MAC={mac}", ips.join(","));
                    }
                }
            }
            Way::Arguments => rig.conf["args"] = json!({"cni": {"ips": ips, "mac": mac}}),
            Way::Runtime => rig.conf["runtimeConfig"] = json!({"ips": ips, "mac": mac}),
            Way::Go => rig.conf["runtimeConfig"] = json!({"IPs": ips, "Mac": mac}),
        }
        let input = rig.conf.to_string();
        rig.plugin
            .raw(&rig.node, "ADD", &environment, input.as_bytes())
    }
}

/// Lets packets from pod to pod, as the agent does where there is one.
fn forwarding(rig: &Rig) -> Result<()> {
    rig.node.attempt(|| {
        wire::set_parameter("ipv4/ip_forward", "1")?;
        wire::set_parameter("ipv6/conf/all/forwarding", "1")
    })
}

fn wanted(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Bridge => &["10.244.0.77"],
        Kind::Routed => &["10.244.0.77", "fd00:10:244::77"],
    }
}

fn mac_of(pod: &Pod) -> Result<Value> {
    let link = ip(pod, "link show eth0")?;
    Ok(link[0]["address"].clone())
}

#[test]
fn an_address_and_a_mac_that_are_asked_for_are_given_by_every_way() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("cniVersion", "1.0.0");
            forwarding(&rig)?;
            let (other, _) = rig.pod("other")?;
            let pod = rig.node.pod("a")?;
            for way in Way::ALL {
                let asked = rig.asking(&pod, way, wanted(kind), MAC)?;
                let result = asked.ok().with_context(|| format!("{way:?}"))?;
                ensure!(addresses(&result) == wanted(kind), "{way:?}: {result}");
                ensure!(result["interfaces"][0]["mac"] == MAC, "{way:?}: {result}");
                ensure!(mac_of(&pod)? == MAC, "{way:?}");
                for address in addresses(&result) {
                    let address: IpAddr = address.parse()?;
                    probe::ping(&other, address, SOON)?;
                    probe::ping(&rig.node, address, SOON)?;
                }
                rig.check(&Attachment::of(&pod), &result)?.ok()?;
                // Nothing of what was asked for stands in the DEL.
                rig.del(&pod)?;
            }
            // Whoever asks for nothing afterwards gets what he would have got.
            let again = rig.add(&pod)?;
            ensure!(
                addresses(&again)[0] == "10.244.0.3" && again["interfaces"][0]["mac"] != MAC,
                "{again}"
            );
            rig.del(&pod)?;
            rig.del(&other)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_address_that_another_pod_has_is_refused_with_its_holder_and_changes_nothing() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let (holder, pod) = (rig.node.pod("holder")?, rig.node.pod("b")?);
            rig.asking(&holder, Way::Runtime, wanted(kind), "")?.ok()?;
            let before = (state(&rig.node)?, network(&pod)?);
            let refused = rig.asking(&pod, Way::Environment, wanted(kind), "")?;
            ensure!(refused.error_code() == Some(102), "{refused:?}");
            for part in ["10.244.0.77", "pod default/holder", "one-holder"] {
                ensure!(refused.stdout.contains(part), "{part}: {refused:?}");
            }
            same(&state(&rig.node)?, &before.0)?;
            same(&network(&pod)?, &before.1)?;
            // Also when another network of the node has it.
            let second = rig.with("name", "second");
            let refused = second.asking(&pod, Way::Runtime, wanted(kind), "")?;
            ensure!(
                refused.error_code() == Some(102) && refused.stdout.contains("default/holder"),
                "{refused:?}"
            );
            rig.del(&holder)?;
            rig.asking(&pod, Way::Runtime, wanted(kind), "")?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_address_that_only_the_kernel_knows_of_is_refused_and_not_replaced_by_another() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let pod = rig.node.pod("a")?;
        said(&rig.node, "ip route add 10.244.0.77/32 dev lo proto 112")?;
        let refused = rig.asking(&pod, Way::Runtime, &["10.244.0.77"], "")?;
        ensure!(
            refused.error_code() == Some(102)
                && refused.stdout.contains("the node has a route to it"),
            "{refused:?}"
        );
        ensure!(
            rig.records()?.is_empty() && rig.leases()?.is_empty(),
            "{:?}",
            rig.records()?
        );
        Ok(())
    })
}

#[test]
fn asking_for_something_else_makes_the_attachment_anew() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let (pod, first) = rig.pod("a")?;
            let asked = rig.asking(&pod, Way::Runtime, wanted(kind), MAC)?.ok()?;
            ensure!(addresses(&asked) == wanted(kind) && addresses(&first) != wanted(kind));
            ensure!(mac_of(&pod)? == MAC);
            let again = rig.asking(&pod, Way::Go, wanted(kind), MAC)?.ok()?;
            ensure!(again == asked, "{again}");
            ensure!(rig.leases()?.len() == wanted(kind).len());
            rig.del(&pod)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn ranges_that_are_asked_for_take_the_place_of_the_configurations() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let range = json!({"Subnet": "10.244.9.0/24", "RangeStart": "10.244.9.20", "RangeEnd": "10.244.9.21"});
            let rig = Rig::new(lab, kind)?;
            forwarding(&rig)?;
            let (plain, _) = rig.pod("plain")?;
            let asking = rig.with("runtimeConfig", json!({"ipRanges": [[range]]}));
            for (name, wanted) in [("a", "10.244.9.20"), ("b", "10.244.9.21")] {
                let (pod, result) = asking.pod(name)?;
                ensure!(addresses(&result).contains(&wanted.to_owned()), "{result}");
                probe::ping(&plain, wanted.parse()?, SOON)?;
                probe::ping(&pod, "10.244.0.2".parse()?, SOON)?;
            }
            let pod = rig.node.pod("c")?;
            let full = asking
                .plugin
                .add(&rig.node, &Attachment::of(&pod), &asking.conf)?;
            ensure!(
                full.error_code() == Some(11)
                    && full
                        .stdout
                        .contains("10.244.9.0/24 (10.244.9.20 to 10.244.9.21) has 2 of 2 in use"),
                "{full:?}"
            );
            Ok(())
        })?;
    }
    Ok(())
}
