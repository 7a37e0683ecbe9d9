//! The node for a program: one object; its keys are promised in docs/status.md.

use super::{Network, View};
use model::attachment::Attachment;
use serde_json::{Value, json};

/// The text, with its line's end.
pub(crate) fn json(view: &View) -> String {
    let object = json!({
        "run_dir_found": view.absent.is_none(),
        "agent_running": view.running,
        "agent": view.agent,
        "networks": view.networks.iter().map(network).collect::<Vec<Value>>(),
        "findings": view.findings,
    });
    format!("{object:#}\n")
}

fn network(network: &Network) -> Value {
    let range = |(range, used): &(model::addr::PodRange, u64)| json!({ "range": range.to_string(), "used": used, "total": range.capacity() });
    json!({
        "name": network.name,
        "ranges": network.ranges.iter().map(range).collect::<Vec<Value>>(),
        "attachments": network.attachments.iter().map(attachment).collect::<Vec<Value>>(),
    })
}

fn attachment((attachment, age): &(Attachment, u64)) -> Value {
    let addresses: Vec<String> = attachment
        .addresses
        .iter()
        .map(|address| address.ip.to_string())
        .collect();
    json!({
        "pod": attachment.pod,
        "container": attachment.key.container,
        "interface": attachment.key.ifname,
        "addresses": addresses,
        "ports": attachment.ports,
        "host_interface": attachment.key.host_interface(),
        "bridge": attachment.mode.bridge(),
        "netns": attachment.netns,
        "age_seconds": age,
    })
}
