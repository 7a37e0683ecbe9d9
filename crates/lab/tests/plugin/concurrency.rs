//! Many calls at once.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Barrier;
use std::thread;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Answer, Attachment};
use lab::{Lab, Pod, wire};
use serde_json::json;

use super::{Kind, Rig, addresses, said};

/// One call for each pod, all begun together.
fn together(pods: &[Pod], call: impl Fn(&Pod) -> Result<Answer> + Sync) -> Result<Vec<Answer>> {
    let start = Barrier::new(pods.len());
    let (call, start) = (&call, &start);
    thread::scope(|scope| {
        let calls: Vec<_> = pods
            .iter()
            .map(|pod| {
                scope.spawn(move || {
                    start.wait();
                    call(pod)
                })
            })
            .collect();
        let joined = calls
            .into_iter()
            .map(|call| call.join().ok().context("a panic")?);
        joined.collect()
    })
}

#[test]
fn sixty_four_adds_at_once_on_a_fresh_node_all_succeed() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pods: Vec<Pod> = (0..64)
                .map(|i| rig.node.pod(&format!("p{i}")))
                .collect::<Result<_>>()?;
            said(&rig.node, "iptables-nft -P FORWARD DROP")?;
            let add = |pod: &Pod| rig.plugin.add(&rig.node, &Attachment::of(pod), &rig.conf);
            let mut given = BTreeSet::new();
            let checked = rig.with("cniVersion", "1.0.0");
            for (pod, answer) in pods.iter().zip(together(&pods, add)?) {
                let result = answer.ok()?;
                given.extend(addresses(&result));
                checked.check(&Attachment::of(pod), &result)?.ok()?;
            }
            let families = if kind == Kind::Bridge { 1 } else { 2 };
            ensure!(given.len() == 64 * families, "{given:?}");
            if kind == Kind::Bridge {
                let rules = said(&rig.node, "iptables-nft -S FORWARD")?;
                ensure!(rules.matches("podwire: pods").count() == 2, "{rules}");
            }
            for answer in together(&pods, |pod| {
                rig.plugin.del(&rig.node, &Attachment::of(pod), &rig.conf)
            })? {
                answer.ok()?;
            }
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

/// The first ADDs of two networks change one table, one sysctl and one foreign chain.
#[test]
fn both_types_begin_on_a_fresh_node_at_once() -> Result<()> {
    Lab::scenario(|lab| {
        let bridged = Rig::new(lab, Kind::Bridge)?;
        let routed = Rig::on(bridged.node.clone(), Kind::Routed)?;
        let routed = routed.with("ranges", json!(["10.244.9.0/24", "fd00:10:244:9::/64"]));
        said(&bridged.node, "iptables-nft -P FORWARD DROP")?;
        let pods: Vec<Pod> = (0..32)
            .map(|i| bridged.node.pod(&format!("p{i}")))
            .collect::<Result<_>>()?;
        let rig = |pod: &Pod| match pod.pod_name().ends_with(['0', '2', '4', '6', '8']) {
            true => &bridged,
            false => &routed,
        };
        let answers = together(&pods, |pod| {
            let rig = rig(pod);
            rig.plugin.add(&rig.node, &Attachment::of(pod), &rig.conf)
        })?;
        for (pod, answer) in pods.iter().zip(answers) {
            let checked = rig(pod).with("cniVersion", "1.0.0");
            checked.check(&Attachment::of(pod), &answer.ok()?)?.ok()?;
        }
        let table = said(&bridged.node, "nft list table inet podwire")?;
        for words in [
            "10.244.0.0/24, 10.244.9.0/24",
            "fd00:10:244:9::/64",
            "\"cni0\"",
        ] {
            ensure!(table.contains(words), "no {words} in {table}");
        }
        let rules = said(&bridged.node, "iptables-nft -S FORWARD")?;
        ensure!(rules.matches("podwire: pods").count() == 2, "{rules}");
        for pod in &pods {
            rig(pod).del(pod)?;
        }
        ensure!(routed.records()?.is_empty() && bridged.records()?.is_empty());
        Ok(())
    })
}

#[test]
fn callers_that_fight_over_one_container_leave_it_clean() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pod = rig.node.pod("a")?;
            let attachment = Attachment::of(&pod);
            let callers: Vec<Pod> = vec![pod.clone(); 8];
            for round in 0..6 {
                let turn = std::sync::atomic::AtomicUsize::new(round);
                let answers = together(&callers, |_| {
                    let verb = match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2 {
                        0 => "ADD",
                        _ => "DEL",
                    };
                    rig.plugin.call(&rig.node, verb, &attachment, &rig.conf)
                })?;
                for answer in answers {
                    ensure!(
                        answer.code == Some(0) || answer.error_code() == Some(11),
                        "{answer:?}"
                    );
                }
                ensure!(rig.records()?.len() <= 1);
            }
            rig.del(&pod)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            ensure!(!pod.run(|| wire::exists("eth0")));
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn adds_of_the_same_container_at_once_have_one_answer() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pod = rig.node.pod("a")?;
            let attachment = Attachment::of(&pod);
            let answers = together(&vec![pod; 8], |_| {
                rig.plugin.add(&rig.node, &attachment, &rig.conf)
            })?;
            let answers: Vec<_> = answers.into_iter().map(Answer::ok).collect::<Result<_>>()?;
            ensure!(
                answers.iter().all(|answer| *answer == answers[0]),
                "{answers:?}"
            );
            ensure!(rig.leases()?.len() == addresses(&answers[0]).len());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn calls_that_run_at_once_do_not_mix_their_lines_in_the_log() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        let pods: Vec<Pod> = (0..16)
            .map(|i| rig.node.pod(&format!("p{i}")))
            .collect::<Result<_>>()?;
        for answer in together(&pods, |pod| {
            rig.plugin.add(&rig.node, &Attachment::of(pod), &rig.conf)
        })? {
            answer.ok()?;
        }
        let log = rig
            .node
            .attempt(|| Ok(fs::read_to_string("/var/log/bash-cni-plugin.log")?))?;
        ensure!(log.lines().count() == 16, "{log}");
        for line in log.lines() {
            serde_json::from_str::<serde_json::Value>(line).with_context(|| line.to_owned())?;
        }
        Ok(())
    })
}

/// A runtime keeps GC and ADD apart, but two runtimes on one node do not know of each other.
#[test]
fn a_gc_beside_adds_leaves_each_pod_whole_or_gone() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("cniVersion", "1.1.0");
            let pods: Vec<Pod> = (0..24)
                .map(|i| rig.node.pod(&format!("p{i}")))
                .collect::<Result<_>>()?;
            let conf = rig.with("cni.dev/valid-attachments", json!([])).conf;
            let answers = together(&pods, |pod| match pod.pod_name() {
                "p3" | "p9" | "p15" | "p21" => rig.plugin.call_network(&rig.node, "GC", &conf),
                _ => rig.plugin.add(&rig.node, &Attachment::of(pod), &rig.conf),
            })?;
            let records = rig.records()?;
            for (pod, answer) in pods.iter().zip(answers) {
                let result = answer.ok()?;
                let attachment = Attachment::of(pod);
                let record = format!("{}@eth0", attachment.container_id);
                if records.contains(&record) {
                    rig.check(&attachment, &result)?.ok()?;
                } else {
                    ensure!(!pod.run(|| wire::exists("eth0")), "{record}");
                }
                rig.del(pod)?;
            }
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}
