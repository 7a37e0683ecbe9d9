//! Changes of the ruleset together, and where that fails, each table's on their own.
//!
//! One transaction is quick, and all of it or nothing. If the kernel refuses it for the sake of one chain, the others must
//! not suffer: then our own table is one transaction and each foreign chain another.

use host::machine::Machine;
use host::{Error, Report};
use model::change::Change;
use model::firewall::ChainRef;
use std::collections::BTreeMap;

/// As [`Machine::apply`], but a refused change of the ruleset takes only those with it that belong to it.
pub(super) fn apply(machine: &mut Machine, changes: &[Change], generation: u32) -> Report {
    let mut report = machine.apply(changes, generation);
    let groups = groups(changes, &report.failed);
    if groups.len() < 2 {
        return report;
    }
    report
        .failed
        .retain(|(place, _)| owner(&changes[*place]).is_none());
    let mut generation = generation;
    for places in groups.values() {
        let group: Vec<Change> = places.iter().map(|place| changes[*place].clone()).collect();
        let failed = machine.apply(&group, generation).failed;
        if failed.is_empty() {
            // What the kernel counts for one transaction; if somebody else's came between, the next group is refused as
            // stale, and everything is looked at anew. The kernel leaves 0 out.
            generation = generation.checked_add(1).unwrap_or(1);
        }
        let placed = failed.into_iter().map(|(i, error)| (places[i], error));
        report.failed.extend(placed);
    }
    report
}

/// The refused changes of the ruleset by what they belong to; none if the ruleset itself was another one.
fn groups(changes: &[Change], failed: &[(usize, Error)]) -> BTreeMap<Owner, Vec<usize>> {
    let mut groups: BTreeMap<Owner, Vec<usize>> = BTreeMap::new();
    for (place, error) in failed {
        if let Some(owner) = owner(&changes[*place]) {
            if error.is_stale() {
                return BTreeMap::new();
            }
            groups.entry(owner).or_default().push(*place);
        }
    }
    groups
}

/// What a change of the ruleset belongs to: our own table first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Us,
    Other(ChainRef),
}

fn owner(change: &Change) -> Option<Owner> {
    match change {
        Change::PutTable(_)
        | Change::RemoveTable
        | Change::AddElements(..)
        | Change::RemoveElements(..) => Some(Owner::Us),
        Change::InsertRule(chain, ..) | Change::RemoveRule(chain, _) => {
            Some(Owner::Other(chain.clone()))
        }
        Change::SetSysctl(_)
        | Change::AddLink(_)
        | Change::SetPromiscuous(_)
        | Change::SetMac(..)
        | Change::AskAddress(_)
        | Change::AddRouteWith(..)
        | Change::AdmitStation(..)
        | Change::SetUp(_)
        | Change::SetDown(_)
        | Change::RemoveLink(_)
        | Change::AddAddress(_)
        | Change::RemoveAddress(_)
        | Change::AddRoute(_)
        | Change::ReplaceRoute(_)
        | Change::RemoveRoute(_)
        | Change::AddNeighbour(_)
        | Change::RemoveNeighbour(_)
        | Change::PutQdisc(_)
        | Change::ForgetFlows(_)
        | Change::WriteConflist(_)
        | Change::RemoveFile(_)
        | Change::RemoveFolder(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::firewall::TableFamily;
    use model::name::IfName;

    fn remove(table: &str, handle: u64) -> Change {
        let chain = ChainRef {
            family: TableFamily::Ip,
            table: table.into(),
            chain: "FORWARD".into(),
        };
        Change::RemoveRule(chain, handle)
    }

    fn changes() -> Vec<Change> {
        vec![
            Change::SetUp(IfName::lo()),
            Change::RemoveTable,
            remove("filter", 1),
            remove("other", 2),
            remove("filter", 3),
        ]
    }

    fn refused(places: &[usize], number: i32) -> Vec<(usize, Error)> {
        let error = std::io::Error::from_raw_os_error(number);
        let error = Error::io("change the ruleset", &error);
        places.iter().map(|place| (*place, error.clone())).collect()
    }

    #[test]
    fn a_refused_transaction_falls_into_our_table_and_each_foreign_chain() {
        const EPERM: i32 = 1;
        let groups = groups(&changes(), &refused(&[0, 1, 2, 3, 4], EPERM));
        let places: Vec<_> = groups.into_values().collect();
        assert_eq!(places, [vec![1], vec![2, 4], vec![3]]);
    }

    #[test]
    fn a_stale_transaction_is_not_tried_in_parts() {
        const ERESTART: i32 = 85;
        assert!(groups(&changes(), &refused(&[1, 2, 3, 4], ERESTART)).is_empty());
    }
}
