//! A node without an agent: what the plugin itself puts in order before a pod starts.
//!
//! Our table, forwarding, and other people's forward chains; the routes to other nodes are the agent's. Several networks
//! may share the node, so what is in our sets stays in them and only what lacks is added, host ports that a lost table had
//! among it.

use crate::node::{IPV4_FORWARD, IPV6_FORWARD};
use crate::{diff, foreign, masquerade, ports};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use ipnet::IpNet;
use model::addr::Family;
use model::attachment::Mode;
use model::change::Change;
use model::cni::NetConf;
use model::firewall::{Element, Elements, Set};
use model::name::IfName;
use model::net::Sysctl;
use model::state::HostState;

/// The sysctls of forwarding that matter to this network.
#[must_use]
pub fn forwarding(conf: &NetConf) -> Vec<&'static str> {
    let has_ipv6 = conf.ranges.iter().any(|range| range.family() == Family::V6);
    let mut keys = Vec::new();
    keys.extend(conf.alone.then_some(IPV4_FORWARD));
    keys.extend((conf.alone && has_ipv6).then_some(IPV6_FORWARD));
    keys
}

/// Who puts the node in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The plugin, and nobody else.
    Alone,
    /// The plugin, beside an agent that knows the cluster: which addresses are pods' is the agent's to say, and the plugin
    /// only sees to its own ranges. With more, each would undo what the other did.
    BesideAgent,
}

/// Names what [`order`] wants: a ruleset that was in order for one configuration and one version of our table need not be so
/// for another.
#[must_use]
pub fn mark(conf: &NetConf, by: By) -> u64 {
    let mut text = format!("{} {}", masquerade::VERSION, conf.alone);
    for (set, elements) in wanted(conf, by) {
        text += set.name();
        for element in elements {
            text += &format!(" {element}");
        }
    }
    masquerade::digest(&text)
}

/// Changes that put the node in order for this network; none if it is. Of `have` the table, the foreign chains, the
/// attachments with host ports, the sysctls of [`forwarding`] and each link's `accept_ra` are read.
#[must_use]
pub fn order(conf: &NetConf, by: By, have: &HostState) -> Vec<Change> {
    let mut changes = Vec::new();
    let set = |key: &str, value: &str| {
        Change::SetSysctl(Sysctl {
            key: key.into(),
            value: value.into(),
        })
    };
    for key in forwarding(conf) {
        if have.sysctls.get(key).is_none_or(|value| value != "0") {
            continue;
        }
        // A node that forwards IPv6 would stop to hear its own router.
        let hears =
            |(key, value): &(&String, &String)| key.ends_with("/accept_ra") && *value == "1";
        let hearing = have.sysctls.iter().filter(hears);
        changes.extend(
            hearing
                .filter(|_| key == IPV6_FORWARD)
                .map(|(key, _)| set(key, "2")),
        );
        changes.push(set(key, "1"));
    }
    let held = have
        .table
        .as_ref()
        .map(|table| table.elements.clone())
        .unwrap_or_default();
    let mut elements = merged(&wanted(conf, by), &held);
    elements.extend(ports::kept(&have.publishing, &held));
    changes.extend(diff::table(
        &masquerade::table(elements.clone()),
        have.table.as_ref(),
    ));
    let cluster = nets(&elements, [Set::Pods(Family::V4), Set::Pods(Family::V6)]);
    let local = nets(&elements, [Set::Local(Family::V4), Set::Local(Family::V6)]);
    let bridges = bridges(&elements);
    let pods = foreign::Pods {
        cluster: &cluster,
        local: &local,
        bridges: &bridges,
    };
    changes.extend(
        have.foreign
            .iter()
            .flat_map(|chain| foreign::pass(chain, &pods)),
    );
    // Whoever asked for a port while the table was gone would be led nowhere for ever.
    changes.extend(ports::flows(&ports::new(&elements, Some(&held)), false));
    changes
}

fn wanted(conf: &NetConf, by: By) -> Elements {
    let mut elements = Elements::new();
    let ranges = conf.ranges.iter().map(|range| range.net());
    let prefixes = match by {
        By::Alone => conf.prefixes.as_slice(),
        By::BesideAgent => &[],
    };
    let own = ranges.clone().filter(|_| conf.bridged.is_none());
    for net in prefixes.iter().copied().chain(own) {
        elements
            .entry(Set::Pods(Family::of(net.addr())))
            .or_default()
            .insert(Element::Net(net));
    }
    // A bridge of somebody's own is asked to masquerade pod by pod.
    for net in ranges.filter(|_| conf.bridged.is_none()) {
        elements
            .entry(Set::Local(Family::of(net.addr())))
            .or_default()
            .insert(Element::Net(net));
    }
    // Pods on one wire answer each other directly; what was led from one to the other must come back through the node.
    let shared = conf.ranges.iter().filter(|_| conf.bridged.is_some());
    for net in shared.map(|range| range.net()) {
        elements
            .entry(Set::Shared(Family::of(net.addr())))
            .or_default()
            .insert(Element::Net(net));
    }
    if let Mode::Bridge(bridge) | Mode::Chained(bridge) = &conf.mode {
        elements
            .entry(Set::Bridges)
            .or_default()
            .insert(Element::Interface(bridge.clone()));
    }
    elements
}

/// What is wanted together with what stands, without the sets that have owners.
pub(crate) fn merged(want: &Elements, have: &Elements) -> Elements {
    let mut all = Elements::new();
    for set in Set::ALL.into_iter().filter(|set| !set.is_owned()) {
        let both = || {
            [want, have]
                .into_iter()
                .filter_map(move |elements| elements.get(&set))
                .flatten()
        };
        let prefixes = both().filter_map(Element::net);
        let mut elements: BTreeSet<Element> = diff::outermost(prefixes)
            .into_iter()
            .map(Element::Net)
            .collect();
        elements.extend(
            both()
                .filter(|element| element.interface().is_some())
                .cloned(),
        );
        if !elements.is_empty() {
            all.insert(set, elements);
        }
    }
    all
}

fn nets(elements: &Elements, sets: [Set; 2]) -> BTreeSet<IpNet> {
    let found = sets
        .iter()
        .filter_map(|set| elements.get(set))
        .flatten()
        .filter_map(Element::net);
    found.collect()
}

fn bridges(elements: &Elements) -> BTreeSet<IfName> {
    let found = elements.get(&Set::Bridges).into_iter().flatten();
    found.filter_map(Element::interface).cloned().collect()
}
