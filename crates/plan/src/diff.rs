//! What is wanted against what was observed, for things that come in numbers: routes, and our table.
//!
//! Additions come before removals, so that no packet meets a gap. Two laws hold and are tested: applying the difference
//! gives what was wanted, and the difference of equals is empty.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use ipnet::IpNet;
use model::change::Change;
use model::firewall::{Element, Elements, Set, Table, TableState};
use model::net::{Route, Target};

/// Changes that make the routes `have` into the routes `want`.
#[must_use]
pub fn routes(want: &BTreeSet<Route>, have: &BTreeSet<Route>) -> Vec<Change> {
    let places: BTreeSet<(IpNet, bool)> = want.iter().map(place).collect();
    let add = want
        .difference(have)
        .map(|route| Change::ReplaceRoute(route.clone()));
    let remove = have.iter().filter(|route| !places.contains(&place(route)));
    add.chain(remove.map(|route| Change::RemoveRoute(route.clone())))
        .collect()
}

/// Where a route stands: one replaces another only with the same destination and the same metric, and unreachable routes
/// have a metric of their own.
pub(crate) fn place(route: &Route) -> (IpNet, bool) {
    (route.dst, route.target == Target::Unreachable)
}

/// Changes that make our table hold exactly this.
#[must_use]
pub fn table(want: &Table, have: Option<&TableState>) -> Vec<Change> {
    let Some(have) = have.filter(|have| intact(want, have)) else {
        return Vec::from([Change::PutTable(want.clone())]);
    };
    let mut changes = Vec::new();
    for set in Set::ALL {
        let (want, have) = (of(&want.elements, set), of(&have.elements, set));
        let gone: Vec<Element> = have.difference(&want).cloned().collect();
        let new: Vec<Element> = want.difference(&have).cloned().collect();
        // Within one set removals come first: a prefix and one that it lies in cannot stand together. All of a table's
        // changes are one transaction, so nobody sees the moment in between.
        if !gone.is_empty() {
            changes.push(Change::RemoveElements(set, gone));
        }
        if !new.is_empty() {
            changes.push(Change::AddElements(set, new));
        }
    }
    changes
}

/// Whether the table's chains are this version's and hold as many rules as they should.
#[must_use]
pub fn intact(want: &Table, have: &TableState) -> bool {
    let rules: BTreeMap<&str, usize> = want
        .chains
        .iter()
        .map(|chain| (chain.name, chain.rules.len()))
        .collect();
    want.version == have.version
        && have
            .rules
            .iter()
            .map(|(name, count)| (name.as_str(), *count))
            .eq(rules)
}

fn of(elements: &Elements, set: Set) -> BTreeSet<Element> {
    elements.get(&set).cloned().unwrap_or_default()
}

/// The prefixes without those that lie in another one: an interval set takes no overlap.
#[must_use]
pub fn outermost(nets: impl IntoIterator<Item = IpNet>) -> BTreeSet<IpNet> {
    // In their order a prefix stands before all that lie in it, and nothing else stands between.
    let all: BTreeSet<IpNet> = nets.into_iter().map(|net| net.trunc()).collect();
    let mut outer: Vec<IpNet> = Vec::new();
    for net in all {
        if !outer.last().is_some_and(|last| last.contains(&net)) {
            outer.push(net);
        }
    }
    outer.into_iter().collect()
}
