//! Ranges to their end.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Answer, Attachment};
use lab::{Lab, Pod};
use serde_json::json;

use super::{Kind, Rig, addresses};

/// The answers to one verb for all these pods, eight at a time.
fn many(rig: &Rig, verb: &str, pods: &[Pod]) -> Result<Vec<Answer>> {
    let part = pods.len().div_ceil(8);
    std::thread::scope(|scope| {
        let threads = pods.chunks(part).map(|pods| {
            scope.spawn(move || -> Result<Vec<Answer>> {
                let call = |pod| {
                    rig.plugin
                        .call(&rig.node, verb, &Attachment::of(pod), &rig.conf)
                };
                pods.iter().map(call).collect()
            })
        });
        let threads: Vec<_> = threads.collect();
        let mut answers = Vec::new();
        for thread in threads {
            answers.extend(thread.join().map_err(|_| anyhow::anyhow!("a panic"))??);
        }
        Ok(answers)
    })
}

#[test]
fn two_hundred_and_fifty_three_pods_fill_a_24_and_the_next_one_is_told_why() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pods: Vec<Pod> = (0..253)
                .map(|i| rig.node.pod(&format!("p{i}")))
                .collect::<Result<_>>()?;
            let mut given = BTreeSet::new();
            for answer in many(&rig, "ADD", &pods)? {
                let address = addresses(&answer.ok()?).first().cloned();
                given.insert(address.context("an address")?);
            }
            let all: BTreeSet<String> = (2..=254).map(|i| format!("10.244.0.{i}")).collect();
            ensure!(given == all, "{:?}", given.symmetric_difference(&all));

            let late = rig.node.pod("late")?;
            let refused = rig
                .plugin
                .add(&rig.node, &Attachment::of(&late), &rig.conf)?;
            ensure!(refused.error_code() == Some(11), "{refused:?}");
            let msg = refused.json["msg"].as_str().unwrap_or_default();
            ensure!(msg.contains("10.244.0.0/24 has 253 of 253 in use"), "{msg}");
            let details = refused.json["details"].as_str().unwrap_or_default();
            ensure!(
                details.starts_with("the oldest holder is pod default/p"),
                "{details}"
            );
            ensure!(
                rig.records()?.len() == 253,
                "the refused one has left a record"
            );

            for answer in many(&rig, "DEL", &pods)? {
                answer.ok()?;
            }
            ensure!(
                rig.leases()?.is_empty() && rig.leftovers()?.is_empty(),
                "{:?}",
                rig.leftovers()?
            );
            rig.add(&late)?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_30_has_one_address_for_a_pod() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("subnet", "10.244.0.4/30");
            let rig = rig.with("ranges", json!(["10.244.0.4/30", "fd00:10:244::/126"]));
            for _ in 0..2 {
                let (pod, result) = rig.pod("a")?;
                ensure!(addresses(&result)[0] == "10.244.0.6", "{result}");
                let second = rig.node.pod("b")?;
                let answer = rig
                    .plugin
                    .add(&rig.node, &Attachment::of(&second), &rig.conf)?;
                ensure!(answer.error_code() == Some(11), "{answer:?}");
                ensure!(
                    answer.stdout.contains("10.244.0.4/30 has 1 of 1 in use"),
                    "{answer:?}"
                );
                rig.del(&pod)?;
                pod.destroy()?;
                second.destroy()?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_freed_address_rests_longest() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?.with("ranges", json!(["10.244.0.0/29"]));
        let pods: Vec<_> = (2..=4)
            .map(|i| rig.pod(&format!("p{i}")))
            .collect::<Result<_>>()?;
        rig.del(&pods[0].0)?;
        rig.del(&pods[1].0)?;
        for expected in ["10.244.0.5", "10.244.0.6", "10.244.0.2", "10.244.0.3"] {
            let (_, result) = rig.pod(expected)?;
            ensure!(addresses(&result) == [expected], "{expected}: {result}");
        }
        Ok(())
    })
}

#[test]
fn a_second_range_is_used_when_the_first_is_full() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let rig = rig.with("ranges", json!(["10.244.0.0/30", "10.244.0.4/30"]));
        for expected in ["10.244.0.2", "10.244.0.6"] {
            let (_, result) = rig.pod(expected)?;
            ensure!(addresses(&result) == [expected], "{result}");
        }
        let late = rig.node.pod("late")?;
        let answer = rig
            .plugin
            .add(&rig.node, &Attachment::of(&late), &rig.conf)?;
        ensure!(answer.error_code() == Some(11), "{answer:?}");
        ensure!(
            answer
                .stdout
                .contains("10.244.0.0/30 has 1 of 1 in use, 10.244.0.4/30 has 1 of 1"),
            "{answer:?}"
        );
        Ok(())
    })
}
