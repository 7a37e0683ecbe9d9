//! After a reboot, with a `/run` that is new and with one that has survived.

use std::fs;

use anyhow::{Result, ensure};
use lab::Lab;
use lab::plugin::Attachment;

use super::{Kind, Rig, addresses, same, state};

#[test]
fn after_a_reboot_everything_begins_anew() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let (old, first) = rig.pod("old")?;
            let mut forgotten = Attachment::of(&old);
            rig.node.reboot()?;
            let before = state(&rig.node)?;
            // As after a reboot: the runtime still has its list, and no namespace.
            rig.del_as(&forgotten)?;
            forgotten.netns.clear();
            rig.del_as(&forgotten)?;
            same(&state(&rig.node)?, &before)?;
            let (pod, second) = rig.pod("new")?;
            ensure!(addresses(&second) == addresses(&first), "{second}");
            rig.del_as(&forgotten)?;
            let result = rig.with("cniVersion", "1.0.0");
            result.check(&Attachment::of(&pod), &second)?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_run_folder_of_another_life_is_forgotten() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let (old, first) = rig.pod("old")?;
            let boot = format!("/run/podwire/{}/boot", rig.network());
            rig.node
                .attempt(|| Ok(fs::write(&boot, "00000000-0000-0000-0000-000000000000")?))?;
            // Its links died with its kernel.
            let end = super::node_end(&first)?;
            rig.node.attempt(|| lab::wire::delete_link(end))?;

            rig.del(&old)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            let (_, second) = rig.pod("new")?;
            ensure!(addresses(&second) == addresses(&first), "{second}");
            ensure!(rig.records()? == ["one-new@eth0"], "{:?}", rig.records()?);
            let id = rig.node.attempt(|| {
                Ok((
                    fs::read_to_string(&boot)?,
                    fs::read_to_string("/proc/sys/kernel/random/boot_id")?,
                ))
            })?;
            ensure!(id.0.trim() == id.1.trim(), "{id:?}");
            Ok(())
        })?;
    }
    Ok(())
}
