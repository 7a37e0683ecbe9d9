//! The state folder: in the way, full, and with records that somebody broke.

use std::fs;

use anyhow::{Context, Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, wire};
use rustix::mount::{MountFlags, mount};
use serde_json::json;

use super::{Kind, Rig, addresses};

#[test]
fn a_state_folder_that_cannot_be_written_is_named() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let pod = rig.node.pod("a")?;
        rig.node
            .attempt(|| fs::write("/run/podwire", "in the way").context("write"))?;
        let answer = rig
            .plugin
            .add(&rig.node, &Attachment::of(&pod), &rig.conf)?;
        ensure!(answer.error_code() == Some(5), "{answer:?}");
        ensure!(answer.stdout.contains("/run/podwire"), "{answer:?}");
        ensure!(!pod.run(|| wire::exists("eth0")));
        Ok(())
    })
}

#[test]
fn with_a_full_disk_an_add_leaves_nothing_and_a_del_still_works() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            rig.node.attempt(|| {
                fs::create_dir("/run/podwire")?;
                let options = c"size=64k,mode=0700";
                Ok(mount(
                    "tmpfs",
                    "/run/podwire",
                    "tmpfs",
                    MountFlags::empty(),
                    options,
                )?)
            })?;
            let (first, _) = rig.pod("first")?;
            let fill = || -> Result<()> {
                let mut number = 0;
                while fs::write(format!("/run/podwire/fill{number}"), [1; 4096]).is_ok() {
                    number += 1;
                }
                Ok(())
            };
            rig.node.attempt(fill)?;
            let second = rig.node.pod("second")?;
            let answer = rig
                .plugin
                .add(&rig.node, &Attachment::of(&second), &rig.conf)?;
            ensure!(answer.error_code() == Some(5), "{answer:?}");
            ensure!(
                answer.stdout.contains("No space left on device"),
                "{answer:?}"
            );
            ensure!(!second.run(|| wire::exists("eth0")));
            ensure!(rig.records()? == ["one-first@eth0"], "{:?}", rig.records()?);
            rig.del(&first)?;
            ensure!(rig.records()?.is_empty() && rig.leases()?.is_empty());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_record_that_is_broken_still_gives_everything_back() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("cniVersion", "1.1.0");
            let record = format!("/run/podwire/{}/attachments/one-a@eth0", rig.network());
            let pod = rig.node.pod("a")?;
            for (garbage, verb) in [("", "DEL"), ("{", "ADD"), ("\0\0\0", "GC"), ("[]", "DEL")] {
                let result = rig.add(&pod)?;
                rig.node.attempt(|| Ok(fs::write(&record, garbage)?))?;
                let answer = rig.check(&Attachment::of(&pod), &result)?;
                ensure!(answer.error_code() == Some(101), "{answer:?}");
                match verb {
                    "GC" => {
                        let conf = rig.with("cni.dev/valid-attachments", json!([])).conf;
                        rig.plugin.call_network(&rig.node, "GC", &conf)?.ok()?;
                    }
                    "ADD" => {
                        let again = rig.add(&pod)?;
                        ensure!(rig.leases()?.len() == addresses(&again).len());
                        rig.del(&pod)?;
                    }
                    _ => rig.del(&pod)?,
                }
                ensure!(
                    rig.leftovers()?.is_empty(),
                    "{verb}: {:?}",
                    rig.leftovers()?
                );
                ensure!(!pod.run(|| wire::exists("eth0")), "{verb}");
            }
            Ok(())
        })?;
    }
    Ok(())
}
