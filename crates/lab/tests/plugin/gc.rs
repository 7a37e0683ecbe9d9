//! GC and STATUS.

use std::fs::{self, File};

use anyhow::{Context, Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Pod};
use serde_json::{Value, json};

use super::{Kind, Rig, addresses, same, state};

fn new(lab: &Lab, kind: Kind) -> Result<Rig> {
    Ok(Rig::new(lab, kind)?.with("cniVersion", "1.1.0"))
}

fn gc(rig: &Rig, valid: &[&Pod]) -> Result<()> {
    let valid = valid.iter().map(|pod| {
        let Attachment {
            container_id,
            interface,
            ..
        } = Attachment::of(pod);
        json!({"containerID": container_id, "ifname": interface})
    });
    let conf = rig
        .with("cni.dev/valid-attachments", valid.collect::<Value>())
        .conf;
    // As a runtime calls it: the variables of a container are there, and empty.
    let empty = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"];
    let empty = empty.map(|name| (name, String::new()));
    let answer = rig
        .plugin
        .raw(&rig.node, "GC", &empty, conf.to_string().as_bytes())?;
    ensure!(answer.stdout.is_empty(), "GC says nothing: {answer:?}");
    answer.ok().map(drop)
}

#[test]
fn a_gc_keeps_what_is_listed_and_removes_the_rest() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = new(lab, kind)?;
            let (kept, result) = rig.pod("kept")?;
            let before = state(&rig.node)?;
            gc(&rig, &[&kept])?;
            same(&state(&rig.node)?, &before)?;

            let (gone, _) = rig.pod("gone")?;
            rig.pod("alive")?;
            gone.destroy()?;
            gc(&rig, &[&kept])?;
            ensure!(rig.records()? == ["one-kept@eth0"], "{:?}", rig.records()?);
            let mut leased = addresses(&result);
            leased.sort();
            ensure!(rig.leases()? == leased, "{:?}", rig.leases()?);
            rig.check(&Attachment::of(&kept), &result)?.ok()?;

            gc(&rig, &[])?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_gc_of_one_network_leaves_another_one_alone() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = new(lab, Kind::Routed)?;
        let other = rig
            .with("name", "other")
            .with("ranges", json!(["10.245.0.0/24"]));
        let (pod, result) = other.pod("a")?;
        rig.pod("b")?;
        gc(&rig, &[])?;
        ensure!(rig.records()?.is_empty());
        other.check(&Attachment::of(&pod), &result)?.ok()?;
        Ok(())
    })
}

#[test]
fn a_gc_spares_what_is_being_worked_on_and_what_is_younger_than_the_call() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = new(lab, Kind::Routed)?;
        rig.pod("busy")?;
        rig.pod("young")?;
        let record = |name: &str| format!("/run/podwire/podwire/attachments/one-{name}@eth0");
        let file = rig.node.attempt(|| Ok(File::open(record("busy"))?))?;
        file.lock()?;
        rig.node.attempt(|| {
            let text = fs::read_to_string(record("young"))?;
            let (head, born) = text.split_once("\"born\":").context("born")?;
            let born: u64 = born.trim_end_matches('}').parse()?;
            Ok(fs::write(
                record("young"),
                format!("{head}\"born\":{}}}", born + 3_600_000_000_000),
            )?)
        })?;
        gc(&rig, &[])?;
        ensure!(
            rig.records()? == ["one-busy@eth0", "one-young@eth0"],
            "{:?}",
            rig.records()?
        );
        ensure!(rig.leases()?.len() == 4);
        file.unlock()?;
        gc(&rig, &[])?;
        ensure!(rig.records()? == ["one-young@eth0"], "{:?}", rig.records()?);
        Ok(())
    })
}

#[test]
fn a_gc_reclaims_a_lease_whose_record_is_gone() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = new(lab, Kind::Bridge)?;
        rig.pod("a")?;
        rig.node.attempt(|| {
            Ok(fs::remove_file(
                "/run/podwire/mynet/attachments/one-a@eth0",
            )?)
        })?;
        gc(&rig, &[])?;
        ensure!(rig.leases()?.is_empty(), "{:?}", rig.leases()?);
        Ok(())
    })
}

#[test]
fn a_status_says_when_no_address_is_left() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = new(lab, kind)?.with("subnet", "10.244.0.0/30");
            let rig = rig.with("ranges", json!(["10.244.0.0/30", "fd00:10:244::/64"]));
            let status = || rig.plugin.call_network(&rig.node, "STATUS", &rig.conf);
            let before = state(&rig.node)?;
            let answer = status()?;
            ensure!(
                answer.code == Some(0) && answer.stdout.is_empty(),
                "{answer:?}"
            );
            same(&state(&rig.node)?, &before)?;
            let (pod, _) = rig.pod("a")?;
            let answer = status()?;
            ensure!(answer.error_code() == Some(50), "{answer:?}");
            ensure!(
                answer.stdout.contains("10.244.0.0/30 has 1 of 1 in use"),
                "{answer:?}"
            );
            ensure!(
                answer.stdout.contains("default/a with 10.244.0.2"),
                "{answer:?}"
            );
            rig.del(&pod)?;
            status()?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn gc_and_status_came_with_1_1() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = new(lab, Kind::Routed)?;
        rig.pod("a")?;
        for version in super::VERSIONS
            .into_iter()
            .filter(|version| *version != "1.1.0")
        {
            let old = rig.with("cniVersion", version);
            for verb in ["GC", "STATUS"] {
                let answer = old.plugin.call_network(&old.node, verb, &old.conf)?;
                ensure!(
                    answer.error_code() == Some(1),
                    "{version} {verb}: {answer:?}"
                );
                ensure!(answer.json["msg"] == format!("config version does not allow {verb}"));
            }
        }
        ensure!(rig.records()?.len() == 1, "an old GC has removed something");
        Ok(())
    })
}

#[test]
fn a_gc_with_a_list_that_makes_no_sense_removes_nothing() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = new(lab, Kind::Routed)?;
        let (pod, result) = rig.pod("a")?;
        for list in [
            json!("one-a"),
            json!({"one-a": "eth0"}),
            json!(["one-a"]),
            json!([{"containerID": "one-b"}]),
            json!([{"ifname": "eth0"}]),
            json!([{"containerID": "../one-b", "ifname": "eth0"}]),
        ] {
            for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
                let conf = rig.with(key, list.clone()).conf;
                let answer = rig.plugin.call_network(&rig.node, "GC", &conf)?;
                ensure!(answer.error_code() == Some(7), "{list}: {answer:?}");
            }
        }
        rig.check(&Attachment::of(&pod), &result)?.ok()?;
        Ok(())
    })
}

/// Version 1.1.0 called the key so; both are sent today.
#[test]
fn a_gc_reads_the_lists_earlier_name_too() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = new(lab, Kind::Bridge)?;
        rig.pod("kept")?;
        rig.pod("gone")?;
        let list = json!([{"containerID": "one-kept", "ifname": "eth0"}]);
        let conf = rig.with("cni.dev/attachments", list).conf;
        rig.plugin.call_network(&rig.node, "GC", &conf)?.ok()?;
        ensure!(rig.records()? == ["one-kept@eth0"], "{:?}", rig.records()?);
        // No list at all is an empty one: a runtime that cannot tell them apart means that.
        rig.plugin.call_network(&rig.node, "GC", &rig.conf)?.ok()?;
        ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
        Ok(())
    })
}
