//! A whole node: one round brings it in order, whatever it was before and wherever the round was broken off.

use super::cases;
use super::world::{World, worlds};
use crate::given::name;
use crate::kernel::apply;
use ipnet::IpNet;
use model::addr::Family;
use model::change::Change;
use model::cni::Valid;
use model::firewall::{Element, Role, Set};
use model::net::{Route, Target};
use model::state::HostState;
use model::status::Path;
use plan::node::Plan;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;

fn plan(world: &World, have: &HostState) -> Plan {
    plan::node::plan(&world.cluster, &name("n0"), have)
}

fn settled(world: &World, have: &HostState) -> HostState {
    let plan = plan(world, have);
    let mut have = have.clone();
    apply(&plan.changes, &mut have);
    apply(plan.conflist.as_slice(), &mut have);
    have
}

/// A node without the handles of rules, which depend on the way it took.
fn without_handles(mut have: HostState) -> HostState {
    for rule in have.foreign.iter_mut().flat_map(|chain| &mut chain.rules) {
        if matches!(rule.role, Role::Ours(_)) {
            rule.handle = 0;
        }
    }
    have
}

/// Destinations that are led somewhere.
fn led(routes: &BTreeSet<Route>) -> BTreeSet<IpNet> {
    let ways = routes.iter().filter(|r| r.target != Target::Unreachable);
    ways.map(|route| route.dst).collect()
}

fn local(have: &HostState) -> BTreeSet<std::net::IpAddr> {
    have.addresses.iter().map(|a| a.net.addr()).collect()
}

proptest! {
    #![proptest_config(cases())]

    /// What is reckoned is what the kernel shows.
    #[test]
    fn a_node_that_is_not_looked_at_again_is_as_it_would_show(mut world in worlds(), gone in any::<Index>()) {
        let before = settled(&world, &world.have);
        let names: Vec<_> = world.cluster.nodes.keys().filter(|it| **it != name("n0")).cloned().collect();
        if !names.is_empty() {
            world.cluster.nodes.remove(gone.get(&names));
        }
        let plan = plan(&world, &before);
        let changes: Vec<Change> = plan.changes.into_iter().chain(plan.conflist).collect();
        if let Some(mut reckoned) = plan::after::after(before.clone(), &changes) {
            let mut shown = before;
            apply(&changes, &mut shown);
            reckoned.generation = shown.generation;
            // An empty set shows nothing.
            for state in [&mut reckoned, &mut shown] {
                if let Some(table) = &mut state.table {
                    table.elements.retain(|_, held| !held.is_empty());
                }
            }
            prop_assert_eq!(reckoned, shown);
        }
    }

    #[test]
    fn one_round_brings_a_node_in_order(world in worlds()) {
        let first = plan(&world, &world.have);
        let second = plan(&world, &settled(&world, &world.have));
        prop_assert_eq!(second, Plan { changes: Vec::new(), conflist: None, ..first });
    }

    #[test]
    fn a_crash_after_any_change_loses_nothing(world in worlds(), at in any::<Index>()) {
        let changes = plan(&world, &world.have).changes;
        let mut broken = world.have.clone();
        apply(&changes[..at.index(changes.len() + 1)], &mut broken);
        let resumed = settled(&world, &broken);
        let straight = settled(&world, &world.have);
        prop_assert_eq!(without_handles(resumed), without_handles(straight));
    }

    #[test]
    fn a_way_or_an_address_that_stays_is_never_missing(world in worlds()) {
        let after = settled(&world, &world.have);
        let ways: BTreeSet<_> = led(&world.have.routes).intersection(&led(&after.routes)).copied().collect();
        let own: BTreeSet<_> = local(&world.have).intersection(&local(&after)).copied().collect();
        let mut have = world.have.clone();
        for change in plan(&world, &world.have).changes {
            apply(std::slice::from_ref(&change), &mut have);
            prop_assert!(led(&have.routes).is_superset(&ways), "after: {}", change);
            prop_assert!(local(&have).is_superset(&own), "after: {}", change);
        }
    }

    #[test]
    fn every_direct_peer_has_a_route_and_every_other_one_a_finding(world in worlds()) {
        let after = settled(&world, &world.have);
        let Plan { peers, findings, .. } = plan(&world, &world.have);
        let ways: Vec<_> = peers.iter().flat_map(|peer| &peer.ways).collect();
        let direct = ways.iter().filter(|way| way.path != Path::None);
        let direct: BTreeSet<IpNet> = direct.map(|way| way.range.net()).collect();
        prop_assert_eq!(&led(&after.routes), &direct);
        prop_assert!(findings.len() >= ways.len() - direct.len());
        let own = &world.cluster.nodes[&name("n0")].ranges;
        for route in after.routes.iter().filter(|route| route.target != Target::Unreachable) {
            let source = own.iter().find(|r| r.family() == Family::of(route.dst.addr()));
            prop_assert_eq!(route.src, source.map(|range| range.gateway()));
        }
    }

    #[test]
    fn every_range_that_is_served_has_its_first_address_and_an_end(world in worlds()) {
        let after = settled(&world, &world.have);
        let own = world.cluster.nodes[&name("n0")].ranges.iter().map(|range| range.net());
        let inhabited = world.have.inhabited.iter().map(|range| range.net());
        let served: BTreeSet<IpNet> = own.chain(inhabited).collect();
        let ends = after.routes.iter().filter(|route| route.target == Target::Unreachable);
        let firsts = served.iter().filter_map(|net| net.hosts().nth(usize::from(net.max_prefix_len() == 128)));
        let firsts: BTreeSet<_> = firsts.collect();
        prop_assert_eq!(ends.map(|route| route.dst).collect::<BTreeSet<_>>(), served);
        let on_lo = after.addresses.iter().filter(|a| a.dev.as_str() == "lo");
        prop_assert_eq!(on_lo.map(|a| a.net.addr()).collect::<BTreeSet<_>>(), firsts);
    }

    #[test]
    fn every_pod_is_one_of_ours_and_of_the_clusters(world in worlds()) {
        let held = settled(&world, &world.have).table.expect("a table").elements;
        for range in &world.have.inhabited {
            let family = range.family();
            for set in [Set::Local(family), Set::Pods(family)] {
                let holds = |e: &Element| matches!(e, Element::Net(net) if net.contains(&range.net()));
                prop_assert!(held.get(&set).into_iter().flatten().any(holds), "{} not in {}", range, set);
            }
        }
    }

    #[test]
    fn the_plugin_reads_what_the_conflist_says(world in worlds()) {
        let plan = plan(&world, &HostState { conflist: None, ..world.have.clone() });
        let Some(Change::WriteConflist(text)) = plan.conflist else { panic!("no conflist") };
        // What a runtime does: one plugin's object, with the list's name and version in it.
        let (from, to) = (text.find("    {").expect("a plugin"), text.rfind("  ]").expect("its end"));
        let plugin = text[from..to].replacen('{', r#"{"cniVersion":"1.1.0","name":"podwire","#, 1);
        let read = Valid::read(&plugin, "podwire").expect("a configuration").network(&model::cni::Args::default()).expect("a network");
        prop_assert_eq!(&read.ranges, &world.cluster.nodes[&name("n0")].ranges);
        for node in world.cluster.nodes.values() {
            for range in &node.ranges {
                prop_assert!(read.prefixes.iter().any(|net| net.contains(&range.net())));
            }
        }
    }
}
