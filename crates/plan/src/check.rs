//! CHECK: the plan of an attachment against what was found of it.
//!
//! The plan is the one that ADD followed, read again from the record, so nothing that ADD makes can be forgotten here. MAC
//! and MTU of the pod's end are not compared: a plugin that is chained behind may change them (CNI specification, "CHECK").

use crate::wire::{self, Bridge, Ground, Wiring};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use model::attachment::Attachment;
use model::change::Change;
use model::name::IfName;
use model::net::{LinkKind, Target};
use model::state::End;

/// Every difference, each in one sentence; none if the attachment stands as ADD left it.
#[must_use]
pub fn differences(
    attachment: &Attachment,
    node_end: &IfName,
    node: Option<&End>,
    pod: Option<&End>,
) -> Vec<String> {
    if !attachment.mode.has_link() {
        return Vec::new();
    }
    let mut found = node_differences(attachment, node_end, node);
    found.extend(pod_differences(attachment, node_end, pod));
    found
}

/// The node's half: its end of the link, and the ways to the pod. It can be looked at from outside the pod.
#[must_use]
pub fn node_differences(
    attachment: &Attachment,
    node_end: &IfName,
    node: Option<&End>,
) -> Vec<String> {
    if !attachment.mode.has_link() {
        return Vec::new();
    }
    let Some(end) = node else {
        return vec![format!("link {node_end} is gone from the node")];
    };
    let wiring = wiring(attachment, node_end);
    let planned = wiring.node.iter().chain(&wiring.ways);
    planned
        .filter_map(|change| unmet(change, node_end, end, "the node"))
        .collect()
}

/// The pod's half: what stands inside its network namespace.
#[must_use]
pub fn pod_differences(
    attachment: &Attachment,
    node_end: &IfName,
    pod: Option<&End>,
) -> Vec<String> {
    let ifname = &attachment.key.ifname;
    let Some(end) = pod else {
        return vec![format!("interface {ifname} is gone from the container")];
    };
    let planned = wiring(attachment, node_end).pod;
    planned
        .iter()
        .filter_map(|change| unmet(change, ifname, end, "the container"))
        .collect()
}

/// The plan that ADD followed; what the bridge is by now is no part of the attachment.
fn wiring(attachment: &Attachment, node_end: &IfName) -> Wiring {
    let bridge = Bridge::Standing {
        up: true,
        foreign: None,
    };
    let ground = Ground {
        bridge_nf: false,
        bridge,
    };
    wire::wire(attachment, node_end, ground)
}

/// What a change should have left at one end and has not.
fn unmet(change: &Change, name: &IfName, end: &End, place: &str) -> Option<String> {
    let missing = |is_here: bool, what: &dyn core::fmt::Display| {
        is_here.then(|| format!("{place} lacks {what}"))
    };
    match change {
        Change::AddLink(link) => (link.name == *name)
            .then(|| unlike(&link.kind, name, end))
            .flatten(),
        Change::SetUp(dev) => {
            (dev == name && !end.up).then(|| format!("{name} is down in {place}"))
        }
        Change::AddAddress(address) | Change::AskAddress(address) => missing(
            address.dev == *name && !end.addresses.contains(&address.net),
            address,
        ),
        Change::AddRoute(route) => missing(
            leads(&route.target) == Some(name) && !end.routes.contains(route),
            route,
        ),
        // A route of another table is not looked for.
        Change::AddRouteWith(route, metrics) => missing(
            leads(&route.target) == Some(name)
                && metrics.table.is_none()
                && !end.routes.contains(route),
            route,
        ),
        Change::AddNeighbour(neighbour) => {
            let there = end.neighbours.get(&neighbour.ip) == Some(&neighbour.mac);
            missing(neighbour.dev == *name && !there, neighbour)
        }
        // Sysctls of the pod are a matter of its birth, queues are compared in `bandwidth`; nothing else is part of an attachment's plan.
        Change::SetSysctl(_)
        | Change::SetPromiscuous(_)
        | Change::SetMac(..)
        | Change::AdmitStation(..)
        | Change::SetDown(_)
        | Change::RemoveLink(_)
        | Change::RemoveAddress(_)
        | Change::ReplaceRoute(_)
        | Change::RemoveRoute(_)
        | Change::RemoveNeighbour(_)
        | Change::PutQdisc(_)
        | Change::PutTable(_)
        | Change::RemoveTable
        | Change::AddElements(..)
        | Change::RemoveElements(..)
        | Change::InsertRule(..)
        | Change::RemoveRule(..)
        | Change::ForgetFlows(_)
        | Change::WriteConflist(_)
        | Change::RemoveFile(_)
        | Change::RemoveFolder(_) => None,
    }
}

fn unlike(kind: &LinkKind, name: &IfName, end: &End) -> Option<String> {
    let LinkKind::Veth { alias, port, .. } = kind else {
        return None;
    };
    if *alias != end.alias {
        return Some(format!(
            "link {name} says that it belongs to {:?} and not to {alias:?}",
            end.alias
        ));
    }
    if !end.up {
        return Some(format!("link {name} is down on the node"));
    }
    let bridge = port.as_ref().map(|port| &port.bridge);
    match (bridge, &end.bridge) {
        (Some(wanted), found) if found.as_ref() != Some(wanted) => {
            Some(format!("link {name} is no port of {wanted}"))
        }
        _ => None,
    }
}

fn leads(target: &Target) -> Option<&IfName> {
    match target {
        Target::Dev(dev) | Target::Via(_, dev) => Some(dev),
        Target::Unreachable => None,
    }
}
