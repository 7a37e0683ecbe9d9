//! A node without an agent: one round is enough, and what others put into our table stays covered.

use super::{cases, world};
use crate::given::{dev, ip, range};
use crate::kernel::{apply, observed};
use ipnet::IpNet;
use model::addr::Family;
use model::attachment::Mode;
use model::cni::NetConf;
use model::firewall::{Element, Elements, Set};
use model::state::HostState;
use plan::masquerade;
use plan::order::{By, order};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn confs() -> impl Strategy<Value = NetConf> {
    (
        0..3u8,
        0..3u8,
        16..=30u8,
        8..=16u8,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(a, b, bits, wide, bridge, alone)| {
            let net = |bits| ip::<IpNet>(&format!("10.{a}.{b}.0/{bits}")).trunc();
            NetConf {
                mode: if bridge {
                    Mode::Bridge(dev("cni0"))
                } else {
                    Mode::Routed
                },
                ranges: Vec::from([range(&net(bits).to_string())]),
                prefixes: Vec::from([net(wide)]),
                mtu: None,
                alone,
                ports: Vec::new(),
                bridged: None,
                ipam: None,
            }
        })
}

fn nodes() -> impl Strategy<Value = HostState> {
    let chains = vec(world::chain(), 0..2);
    (
        option::of(world::elements()),
        any::<bool>(),
        any::<bool>(),
        chains,
    )
        .prop_map(|(held, old, forwards, mut chains)| {
            for (i, chain) in chains.iter_mut().enumerate() {
                chain.chain.chain = format!("chain{i}");
            }
            let mut have = HostState {
                table: held.map(|held| observed(&masquerade::table(held))),
                foreign: chains,
                ..HostState::default()
            };
            if let Some(table) = have.table.as_mut().filter(|_| old) {
                table.version = "podwire-old".into();
            }
            let value = if forwards { "1" } else { "0" };
            have.sysctls.insert("ipv4/ip_forward".into(), value.into());
            have
        })
}

fn held(have: &HostState) -> Elements {
    have.table
        .as_ref()
        .map(|table| table.elements.clone())
        .unwrap_or_default()
}

fn covers(elements: &Elements, set: Set, element: &Element) -> bool {
    elements
        .get(&set)
        .into_iter()
        .flatten()
        .any(|held| match (held, element) {
            (Element::Net(held), Element::Net(net)) => held.contains(net),
            (held, element) => held == element,
        })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn one_round_puts_a_node_in_order(conf in confs(), mut have in nodes()) {
        apply(&order(&conf, By::Alone, &have), &mut have);
        prop_assert_eq!(order(&conf, By::Alone, &have), []);
    }

    #[test]
    fn networks_that_share_a_node_do_not_fight(one in confs(), other in confs(), mut have in nodes()) {
        apply(&order(&one, By::Alone, &have), &mut have);
        apply(&order(&other, By::Alone, &have), &mut have);
        prop_assert_eq!(order(&one, By::Alone, &have), []);
    }

    #[test]
    fn nothing_that_was_covered_is_uncovered(conf in confs(), mut have in nodes()) {
        let before = held(&have);
        apply(&order(&conf, By::Alone, &have), &mut have);
        let after = held(&have);
        for (set, elements) in &before {
            for element in elements {
                prop_assert!(covers(&after, *set, element), "{} lost {}", set, element);
            }
        }
        for net in conf.prefixes.iter().copied().chain(conf.ranges.iter().map(|range| range.net())) {
            prop_assert!(covers(&after, Set::Pods(Family::V4), &Element::Net(net)));
        }
        for range in &conf.ranges {
            prop_assert!(covers(&after, Set::Local(Family::V4), &Element::Net(range.net())));
        }
    }
}
