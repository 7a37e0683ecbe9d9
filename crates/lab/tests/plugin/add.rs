//! ADD again, over remains, and beside what is there.

use anyhow::{Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, wire};

use super::{Kind, Rig, addresses, network, node_end, same, state};

#[test]
fn a_repeated_add_gives_the_same_answer_and_changes_nothing() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let (pod, first) = rig.pod("a")?;
            let before = (state(&rig.node)?, network(&pod)?);
            ensure!(rig.add(&pod)? == first);
            same(&state(&rig.node)?, &before.0)?;
            same(&network(&pod)?, &before.1)?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_add_over_something_broken_makes_it_anew() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let (pod, first) = rig.pod("a")?;
            pod.attempt(|| wire::delete_link("eth0"))?;
            let again = rig.add(&pod)?;
            let result = rig.with("cniVersion", "0.4.0");
            result.check(&Attachment::of(&pod), &again)?.ok()?;
            ensure!(node_end(&again)? == node_end(&first)?);
            ensure!(
                rig.leases()?.len() == addresses(&again).len(),
                "{:?}",
                rig.leases()?
            );
            rig.del(&pod)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_same_container_in_a_new_namespace_is_attached_there() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let (old, _) = rig.pod("old")?;
            let new = rig.node.pod("new")?;
            let mut moved = Attachment::of(&old);
            moved.netns = new.path().to_owned();
            let result = rig.plugin.add(&rig.node, &moved, &rig.conf)?.ok()?;
            ensure!(result["interfaces"][0]["sandbox"] == new.path(), "{result}");
            ensure!(
                !old.run(|| wire::exists("eth0")),
                "the old one stays attached"
            );
            ensure!(new.run(|| wire::exists("eth0")));
            ensure!(rig.records()?.len() == 1 && rig.leases()?.len() == addresses(&result).len());
            rig.del_as(&moved)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

/// A pod has one default route of a family. The second network says so and leaves the first as it was.
#[test]
fn a_second_network_does_not_take_the_first_ones_default_route() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        let (pod, result) = rig.pod("a")?;
        let other = rig.with("name", "second").with("bridge", "cni1");
        let other = other
            .with("network", "10.245.0.0/16")
            .with("subnet", "10.245.0.0/24");
        let attachment = Attachment::of(&pod).interface("net1");
        let answer = other.plugin.add(&rig.node, &attachment, &other.conf)?;
        ensure!(answer.error_code() == Some(102), "{answer:?}");
        ensure!(answer.stdout.contains("route 0.0.0.0/0"), "{answer:?}");
        ensure!(other.records()?.is_empty() && other.leases()?.is_empty());
        ensure!(!pod.run(|| wire::exists("net1")));
        let checked = rig.with("cniVersion", "1.0.0");
        checked.check(&Attachment::of(&pod), &result)?.ok()?;
        Ok(())
    })
}

#[test]
fn a_namespace_below_proc_is_as_good_as_a_mounted_one() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pod = rig.node.pod("a")?;
            let process = pod.command("cat").arg("/dev/zero").spawn()?;
            let mut attachment = Attachment::of(&pod);
            attachment.netns = format!("/proc/{}/ns/net", process.pid());
            let result = rig.plugin.add(&rig.node, &attachment, &rig.conf)?.ok()?;
            ensure!(result["interfaces"][0]["sandbox"] == attachment.netns.as_str());
            ensure!(pod.run(|| wire::exists("eth0")));
            rig.del_as(&attachment)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

/// Some runtimes turn it off in each new namespace.
#[test]
fn a_pod_whose_namespace_has_ipv6_turned_off_gets_its_ipv6_address() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let pod = rig.node.pod("a")?;
        for scope in ["all", "default"] {
            pod.attempt(|| wire::set_parameter(&format!("ipv6/conf/{scope}/disable_ipv6"), "1"))?;
        }
        let result = rig.add(&pod)?;
        rig.check(&Attachment::of(&pod), &result)?.ok()?;
        lab::probe::ping(&pod, "fd00:10:244::1".parse()?, super::SOON)?;
        Ok(())
    })
}

#[test]
fn a_node_whose_new_links_have_no_ipv6_has_pods_with_ipv6() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        rig.node
            .attempt(|| wire::set_parameter("ipv6/conf/default/disable_ipv6", "1"))?;
        let pod = rig.node.pod("a")?;
        let result = rig.add(&pod)?;
        rig.check(&Attachment::of(&pod), &result)?.ok()?;
        lab::probe::ping(&pod, "fd00:10:244::1".parse()?, super::SOON)?;
        Ok(())
    })
}

#[test]
fn a_container_id_of_five_thousand_characters_is_attached_and_detached() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pod = rig.node.pod("a")?;
            let long = Attachment::of(&pod).container(&"a".repeat(5000));
            let other = Attachment::of(&pod).container(&format!("{}b", "a".repeat(4999)));
            let result = rig.plugin.add(&rig.node, &long, &rig.conf)?.ok()?;
            rig.del_as(&other)?;
            let checked = rig.with("cniVersion", "1.0.0");
            checked.check(&long, &result)?.ok()?;
            ensure!(rig.records()?.len() == 1);
            rig.del_as(&long)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_hosts_link_says_whose_it_is() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let alias = |result: &serde_json::Value| -> Result<String> {
            let words = format!("link show dev {}", node_end(result)?);
            Ok(super::ip(&rig.node, &words)?[0]["ifalias"]
                .as_str()
                .unwrap_or_default()
                .to_owned())
        };
        let (pod, result) = rig.pod("web")?;
        ensure!(alias(&result)? == "default/web", "{}", alias(&result)?);
        rig.del(&pod)?;

        let mut long = Attachment::of(&pod);
        long.namespace = "n".repeat(63);
        long.pod_name = "p".repeat(253);
        let result = rig.plugin.add(&rig.node, &long, &rig.conf)?.ok()?;
        let whole = format!("{}/{}", long.namespace, long.pod_name);
        ensure!(alias(&result)? == whole[..255], "{}", alias(&result)?.len());
        rig.check(&long, &result)?.ok()?;
        rig.del_as(&long)?;
        ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);

        // Without Kubernetes: network, container and interface.
        let environment = [
            ("CNI_CONTAINERID", "c1".to_owned()),
            ("CNI_NETNS", pod.path().to_owned()),
            ("CNI_IFNAME", "eth0".to_owned()),
        ];
        let stdin = rig.conf.to_string();
        let result = rig
            .plugin
            .raw(&rig.node, "ADD", &environment, stdin.as_bytes())?
            .ok()?;
        ensure!(alias(&result)? == "podwire/c1/eth0", "{}", alias(&result)?);
        Ok(())
    })
}

#[test]
fn an_address_that_lost_its_lease_is_not_given_away_while_its_pod_lives() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let (_first, result) = rig.pod("a")?;
        rig.node.attempt(|| {
            for folder in ["leases", "hints", "attachments"] {
                for entry in std::fs::read_dir(format!("/run/podwire/podwire/{folder}"))? {
                    std::fs::remove_file(entry?.path())?;
                }
            }
            Ok(())
        })?;
        let (second, other) = rig.pod("b")?;
        for address in addresses(&other) {
            ensure!(
                !addresses(&result).contains(&address),
                "{address} was given twice"
            );
        }
        rig.check(&Attachment::of(&second), &other)?.ok()?;
        ensure!(rig.leases()?.len() == 2, "{:?}", rig.leases()?);
        Ok(())
    })
}
