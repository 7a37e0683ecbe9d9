//! What a node would show after changes were applied to it: the kernel as far as plans can tell.
//!
//! It refuses what the kernel refuses (rtnetlink(7), nft(8)), because a plan that asks for it is wrong even if it would end
//! well: a preferred source that is not on the node, overlapping prefixes in an interval set, a rule before one that is
//! gone. Removing an address takes along the routes that prefer it.

use model::addr::Family;
use model::change::Change;
use model::firewall::{
    ChainRef, Element, Elements, ForeignChain, ForeignRule, Role, Rule, Set, SetKind, Table,
    TableState,
};
use model::net::{Address, Route, Target};
use model::state::HostState;

/// Applies changes in their order.
pub(crate) fn apply(changes: &[Change], have: &mut HostState) {
    for change in changes {
        step(change, have);
    }
}

fn step(change: &Change, have: &mut HostState) {
    match change {
        Change::SetSysctl(sysctl) => {
            let old = have
                .sysctls
                .insert(sysctl.key.clone(), sysctl.value.clone());
            assert!(old.is_some(), "the kernel has no such file: {change}");
        }
        Change::AddAddress(address) => {
            have.addresses.insert(address.clone());
        }
        Change::RemoveAddress(address) => remove_address(address, have),
        Change::ReplaceRoute(route) => replace_route(route, have),
        Change::RemoveRoute(route) => {
            have.routes.remove(route);
        }
        Change::PutTable(table) => have.table = Some(observed(table)),
        Change::RemoveTable => have.table = None,
        Change::RemoveLink(dev) => {
            assert!(have.links.remove(dev).is_some(), "no such link: {change}");
            have.addresses.retain(|address| address.dev != *dev);
        }
        // Files are not part of a node's state, but for the agent's own.
        Change::RemoveFile(path) if path.ends_with("10-podwire.conflist") => have.conflist = None,
        Change::RemoveFile(_) | Change::RemoveFolder(_) => {}
        Change::AddElements(set, new) => {
            let held = elements(have).entry(*set).or_default();
            assert!(new.iter().all(|e| held.insert(e.clone())), "{change}");
            no_overlap(elements(have));
        }
        Change::RemoveElements(set, gone) => {
            let held = elements(have).entry(*set).or_default();
            assert!(gone.iter().all(|e| held.remove(e)), "{change}");
            elements(have).retain(|_, held| !held.is_empty());
        }
        Change::InsertRule(at, before, rule) => {
            insert(foreign(have, at), *before, rule);
        }
        Change::RemoveRule(at, handle) => {
            let rules = &mut foreign(have, at).rules;
            let old = rules.iter().position(|rule| rule.handle == *handle);
            let old = rules.remove(old.expect("a rule with that handle"));
            assert!(matches!(old.role, Role::Ours(_)), "not ours: {change}");
        }
        // Flows are not part of what a plan reads.
        Change::ForgetFlows(_) => {}
        Change::WriteConflist(text) => have.conflist = Some(text.clone()),
        Change::AddLink(_)
        | Change::SetPromiscuous(_)
        | Change::SetMac(..)
        | Change::AskAddress(_)
        | Change::AddRouteWith(..)
        | Change::AdmitStation(..)
        | Change::SetUp(_)
        | Change::SetDown(_)
        | Change::AddRoute(_)
        | Change::AddNeighbour(_)
        | Change::RemoveNeighbour(_)
        | Change::PutQdisc(_) => panic!("no change for a whole node: {change}"),
    }
}

fn remove_address(address: &Address, have: &mut HostState) {
    assert!(have.addresses.remove(address), "no such {address}");
    let ip = address.net.addr();
    if !have.addresses.iter().any(|a| a.net.addr() == ip) {
        have.routes.retain(|route| route.src != Some(ip));
    }
}

fn replace_route(route: &Route, have: &mut HostState) {
    if let Target::Via(_, dev) = &route.target {
        assert_ne!(
            dev.as_str(),
            "lo",
            "the gateway is the node itself: {route}"
        );
    }
    if let Some(src) = route.src {
        let local = have.addresses.iter().any(|a| a.net.addr() == src);
        assert!(local, "the preferred source is not on the node: {route}");
    }
    let refuses = |r: &Route| r.target == Target::Unreachable;
    have.routes
        .retain(|old| old.dst != route.dst || refuses(old) != refuses(route));
    have.routes.insert(route.clone());
}

/// Our table as it shows once it is put.
pub(crate) fn observed(table: &Table) -> TableState {
    no_overlap(&table.elements);
    let rules = table.chains.iter();
    TableState {
        version: table.version.clone(),
        rules: rules.map(|c| (c.name.to_string(), c.rules.len())).collect(),
        elements: table.elements.clone(),
    }
}

fn elements(have: &mut HostState) -> &mut Elements {
    &mut have.table.as_mut().expect("our table is there").elements
}

fn no_overlap(elements: &Elements) {
    for (set, held) in elements {
        for element in held {
            match (set.kind(), element) {
                (SetKind::Interfaces, Element::Interface(_)) => {}
                (SetKind::Addresses(_), Element::Net(net)) => {
                    assert_eq!(net.prefix_len(), net.max_prefix_len(), "{set} {net}");
                }
                (SetKind::Prefixes(_), Element::Net(net)) => alone(*set, *net, held),
                (SetKind::Ports(family), Element::Port(port)) => {
                    assert!(port.at.is_none() && Family::of(port.pod.ip()) == family);
                    one_place(element, held);
                }
                (SetKind::PortsAt(family), Element::Port(port)) => {
                    let families = port.at.map(Family::of);
                    assert_eq!(
                        (families, Family::of(port.pod.ip())),
                        (Some(family), family)
                    );
                    one_place(element, held);
                }
                (SetKind::Pairs(family), Element::Pair(ip, _))
                | (SetKind::Pods(family), Element::Pod(ip, _)) => {
                    assert_eq!(Family::of(*ip), family);
                    one_place(element, held);
                }
                _ => panic!("{element} is of another kind than set {set}"),
            }
        }
    }
}

/// Nothing else of the set has the element's key.
fn one_place(element: &Element, held: &std::collections::BTreeSet<Element>) {
    let there = held.iter().filter(|other| other.place() == element.place());
    assert_eq!(there.count(), 1, "two elements in the place of {element}");
}

fn alone(set: Set, net: ipnet::IpNet, held: &std::collections::BTreeSet<Element>) {
    let overlap = held
        .iter()
        .filter(|other| matches!(other, Element::Net(other) if other.contains(&net)))
        .count();
    assert_eq!(overlap, 1, "{net} overlaps another element of {set}");
}

fn foreign<'a>(have: &'a mut HostState, at: &ChainRef) -> &'a mut ForeignChain {
    let mut chains = have.foreign.iter_mut();
    let chain = chains.find(|chain| chain.chain == *at);
    let chain = chain.expect("a chain that was observed");
    assert!(!chain.owned, "nobody but its owner writes {at}");
    chain
}

fn insert(chain: &mut ForeignChain, before: Option<u64>, rule: &Rule) {
    let handles = chain.rules.iter().map(|rule| rule.handle);
    let handle = handles.clone().max().unwrap_or(0) + 1;
    let place = match before {
        None => chain.rules.len(),
        Some(before) => {
            let mut handles = handles;
            handles
                .position(|handle| handle == before)
                .expect("the rule before which it is put")
        }
    };
    let role = Role::Ours(rule.matches.clone());
    chain.rules.insert(place, ForeignRule { handle, role });
}
