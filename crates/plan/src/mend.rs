//! What is done for a cluster that is known from an earlier run only, and may be out of date.
//!
//! What lacks is put back, and what the cluster does not know stays: a node that came later stands in the kernel only, as a
//! route, a prefix in our table and a rule in others' chains. No runtime is told that pods may come. Changes that only make
//! sense together are done together or not at all.

use crate::node::{self, Plan};
use crate::order::merged;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use ipnet::IpNet;
use model::change::Change;
use model::cluster::Cluster;
use model::firewall::{ChainRef, Element, Elements, Hook, Is, Match, Role, Set};
use model::name::NodeName;
use model::net::Target;
use model::state::HostState;

/// What mends the node `own`.
#[must_use]
pub fn plan(cluster: &Cluster, own: &NodeName, have: &HostState) -> Plan {
    let mut known = cluster.clone();
    known.prefixes.extend(prefixes(have));
    let mut remembered = have.clone();
    remembered.inhabited.extend(node::earlier_ranges(have));
    let mut plan = node::plan(&known, own, &remembered);
    only(&mut plan, have);
    plan
}

/// Prefixes of pods that stand in our table, and in what outlives it: rules of ours in others' chains, and routes to nodes.
fn prefixes(have: &HostState) -> BTreeSet<IpNet> {
    let sets = have.table.iter().flat_map(|table| &table.elements);
    let held = sets
        .filter(|(set, _)| matches!(set, Set::Pods(_)))
        .flat_map(|(_, elements)| elements.iter().filter_map(Element::net));
    let chains = have.foreign.iter().filter(|it| it.hook == Hook::Forward);
    let matches = chains
        .flat_map(|chain| &chain.rules)
        .filter_map(|rule| match &rule.role {
            Role::Ours(matches) => Some(matches),
            Role::Final | Role::Other => None,
        })
        .flatten();
    let passed = matches.filter_map(|it| {
        if let Match::Source(Is::In, net) | Match::Destination(Is::In, net) = it {
            Some(*net)
        } else {
            None
        }
    });
    let ways = have.routes.iter().filter_map(|route| match route.target {
        Target::Via(..) => Some(route.dst),
        Target::Dev(_) | Target::Unreachable => None,
    });
    held.chain(passed).chain(ways).collect()
}

/// Leaves in the plan what mends.
fn only(plan: &mut Plan, have: &HostState) {
    let none = Elements::new();
    let held = have.table.as_ref().map_or(&none, |table| &table.elements);
    let rewritten: BTreeSet<ChainRef> = plan.changes.iter().filter_map(inserts).collect();
    let shrinking: BTreeSet<Set> = plan.changes.iter().filter_map(shrinks).collect();
    for change in &mut plan.changes {
        if let Change::PutTable(table) = change {
            let both = merged(&table.elements, held);
            table.elements.extend(both);
        }
        if let Change::AddElements(set, elements) = change
            && shrinking.contains(set)
        {
            elements.retain(|element| fits(*set, element, held));
        }
    }
    let wider = grown(&plan.changes);
    for change in &mut plan.changes {
        if let Change::RemoveElements(set, elements) = change {
            let wider = wider.get(set).map_or(&[][..], Vec::as_slice);
            elements.retain(|element| is_within(element, wider));
        }
    }
    plan.changes.retain(|change| {
        if let Change::AddElements(_, elements) | Change::RemoveElements(_, elements) = change {
            return !elements.is_empty();
        }
        if let Change::RemoveRule(chain, _) = change {
            // What is taken out is ours, and stands again in the same batch.
            return rewritten.contains(chain);
        }
        if let Change::ReplaceRoute(route) = change {
            return !leads(have, route.dst);
        }
        !change.takes_away()
    });
    plan.conflist = None;
}

/// Whether a route of ours stands for all that a new one would be for.
fn leads(have: &HostState, dst: IpNet) -> bool {
    have.routes.iter().any(|route| route.dst.contains(&dst))
}

/// Whether an element can be added to a set that others stay in: an interval takes no overlap, and a place one owner.
fn fits(set: Set, element: &Element, held: &Elements) -> bool {
    let held: Vec<IpNet> = held
        .get(&set)
        .into_iter()
        .flatten()
        .filter_map(Element::net)
        .collect();
    !set.is_owned() && !is_within(element, &held)
}

fn is_within(element: &Element, nets: &[IpNet]) -> bool {
    let net = element.net();
    net.is_some_and(|net| nets.iter().any(|wider| wider.contains(&net)))
}

/// The prefixes that are added, by set.
fn grown(changes: &[Change]) -> BTreeMap<Set, Vec<IpNet>> {
    let mut grown: BTreeMap<Set, Vec<IpNet>> = BTreeMap::new();
    for change in changes {
        if let Change::AddElements(set, elements) = change {
            let nets = elements.iter().filter_map(Element::net);
            grown.entry(*set).or_default().extend(nets);
        }
    }
    grown
}

fn shrinks(change: &Change) -> Option<Set> {
    if let Change::RemoveElements(set, _) = change {
        Some(*set)
    } else {
        None
    }
}

fn inserts(change: &Change) -> Option<ChainRef> {
    if let Change::InsertRule(chain, ..) = change {
        Some(chain.clone())
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
