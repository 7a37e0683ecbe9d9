//! How fast a pod may send and receive: real streams from the first moment on, and the queues that see to it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::flow::{self, Arrived};
use lab::plugin::Attachment;
use lab::{Lab, Place, wire};
use serde_json::{Value, json};

use super::{Kind, Rig, addresses, node_end, said};

/// What containerd says for a pod whose annotations say 10M.
fn ten_megabit() -> Value {
    json!({"bandwidth": {"IngressRate": 10_000_000, "IngressBurst": u32::MAX,
        "EgressRate": 10_000_000, "EgressBurst": u32::MAX}})
}

/// The token bucket filters of a place, one a line, as tc(8) shows them.
fn queues(place: &Place) -> Result<Vec<String>> {
    let shown = said(place, "tc qdisc show")?;
    let lines = shown.lines().filter(|line| line.contains("tbf"));
    Ok(lines.map(str::to_owned).collect())
}

fn is_about(arrived: Arrived, megabit: u64, what: &str) -> Result<()> {
    println!(
        "{what}: {} kbit/s, at first {} kbit/s",
        arrived.rate() / 1000,
        arrived.early_rate() / 1000
    );
    let wanted = megabit * 1_000_000;
    let near = (wanted * 7 / 10..=wanted * 13 / 10).contains(&arrived.rate());
    ensure!(
        near && arrived.early_rate() <= wanted * 3 / 2,
        "{what}: {arrived:?}"
    );
    Ok(())
}

#[test]
fn w27_a_pod_of_ten_megabits_has_ten_megabits_from_its_first_moment() -> Result<()> {
    const DURING: Duration = Duration::from_secs(2);
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            rig.node
                .attempt(|| wire::set_parameter("ipv4/ip_forward", "1"))?;
            let (free, told) = rig.pod("free")?;
            let (pod, result) = rig.with("runtimeConfig", ten_megabit()).pod("a")?;
            let socket = |result: &Value, port| -> Result<SocketAddr> {
                let ip = addresses(result).first().context("an address")?.parse()?;
                Ok(SocketAddr::new(ip, port))
            };
            let (to_free, to_pod) = (socket(&told, 9000)?, socket(&result, 9000)?);
            is_about(
                flow::tcp(&pod, &free, to_free, DURING)?,
                10,
                &format!("{kind:?} TCP out"),
            )?;
            is_about(
                flow::udp(&pod, &free, to_free, DURING)?,
                10,
                &format!("{kind:?} UDP out"),
            )?;
            is_about(
                flow::tcp(&free, &pod, to_pod, DURING)?,
                10,
                &format!("{kind:?} TCP in"),
            )?;
            is_about(
                flow::udp(&free, &pod, to_pod, DURING)?,
                10,
                &format!("{kind:?} UDP in"),
            )?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_queues_come_with_the_link_and_go_with_it() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("cniVersion", "1.0.0");
            let asking = rig.with("runtimeConfig", ten_megabit());
            let (pod, result) = asking.pod("a")?;
            let wanted = "qdisc tbf 1: ";
            for (place, dev) in [(&*rig.node as &Place, node_end(&result)?), (&pod, "eth0")] {
                let shown = queues(place)?;
                ensure!(
                    shown.len() == 1
                        && shown[0].starts_with(&format!("{wanted}dev {dev} root"))
                        && shown[0].contains("rate 10Mbit burst 62500b"),
                    "{shown:?}"
                );
            }
            // Again the same: nothing changes. Without a limit: none is left. With one again: both are there.
            ensure!(asking.add(&pod)? == result);
            rig.add(&pod)?;
            ensure!(queues(&rig.node)?.is_empty() && queues(&pod)?.is_empty());
            asking.add(&pod)?;
            ensure!(queues(&rig.node)?.len() == 1 && queues(&pod)?.len() == 1);
            rig.del(&pod)?;
            ensure!(queues(&rig.node)?.is_empty() && queues(&pod)?.is_empty());
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_check_names_a_queue_that_is_gone_or_was_changed() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("cniVersion", "1.0.0");
            let asking = rig.with("runtimeConfig", ten_megabit());
            let (pod, result) = asking.pod("a")?;
            let attachment = Attachment::of(&pod);
            asking.check(&attachment, &result)?.ok()?;
            let end = node_end(&result)?;
            said(
                &rig.node,
                &format!(
                    "tc qdisc replace dev {end} root handle 1: tbf rate 1gbit burst 1mb latency 50ms"
                ),
            )?;
            said(&pod, "tc qdisc del dev eth0 root")?;
            let answer = asking.check(&attachment, &result)?;
            ensure!(answer.error_code() == Some(101), "{answer:?}");
            for part in [
                format!("the node has qdisc dev {end} root tbf rate 125000000bps"),
                "and not tbf rate 1250000bps".into(),
                "the container lacks qdisc dev eth0 root tbf rate 1250000bps".into(),
            ] {
                ensure!(answer.stdout.contains(&part), "{part}: {answer:?}");
            }
            // The next ADD makes it anew.
            let again = asking.add(&pod)?;
            asking.check(&attachment, &again)?.ok()?;
            rig.del(&pod)
        })?;
    }
    Ok(())
}

#[test]
fn the_operators_limit_goes_before_the_runtimes_and_this_before_the_annotations() -> Result<()> {
    Lab::scenario(|lab| {
        let annotations = json!({"io.kubernetes.cri.pod-annotations": {
            "kubernetes.io/ingress-bandwidth": "2M", "kubernetes.io/egress-bandwidth": "3M", "other": "x"}});
        let annotated = Rig::new(lab, Kind::Routed)?.with("runtimeConfig", annotations.clone());
        let mut both = annotations;
        both["bandwidth"] = json!({"ingressRate": 4_000_000, "ingressBurst": 80_000});
        let asked = annotated.with("runtimeConfig", both);
        let own = asked
            .with("egressRate", 5_000_000)
            .with("egressBurst", 8_000_000);
        let (pod, _) = annotated.pod("a")?;
        for (rig, ingress, egress) in [
            (
                annotated,
                "rate 2Mbit burst 12500b",
                "rate 3Mbit burst 1874",
            ),
            (asked, "rate 4Mbit burst 10000b", "rate 3Mbit burst 1874"),
            (own, "rate 4Mbit burst 10000b", "rate 5Mbit burst 1000000b"),
        ] {
            rig.add(&pod)?;
            let (node, inside) = (queues(&rig.node)?, queues(&pod)?);
            ensure!(
                node[0].contains(ingress) && inside[0].contains(egress),
                "{node:?} {inside:?}"
            );
        }
        Ok(())
    })
}
