//! Wrong input: a code and a sentence of its own for each, and nothing is touched.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Answer, Attachment};
use lab::{Lab, Pod, wire};
use serde_json::{Value, json};

use super::wrong::{CONFIGURATIONS, ENVIRONMENTS, Input, Wrong};
use super::{Kind, Rig, network, said, same, state};

fn call(rig: &Rig, pod: &Pod, wrong: &Wrong) -> Result<Answer> {
    let mut variables = Attachment::of(pod).environment();
    for (name, value) in wrong.environment {
        variables.retain(|(known, _)| known != name);
        variables.push((name, (*value).to_owned()));
    }
    let stdin = match wrong.input {
        Input::Right => rig.conf.to_string(),
        Input::Text(text) => text.to_owned(),
        Input::Keys(keys) => {
            let mut conf = rig.conf.clone();
            for (key, value) in keys {
                conf[key] = serde_json::from_str(value)?;
            }
            conf.to_string()
        }
    };
    rig.plugin
        .raw(&rig.node, "ADD", &variables, stdin.as_bytes())
}

/// A node with what the table needs, where nothing of ours is yet.
fn prepared(lab: &Lab, kind: Kind) -> Result<(Rig, Pod)> {
    let rig = Rig::new(lab, kind)?;
    let pod = rig.node.pod("a")?;
    rig.node.attempt(|| {
        drop(File::create("/run/netns/plain")?);
        Ok(())
    })?;
    said(&rig.node, "ip link add veth0 type veth peer name veth1")?;
    said(&pod, "ip link add taken0 type veth peer name taken1")?;
    said(&rig.node, "iptables-nft -P FORWARD DROP")?;
    Ok((rig, pod))
}

#[test]
fn every_wrong_input_has_its_code_and_sentence_and_changes_nothing() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let (rig, pod) = prepared(lab, kind)?;
            let before = (state(&rig.node)?, network(&pod)?);
            let mut wrongs = Vec::new();
            for wrong in ENVIRONMENTS.iter().chain(CONFIGURATIONS) {
                if !wrong.kinds.contains(&kind) {
                    continue;
                }
                let answer = call(&rig, &pod, wrong)?;
                let msg = answer.json["msg"].as_str().unwrap_or_default();
                let details = answer.json["details"].as_str().unwrap_or_default();
                let text = format!("{msg}: {details}");
                if answer.error_code() != Some(wrong.code)
                    || !wrong.says.iter().all(|words| text.contains(words))
                {
                    wrongs.push(format!("{}: {}", wrong.what, answer.stdout.trim()));
                }
                let now = (state(&rig.node)?, network(&pod)?);
                let unchanged = same(&now.0, &before.0).and_then(|()| same(&now.1, &before.1));
                unchanged.with_context(|| wrong.what)?;
            }
            ensure!(wrongs.is_empty(), "{kind:?}\n{}", wrongs.join("\n"));
            // And the right one works in the same place.
            rig.add(&pod).map(drop)
        })?;
    }
    Ok(())
}

#[test]
fn an_error_is_told_in_the_version_of_the_configuration() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        let pod = rig.node.pod("a")?;
        for version in super::VERSIONS {
            let rig = rig.with("cniVersion", version).with("subnet", "nonsense");
            let answer = rig
                .plugin
                .add(&rig.node, &Attachment::of(&pod), &rig.conf)?;
            ensure!(
                answer.error_code() == Some(7) && answer.json["cniVersion"] == version,
                "{answer:?}"
            );
        }
        Ok(())
    })
}

#[test]
fn keys_and_variables_of_runtimes_are_accepted_as_they_come() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?
            .with("capabilities", json!({"portMappings": true}))
            .with(
                "runtimeConfig",
                json!({"portMappings": [], "io.kubernetes.cri.pod-annotations": {"a": "b"}}),
            )
            .with("args", json!({"cni": {"labels": []}}))
            .with("ipam", json!({"type": "nobodys"}))
            .with("dns", json!({"Servers": null}));
        let (pod, result) = rig.pod("a")?;
        let mut told: Value = result;
        told["CNIVersion"] = "1.1.0".into();
        rig.check(&Attachment::of(&pod), &told)?.ok()?;
        rig.del(&pod)?;
        ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
        Ok(())
    })
}

#[test]
fn an_interface_of_that_name_stays_whoever_asks() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pod = rig.node.pod("a")?;
            said(&pod, "ip link add eth0 type veth peer name eth1")?;
            let answer = rig
                .plugin
                .add(&rig.node, &Attachment::of(&pod), &rig.conf)?;
            ensure!(answer.error_code() == Some(102), "{answer:?}");
            rig.del(&pod)?;
            ensure!(
                pod.run(|| wire::exists("eth0")),
                "a stranger's interface was removed"
            );
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn bytes_that_are_no_text_are_no_configuration() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let pod = rig.node.pod("a")?;
        let environment = Attachment::of(&pod).environment();
        for stdin in [
            &b"\xff\xfe{}"[..],
            b"{\"name\": \"\xc3\"}",
            &[b' '; 9 << 20],
        ] {
            let answer = rig.plugin.raw(&rig.node, "ADD", &environment, stdin)?;
            ensure!(answer.error_code() == Some(6), "{answer:?}");
        }
        Ok(())
    })
}
