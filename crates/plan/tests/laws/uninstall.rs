//! Uninstall: whatever a node was before and however it was brought in order, afterwards it is as if nobody had been there.

use super::cases;
use super::world::{World, worlds};
use crate::given::name;
use crate::kernel::apply;
use model::change::Change;
use model::firewall::Role;
use model::net::Former;
use model::remains::Remains;
use model::state::HostState;
use plan::uninstall::{Plan, plan};
use proptest::prelude::*;
use proptest::sample::Index;

/// The node in order, and what the agent has noted on the way.
fn installed(world: &World) -> (HostState, Remains) {
    let mut have = world.have.clone();
    let mut remains = Remains::default();
    let changes = plan::node::plan(&world.cluster, &name("n0"), &have).changes;
    for change in &changes {
        if let Change::SetSysctl(sysctl) = change {
            remains.former.push(Former {
                key: sysctl.key.clone(),
                was: have.sysctls[&sysctl.key].clone(),
                set: sysctl.value.clone(),
            });
        }
        apply(std::slice::from_ref(change), &mut have);
    }
    (have, remains)
}

/// Handles of other people's rules, in their order.
fn others(have: &HostState) -> Vec<Vec<u64>> {
    let chains = have.foreign.iter().map(|chain| {
        let rules = chain.rules.iter();
        let rules = rules.filter(|rule| !matches!(rule.role, Role::Ours(_)));
        rules.map(|rule| rule.handle).collect()
    });
    chains.collect()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn nothing_of_ours_is_left_and_nothing_of_others_is_gone(world in worlds()) {
        let (mut have, remains) = installed(&world);
        apply(&plan(&have, &remains, false).changes, &mut have);
        prop_assert_eq!(&have.table, &None);
        prop_assert!(have.routes.is_empty());
        prop_assert!(have.addresses.iter().all(|address| address.dev.as_str() != "lo"));
        prop_assert_eq!(others(&have), others(&world.have));
        for chain in have.foreign.iter().filter(|chain| !chain.owned) {
            prop_assert!(!chain.rules.iter().any(|rule| matches!(rule.role, Role::Ours(_))));
        }
        prop_assert_eq!(&have.sysctls, &world.have.sysctls);
        prop_assert_eq!(plan(&have, &remains, false).changes, Vec::new());
    }

    #[test]
    fn what_is_broken_off_is_resumed(world in worlds(), at in any::<Index>()) {
        let (have, remains) = installed(&world);
        let changes = plan(&have, &remains, false).changes;
        let mut straight = have.clone();
        apply(&changes, &mut straight);
        let mut resumed = have;
        apply(&changes[..at.index(changes.len() + 1)], &mut resumed);
        let Plan { changes, .. } = plan(&resumed, &remains, false);
        apply(&changes, &mut resumed);
        prop_assert_eq!(resumed, straight);
    }
}
