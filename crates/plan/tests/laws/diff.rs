//! Differences: applied they give what was wanted, of equals they are empty, and nothing is missing in between.

use super::{cases, world};
use crate::given::{dev, ip};
use crate::kernel::{apply, observed};
use ipnet::IpNet;
use model::addr::host_prefix;
use model::change::Change;
use model::net::{Address, Route, Target};
use model::state::HostState;
use plan::diff::{outermost, routes, table};
use plan::masquerade;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Routes of which no two stand in one place.
fn some_routes() -> impl Strategy<Value = BTreeSet<Route>> {
    let net = (0..4u8).prop_map(|i| ip(&format!("10.244.{i}.0/24")));
    vec((net, 0..4u8, 0..2u8), 0..8).prop_map(|drawn| {
        let route = |(dst, gateway, src): (IpNet, u8, u8)| {
            let target = match gateway {
                0 => Target::Unreachable,
                n => Target::Via(IpAddr::from([10, 128, 0, n]), dev("eth0")),
            };
            let src = (gateway > 0).then_some(source(src));
            ((dst, gateway == 0), Route { dst, target, src })
        };
        let places: BTreeMap<_, _> = drawn.into_iter().map(route).collect();
        places.into_values().collect()
    })
}

fn source(i: u8) -> IpAddr {
    IpAddr::from([10, 244, i, 1])
}

fn with_sources(routes: BTreeSet<Route>) -> HostState {
    let on_lo = |i| Address {
        net: host_prefix(source(i)),
        dev: dev("lo"),
    };
    HostState {
        routes,
        addresses: (0..2).map(on_lo).collect(),
        ..HostState::default()
    }
}

fn covered(nets: &BTreeSet<IpNet>, ip: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&ip))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_difference_of_routes_gives_what_was_wanted(want in some_routes(), have in some_routes()) {
        let mut state = with_sources(have);
        apply(&routes(&want, &state.routes), &mut state);
        prop_assert_eq!(&state.routes, &want);
        prop_assert_eq!(routes(&want, &want), []);
    }

    #[test]
    fn routes_are_added_before_any_is_removed(want in some_routes(), have in some_routes()) {
        let removes = |change: &Change| matches!(change, Change::RemoveRoute(_));
        let changes = routes(&want, &have);
        prop_assert!(changes.is_sorted_by_key(removes), "{:?}", changes);
    }

    #[test]
    fn the_difference_of_tables_gives_what_was_wanted(
        want in world::elements(),
        have in option::of(world::elements()),
        old in proptest::bool::weighted(0.1),
        fewer in proptest::bool::weighted(0.1),
    ) {
        let want = masquerade::table(want);
        let mut state = HostState {
            table: have.map(|have| observed(&masquerade::table(have))),
            ..HostState::default()
        };
        if let Some(table) = &mut state.table {
            table.version.push_str(if old { "-old" } else { "" });
            if fewer {
                table.rules.pop_first();
            }
        }
        apply(&table(&want, state.table.as_ref()), &mut state);
        prop_assert_eq!(state.table, Some(observed(&want)));
        prop_assert_eq!(table(&want, Some(&observed(&want))), []);
    }

    #[test]
    fn the_outermost_prefixes_cover_the_same_and_never_overlap(nets in world::nets()) {
        let outer = outermost(nets.clone());
        let all: BTreeSet<IpNet> = nets.into_iter().collect();
        for net in &all {
            for edge in [net.network(), net.broadcast()] {
                prop_assert!(covered(&outer, edge), "{} of {} is lost", edge, net);
            }
            prop_assert!(outer.iter().any(|outer| outer.contains(net)), "{} is lost", net);
        }
        for net in &outer {
            prop_assert!(all.contains(net), "{} comes from nowhere", net);
            let holds = |other: &&IpNet| other.contains(net) || net.contains(*other);
            prop_assert_eq!(outer.iter().filter(holds).count(), 1);
        }
    }
}
