//! Other people's chains: our rules end up directly before the end, and nothing else is touched.

use super::{cases, world};
use crate::given::dev;
use crate::kernel::apply;
use ipnet::IpNet;
use model::addr::Family;
use model::firewall::{ForeignChain, ForeignRule, Hook, Is, Match, Role};
use model::name::IfName;
use model::state::HostState;
use plan::foreign::{Pods, pass, stopped, unwritable};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn ours(rule: &ForeignRule) -> bool {
    matches!(rule.role, Role::Ours(_))
}

fn theirs(chain: &ForeignChain) -> Vec<&ForeignRule> {
    chain.rules.iter().filter(|rule| !ours(rule)).collect()
}

/// The place of the first rule that lets nothing pass, or the place behind the last one if the policy drops.
fn end(chain: &ForeignChain) -> Option<usize> {
    let last = chain.rules.iter().position(|rule| rule.role == Role::Final);
    last.or_else(|| chain.drops.then_some(chain.rules.len()))
}

/// What has to stand in a chain: sources and destinations on forward, links with sources on input.
fn needed(
    chain: &ForeignChain,
    nets: &BTreeSet<IpNet>,
    bridge: &IfName,
) -> BTreeSet<BTreeSet<Match>> {
    let seen = nets
        .iter()
        .filter(|net| chain.chain.family.sees(Family::of(net.addr())));
    let rules = seen.flat_map(|net| {
        let source = Match::Source(Is::In, *net);
        let from = |link: &str| BTreeSet::from([Match::Iif(Is::In, link.into()), source.clone()]);
        match chain.hook {
            Hook::Forward => [
                BTreeSet::from([source]),
                BTreeSet::from([Match::Destination(Is::In, *net)]),
            ],
            Hook::Input => [from("pw*"), from(bridge.as_str())],
            Hook::Prerouting | Hook::Output | Hook::Postrouting => panic!("not one of these"),
        }
    });
    rules.collect()
}

/// The chain after it was brought in order, and what a second look would do.
fn passed(chain: &ForeignChain, nets: &BTreeSet<IpNet>) -> (ForeignChain, usize) {
    let bridges = BTreeSet::from([dev("cni0")]);
    let pods = Pods {
        cluster: nets,
        local: nets,
        bridges: &bridges,
    };
    let mut state = HostState {
        foreign: Vec::from([chain.clone()]),
        ..HostState::default()
    };
    apply(&pass(chain, &pods), &mut state);
    let chain = state.foreign.remove(0);
    let again = pass(&chain, &pods).len();
    (chain, again)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn one_pass_is_enough(chain in world::chain(), nets in world::nets()) {
        let (_, again) = passed(&chain, &plan::diff::outermost(nets));
        prop_assert_eq!(again, 0);
    }

    #[test]
    fn nobody_elses_rule_moves_or_vanishes(chain in world::chain(), nets in world::nets()) {
        let (after, _) = passed(&chain, &plan::diff::outermost(nets));
        prop_assert_eq!(theirs(&after), theirs(&chain));
    }

    #[test]
    fn our_rules_stand_directly_before_the_end_and_nowhere_else(chain in world::chain(), nets in world::nets()) {
        let nets = plan::diff::outermost(nets);
        let (after, _) = passed(&chain, &nets);
        let Some(end) = end(&after).filter(|_| !chain.owned) else { return Ok(()) };
        if stopped(&chain).is_some() && after == chain {
            return Ok(());
        }
        let needed = needed(&chain, &nets, &dev("cni0"));
        let first = end - needed.len();
        let found: BTreeSet<BTreeSet<Match>> = after.rules[first..end].iter().filter_map(|rule| match &rule.role {
            Role::Ours(matches) => Some(matches.iter().cloned().collect()),
            Role::Final | Role::Other => None,
        }).collect();
        prop_assert_eq!(found, needed);
        prop_assert!(!after.rules[..first].iter().chain(&after.rules[end..]).any(ours));
    }

    #[test]
    fn no_rule_of_ours_comes_before_somebodys_that_stood_before_the_end(chain in world::chain(), nets in world::nets()) {
        let (after, _) = passed(&chain, &plan::diff::outermost(nets));
        let Some(end) = end(&chain).filter(|_| !chain.owned && after != chain) else { return Ok(()) };
        let earlier: Vec<_> = chain.rules[..end].iter().filter(|rule| !ours(rule)).collect();
        let before_ours: Vec<_> = after.rules.iter().take_while(|rule| !ours(rule)).collect();
        if after.rules.iter().any(ours) {
            prop_assert_eq!(before_ours, earlier);
        }
    }

    #[test]
    fn a_chain_that_accepts_at_its_end_or_has_an_owner_is_never_touched(chain in world::chain(), nets in world::nets()) {
        let (after, _) = passed(&chain, &plan::diff::outermost(nets));
        if chain.owned || end(&chain).is_none() {
            prop_assert_eq!(&after, &chain);
        }
        prop_assert_eq!(unwritable(&chain).is_some(), chain.owned && end(&chain).is_some());
    }
}
