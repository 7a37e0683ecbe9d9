//! Rows of docs/contract.md that have no place of their own; the number of its row begins each name.

use std::fs::File;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Place, probe, wire};
use serde_json::json;

use super::{Kind, Rig, SOON, addresses, said};

#[test]
fn w8_a_del_leaves_alone_what_the_path_means_by_now() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let (stranger, next) = (rig.node.pod("stranger")?, rig.node.pod("next")?);
            said(&stranger, "ip link add eth0 type veth peer name eth1")?;
            said(&rig.node, "ip link add eth0 type veth peer name eth9")?;
            rig.with("name", "second").add(&next)?;
            for netns in [stranger.path(), next.path(), "/proc/self/ns/net"] {
                let (pod, _) = rig.pod("a")?;
                let mut reused = Attachment::of(&pod);
                reused.netns = netns.to_owned();
                rig.del_as(&reused)?;
                ensure!(
                    !pod.run(|| wire::exists("eth0")),
                    "{netns}: the pod keeps its link"
                );
                pod.destroy()?;
            }
            for place in [&*stranger, &*next, &*rig.node] {
                ensure!(place.run(|| wire::exists("eth0")), "{}", place.name());
            }
            ensure!(rig.records()?.is_empty() && rig.leases()?.is_empty());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn trap10_status_and_gc_wait_for_no_lock() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("cniVersion", "1.1.0");
            rig.pod("busy")?;
            let network = rig.network().to_owned();
            let record = format!("/run/podwire/{network}/attachments/one-busy@eth0");
            let file = rig
                .node
                .attempt(|| File::open(&record).context(record.clone()))?;
            file.lock()?;
            // Each call has its own deadline, far below for ever.
            let conf = rig.with("cni.dev/valid-attachments", json!([])).conf;
            rig.plugin
                .call_network(&rig.node, "STATUS", &rig.conf)?
                .ok()?;
            rig.plugin.call_network(&rig.node, "GC", &conf)?.ok()?;
            ensure!(rig.records()?.len() == 1, "{:?}", rig.records()?);
            file.unlock()?;
            Ok(())
        })?;
    }
    Ok(())
}

/// The kernel says 3 of a MAC that was set, and then nobody else gives the link one of his own.
#[test]
fn w22_every_mac_is_set_at_birth() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let (pod, result) = rig.pod("a")?;
            let mut links = vec![
                (&*pod as &Place, "eth0"),
                (&*rig.node, super::node_end(&result)?),
            ];
            if kind == Kind::Bridge {
                links.push((&*rig.node, "cni0"));
            }
            for (place, link) in links {
                let show = "mount -t sysfs sysfs /mnt && cat /mnt/class/net/$LINK/addr_assign_type; umount /mnt";
                let shown = place
                    .command("sh")
                    .args(["-c", show])
                    .env("LINK", link)
                    .output_within(SOON)?;
                ensure!(shown.stdout.trim() == "3", "{link}: {shown:?}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The neighbour that was asked last keeps its entry; the next pod of the address must be found with it.
#[test]
fn w19_an_address_that_is_used_again_answers_at_once() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            rig.node
                .attempt(|| wire::set_parameter("ipv4/ip_forward", "1"))?;
            let (asker, _) = rig.pod("asker")?;
            let same = rig.with("runtimeConfig", json!({"ips": ["10.244.0.99"]}));
            let address: IpAddr = "10.244.0.99".parse()?;
            for name in ["first", "second", "third"] {
                let (pod, result) = same.pod(name)?;
                ensure!(addresses(&result)[0] == "10.244.0.99", "{result}");
                let took = probe::ping(&asker, address, SOON)?;
                // A stale entry is asked for again after seconds only.
                ensure!(took.as_millis() < 900, "{name}: {took:?}");
                probe::ping(&rig.node, address, SOON)?;
                same.del(&pod)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
