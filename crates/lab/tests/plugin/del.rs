//! DEL: whatever is left, it succeeds, and it takes nothing that is not its own.

use anyhow::{Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, wire};

use super::{Kind, Rig, node_end, said, same, state};

#[test]
fn a_del_takes_everything_of_its_pod_and_a_second_one_finds_nothing() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let (pod, result) = rig.pod("a")?;
            let (other, _) = rig.pod("b")?;
            rig.del(&pod)?;
            ensure!(
                !rig.node
                    .run(|| wire::exists(node_end(&result).unwrap_or("?")))
            );
            ensure!(!pod.run(|| wire::exists("eth0")));
            let after = state(&rig.node)?;
            rig.del(&pod)?;
            same(&state(&rig.node)?, &after)?;
            ensure!(other.run(|| wire::exists("eth0")));
            rig.del(&other)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_del_of_what_was_never_there_makes_nothing() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pod = rig.node.pod("a")?;
            let before = state(&rig.node)?;
            rig.del(&pod)?;
            same(&state(&rig.node)?, &before)?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_del_needs_neither_the_namespace_nor_the_configuration_of_the_add() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let other = match kind {
                Kind::Bridge => rig.with("subnet", "10.244.7.0/24").with("bridge", "other0"),
                Kind::Routed => rig.with("ranges", serde_json::json!(["10.244.7.0/24"])),
            };
            let broken = rig
                .with("subnet", "nonsense")
                .with("ranges", "nonsense")
                .with("network", 7);

            let (gone, _) = rig.pod("gone")?;
            gone.destroy()?;
            rig.del(&gone)?;
            ensure!(
                rig.leftovers()?.is_empty(),
                "namespace gone: {:?}",
                rig.leftovers()?
            );

            let (pod, _) = rig.pod("empty")?;
            let mut empty = Attachment::of(&pod);
            empty.netns.clear();
            rig.del_as(&empty)?;
            ensure!(
                rig.leftovers()?.is_empty(),
                "CNI_NETNS empty: {:?}",
                rig.leftovers()?
            );

            // The node's network has become one of the other type meanwhile.
            let mut changed = Rig::on(
                rig.node.clone(),
                if kind == Kind::Bridge {
                    Kind::Routed
                } else {
                    Kind::Bridge
                },
            )?;
            changed.conf["name"] = rig.network().into();
            for (name, rig) in [("other", other), ("broken", broken), ("changed", changed)] {
                let pod = rig.node.pod(name)?;
                Rig::on(rig.node.clone(), kind)?.add(&pod)?;
                rig.del(&pod)?;
                ensure!(
                    rig.leftovers()?.is_empty(),
                    "{name}: {:?}",
                    rig.leftovers()?
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_del_with_and_without_the_earlier_result_is_the_same() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("cniVersion", "1.0.0");
            let (pod, result) = rig.pod("a")?;
            rig.with("prevResult", result).del(&pod)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            let (pod, _) = rig.pod("b")?;
            rig.with("prevResult", serde_json::Value::Null).del(&pod)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

/// The demo's script deleted every line that matched: 10.244.0.2 freed 10.244.0.20 to .29 as well.
#[test]
fn a_del_frees_its_own_address_and_none_that_begins_like_it() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        let pods: Vec<_> = (2..=25)
            .map(|i| rig.pod(&format!("p{i}")))
            .collect::<Result<_>>()?;
        let mut before = rig.leases()?;
        ensure!(
            before.len() == 24 && before.contains(&"10.244.0.20".to_owned()),
            "{before:?}"
        );
        ensure!(pods[0].1["ips"][0]["address"] == "10.244.0.2/24");
        rig.del(&pods[0].0)?;
        before.retain(|address| address != "10.244.0.2");
        ensure!(rig.leases()? == before, "{:?}", rig.leases()?);
        Ok(())
    })
}

#[test]
fn a_link_of_our_name_that_says_it_is_another_ones_survives_a_del() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let (pod, result) = rig.pod("a")?;
            let end = node_end(&result)?;
            let words = format!("ip link set dev {end} alias somebody/else");
            said(&rig.node, &words)?;
            rig.del(&pod)?;
            ensure!(
                rig.node.run(|| wire::exists(end)),
                "it took a link that is not its own"
            );
            ensure!(rig.records()?.is_empty() && rig.leases()?.is_empty());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_del_says_which_variables_it_lacks() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        let (pod, _) = rig.pod("a")?;
        let before = state(&rig.node)?;
        for (container, ifname, words) in [
            ("", "", "missing: CNI_CONTAINERID, CNI_IFNAME"),
            ("one-a", "", "missing: CNI_IFNAME"),
            ("../one-a", "eth0", "CNI_CONTAINERID is not usable"),
            ("one-a", "abcdefghijklmnop", "CNI_IFNAME is not usable"),
        ] {
            let attachment = Attachment::of(&pod).container(container).interface(ifname);
            let answer = rig.plugin.del(&rig.node, &attachment, &rig.conf)?;
            ensure!(answer.error_code() == Some(4), "{answer:?}");
            ensure!(answer.stdout.contains(words), "{answer:?}");
        }
        same(&state(&rig.node)?, &before)
    })
}
