//! What of a plan is done for a cluster that is known from an earlier run only, and may be out of date.
//!
//! What lacks is put back, what the cluster does not know stays, and no runtime is told that pods may come. Changes that only
//! make sense together are done together or not at all.

use model::change::Change;
use model::firewall::Set;
use plan::node::Plan;
use std::collections::BTreeSet;

/// Leaves in the plan what mends.
pub(super) fn only(plan: &mut Plan) {
    let shrinking: BTreeSet<Set> = plan.changes.iter().filter_map(shrinks).collect();
    plan.changes.retain(|change| {
        // A chain of others' is rewritten: the rules that are taken out of it are ours, and stand again in the same batch.
        let rewrites = matches!(change, Change::RemoveRule(..));
        // Prefixes that overlap those that stay would be refused, and everything else with them.
        let clashes = grows(change).is_some_and(|set| shrinking.contains(&set));
        rewrites || !(change.takes_away() || clashes)
    });
    plan.conflist = None;
}

fn shrinks(change: &Change) -> Option<Set> {
    if let Change::RemoveElements(set, _) = change {
        Some(*set)
    } else {
        None
    }
}

fn grows(change: &Change) -> Option<Set> {
    if let Change::AddElements(set, _) = change {
        Some(*set)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::addr::Family;
    use model::firewall::{ChainRef, Rule, TableFamily, Verdict};
    use model::name::IfName;

    fn plan_of(changes: Vec<Change>) -> Plan {
        Plan {
            changes,
            conflist: Some(Change::WriteConflist("{}".into())),
            ..Plan::default()
        }
    }

    #[test]
    fn what_is_there_stays_and_what_lacks_comes_back() {
        let link = IfName::new("eth0").unwrap();
        let mut plan = plan_of(vec![Change::RemoveLink(link.clone()), Change::SetUp(link)]);
        only(&mut plan);
        assert_eq!(plan.changes.len(), 1);
        assert!(matches!(plan.changes[0], Change::SetUp(_)));
        assert_eq!(plan.conflist, None);
    }

    #[test]
    fn the_rules_in_a_chain_are_not_added_to_those_that_stand() {
        let chain = || ChainRef {
            family: TableFamily::Ip,
            table: "filter".into(),
            chain: "FORWARD".into(),
        };
        let rule = Rule {
            matches: Vec::new(),
            verdict: Verdict::Accept,
            comment: "podwire: pods".into(),
        };
        let rewrite = vec![
            Change::RemoveRule(chain(), 7),
            Change::InsertRule(chain(), None, rule),
        ];
        let mut plan = plan_of(rewrite.clone());
        only(&mut plan);
        assert_eq!(plan.changes, rewrite);
    }

    #[test]
    fn prefixes_of_a_set_that_may_not_shrink_do_not_come_either() {
        let (shrinking, growing) = (Set::Pods(Family::V4), Set::Nodes(Family::V4));
        let mut plan = plan_of(vec![
            Change::RemoveElements(shrinking, Vec::new()),
            Change::AddElements(shrinking, Vec::new()),
            Change::AddElements(growing, Vec::new()),
        ]);
        only(&mut plan);
        assert_eq!(plan.changes, [Change::AddElements(growing, Vec::new())]);
    }
}
