//! The manifest asks for no more than it needs, and the documents say what it asks for.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{list, object, text, words};

/// The pod template's `spec`, and its only container.
pub(super) fn pod() -> Result<(Value, Value)> {
    let spec = object("DaemonSet")?["spec"]["template"]["spec"].take();
    let containers = list(&spec["containers"]);
    ensure!(containers.len() == 1, "{} containers", containers.len());
    let container = containers[0].clone();
    Ok((spec, container))
}

#[test]
fn the_documents_name_every_right_of_the_manifest_and_no_other() -> Result<()> {
    let role = object("ClusterRole")?;
    let mut asked = BTreeSet::new();
    for rule in list(&role["rules"]) {
        ensure!(rule["apiGroups"] == json!([""]), "{rule}");
        for resource in words(&rule["resources"]) {
            asked.extend(
                words(&rule["verbs"])
                    .iter()
                    .map(|verb| format!("{verb} {resource}")),
            );
        }
    }
    let document = text("docs/kubernetes.md")?;
    let (_, table) = document
        .split_once("| verb | on | why |")
        .context("the table of rights")?;
    let mut told = BTreeSet::new();
    for row in table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
    {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        told.extend(
            cells[1]
                .split(", ")
                .map(|verb| format!("{verb} {}", cells[2])),
        );
        ensure!(cells[3].len() > 10, "no reason: {row}");
    }
    ensure!(
        asked == told,
        "the manifest: {asked:?}, docs/kubernetes.md: {told:?}"
    );
    Ok(())
}

#[test]
fn the_pod_is_not_privileged_runs_everywhere_and_is_replaced_node_by_node() -> Result<()> {
    let (spec, container) = pod()?;
    ensure!(spec["hostNetwork"] == true && spec["priorityClassName"] == "system-node-critical");
    ensure!(
        spec["tolerations"] == json!([{ "operator": "Exists" }]),
        "{}",
        spec["tolerations"]
    );
    ensure!(spec["securityContext"]["seccompProfile"] == json!({ "type": "RuntimeDefault" }));
    for other in ["hostPID", "hostIPC", "shareProcessNamespace"] {
        ensure!(spec[other].is_null(), "{other}");
    }
    let security = &container["securityContext"];
    for (key, value) in [
        ("privileged", false),
        ("allowPrivilegeEscalation", false),
        ("readOnlyRootFilesystem", true),
    ] {
        ensure!(security[key] == value, "{key} is {}", security[key]);
    }
    ensure!(security["capabilities"]["drop"] == json!(["ALL"]));
    let requests = &container["resources"]["requests"];
    ensure!(
        requests["cpu"].is_string() && requests["memory"].is_string(),
        "{requests}"
    );
    let strategy = &object("DaemonSet")?["spec"]["updateStrategy"];
    ensure!(
        strategy["rollingUpdate"] == json!({ "maxUnavailable": 1 }),
        "{strategy}"
    );
    let mounts = list(&container["volumeMounts"]);
    let netns = mounts
        .iter()
        .find(|mount| mount["mountPath"] == "/run/netns");
    let netns = netns.context("no mount of /run/netns")?;
    ensure!(
        netns["mountPropagation"] == "HostToContainer" && netns["readOnly"] == true,
        "{netns}"
    );
    Ok(())
}

#[test]
fn the_probes_ask_the_port_that_podwired_listens_on_by_default() -> Result<()> {
    let (_, container) = pod()?;
    let listen = words(&container["args"])
        .into_iter()
        .find_map(|it| it.strip_prefix("--listen="));
    ensure!(listen == Some("127.0.0.1:10112"), "{listen:?}");
    for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        let asked = &container[probe]["httpGet"];
        let expected = json!({ "host": "127.0.0.1", "port": 10112, "path": path });
        ensure!(*asked == expected, "{probe}: {asked}");
    }
    Ok(())
}
