//! Random clusters, and a random node `n0` in them with whatever an earlier life has left on it.
//!
//! Ranges never overlap: each node draws from blocks of its own. Both clusters of a world draw anew, so that a range may
//! move, become narrower or wider, or come into other hands.

use crate::given::{dev, ip, name, range};
use crate::kernel::apply;
use ipnet::IpNet;
use model::addr::{Family, host_prefix};
use model::cluster::{Cluster, Node};
use model::firewall::{
    ChainRef, Element, Elements, ForeignChain, ForeignRule, Hook, Is, Match, Role, Set, SetKind,
    TableFamily,
};
use model::name::NetworkName;
use model::net::Address;
use model::state::{HostState, LinkState, Lookup};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A cluster, and node `n0` before anything was done for it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) have: HostState,
}

/// The families of a node's ranges and the lengths of their prefixes.
type Shape = (u8, u8, u8);

pub(crate) fn clusters() -> impl Strategy<Value = Cluster> {
    let blocks = Just((0..16u8).collect::<Vec<u8>>()).prop_shuffle();
    let shape = (0..4u8, 20..=30u8, 64..=126u8);
    (blocks, vec(shape, 1..=8), any::<bool>()).prop_map(|(blocks, shapes, prefixes)| {
        let nodes = shapes.iter().zip(blocks.chunks(2)).enumerate();
        let prefixes = if prefixes {
            Vec::from(["10.244.0.0/16", "fd00:10:244::/48"].map(ip))
        } else {
            Vec::new()
        };
        Cluster {
            network: NetworkName::new("podwire").expect("a name"),
            prefixes,
            nodes: nodes
                .map(|(i, (shape, blocks))| (name(&format!("n{i}")), node(i, *shape, blocks)))
                .collect(),
        }
    })
}

fn node(i: usize, (families, bits4, bits6): Shape, blocks: &[u8]) -> Node {
    let v4 = |block: &u8| range(&format!("10.244.{}.0/{bits4}", block * 16));
    let v6 = |block: &u8| range(&format!("fd00:10:244:{block}::/{bits6}"));
    let ranges = match families {
        0 => blocks.iter().take(1).map(v4).collect(),
        1 => blocks.iter().take(1).map(v6).collect(),
        2 => blocks.iter().take(1).flat_map(|b| [v4(b), v6(b)]).collect(),
        _ => blocks.iter().map(v4).chain(blocks.iter().map(v6)).collect(),
    };
    Node {
        addresses: addresses(i),
        ranges,
    }
}

fn addresses(i: usize) -> Vec<IpAddr> {
    Vec::from([
        ip(&format!("10.128.0.{}", i + 2)),
        ip(&format!("fd00:aa::{}", i + 2)),
    ])
}

/// How the kernel reaches a node: mostly directly, over a gateway, or not at all.
fn lookup(drawn: u8) -> Option<Lookup> {
    let (gateway, link) = match drawn {
        0 => return None,
        1 => (Some(ip("10.128.0.1")), "eth0"),
        2 => (Some(ip("10.128.0.1")), "eth1"),
        3 => (None, "eth1"),
        _ => (None, "eth0"),
    };
    let dev = dev(link);
    Some(Lookup { dev, gateway })
}

const SYSCTLS: [&str; 7] = [
    "ipv4/ip_forward",
    "ipv6/conf/all/forwarding",
    "ipv4/conf/all/rp_filter",
    "ipv4/conf/eth0/rp_filter",
    "ipv4/conf/eth1/rp_filter",
    "ipv6/conf/eth0/accept_ra",
    "ipv6/conf/eth1/accept_ra",
];

fn fresh() -> impl Strategy<Value = HostState> {
    let (values, ways) = (vec(0..7u8, 7), vec(0..10u8, 16));
    (values, ways, vec(chain(), 0..3), any::<bool>()).prop_map(|(values, ways, chains, bridge)| {
        let mut have = HostState::default();
        for (key, value) in SYSCTLS.iter().zip(values).filter(|(_, value)| *value > 0) {
            let value = (value % 3).to_string();
            have.sysctls.insert((*key).into(), value);
        }
        for (dev_name, mtu) in [("eth0", 1500), ("eth1", 1460)] {
            let (index, up, bridge) = (2, true, false);
            let link = LinkState {
                index,
                mtu,
                up,
                bridge,
                mac: None,
                master: None,
            };
            have.links.insert(dev(dev_name), link);
        }
        let found = (0..8).flat_map(addresses).zip(ways);
        let found = found.filter_map(|(to, way)| Some((to, lookup(way)?)));
        have.lookups.extend(found);
        have.addresses.insert(Address {
            net: ip("10.128.0.2/24"),
            dev: dev("eth0"),
        });
        have.foreign = numbered(chains);
        have.bridges.extend(bridge.then(|| dev("cni0")));
        have
    })
}

/// A node that has lived: in order for an earlier cluster, with pods, and with some of it lost since.
pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let pods = vec(any::<Index>(), 0..4);
    let losses = vec((0..5u8, any::<Index>()), 0..4);
    (clusters(), clusters(), fresh(), option::of(pods), losses).prop_map(
        |(before, cluster, mut have, pods, losses)| {
            let own = name("n0");
            if let Some(pods) = pods {
                let plan = plan::node::plan(&before, &own, &have);
                apply(&plan.changes, &mut have);
                apply(plan.conflist.as_slice(), &mut have);
                let ranges = &before.nodes[&own].ranges;
                have.inhabited.extend(pods.iter().map(|i| i.get(ranges)));
                for (what, which) in losses {
                    lose(&mut have, what, which);
                }
            }
            World { cluster, have }
        },
    )
}

/// Somebody takes something away, or puts a rule of theirs behind ours.
fn lose(have: &mut HostState, what: u8, which: Index) {
    match what {
        0 => {
            let ways: Vec<_> = have
                .routes
                .iter()
                .filter(|r| r.src.is_some())
                .cloned()
                .collect();
            if !ways.is_empty() {
                have.routes.remove(which.get(&ways));
            }
        }
        1 => {
            let lo: Vec<_> = have
                .addresses
                .iter()
                .filter(|a| a.dev.as_str() == "lo")
                .cloned()
                .collect();
            if !lo.is_empty() {
                let gone = which.get(&lo);
                have.addresses.remove(gone);
                have.routes
                    .retain(|route| route.src != Some(gone.net.addr()));
            }
        }
        2 => have.table = None,
        3 => {
            let table = have.table.iter_mut();
            for held in table.flat_map(|table| table.elements.values_mut()) {
                held.pop_last();
            }
        }
        _ => {
            for chain in &mut have.foreign {
                let handle = chain.rules.iter().map(|r| r.handle).max().unwrap_or(0) + 1;
                let role = Role::Other;
                let place = which.index(chain.rules.len() + 1);
                chain.rules.insert(place, ForeignRule { handle, role });
            }
        }
    }
}

fn numbered(chains: Vec<ForeignChain>) -> Vec<ForeignChain> {
    let named = chains.into_iter().enumerate().map(|(i, mut chain)| {
        chain.chain.chain = format!("chain{i}");
        chain
    });
    named.collect()
}

/// Anybody's chain, with rules of ours at random places.
pub(crate) fn chain() -> impl Strategy<Value = ForeignChain> {
    let role = prop_oneof![
        1 => Just(Role::Final),
        4 => Just(Role::Other),
        2 => net().prop_map(|net| Role::Ours(Vec::from([Match::Source(Is::In, net)]))),
        1 => Just(Role::Ours(Vec::new())),
    ];
    let family = select(Vec::from([
        TableFamily::Ip,
        TableFamily::Ip6,
        TableFamily::Inet,
    ]));
    let flags = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.1));
    (family, flags, vec(role, 0..8)).prop_map(|(family, (forward, drops, owned), roles)| {
        let rules = roles.into_iter().zip(10..);
        ForeignChain {
            chain: ChainRef {
                family,
                table: "theirs".into(),
                chain: "chain".into(),
            },
            hook: if forward { Hook::Forward } else { Hook::Input },
            drops,
            owned,
            rules: rules
                .map(|(role, handle)| ForeignRule { handle, role })
                .collect(),
        }
    })
}

/// A prefix out of few, so that one often lies in another.
pub(crate) fn net() -> impl Strategy<Value = IpNet> {
    (any::<bool>(), 0..3u8, 0..3u8, 0..4u8, 8..=32u8).prop_map(|(v4, a, b, c, bits)| {
        let net = if v4 {
            IpNet::new(IpAddr::from([10, a, b, c]), bits)
        } else {
            let segments = [0xfd00, a.into(), 0, b.into(), 0, 0, 0, c.into()];
            IpNet::new(IpAddr::from(segments), bits * 4)
        };
        net.expect("a length that fits").trunc()
    })
}

pub(crate) fn nets() -> impl Strategy<Value = Vec<IpNet>> {
    vec(net(), 0..10)
}

/// What our table may hold: no prefix in another one of the same set.
pub(crate) fn elements() -> impl Strategy<Value = Elements> {
    vec((nets(), 0..3u8), Set::ALL.len()).prop_map(|drawn| {
        let mut elements = Elements::new();
        for (set, (nets, names)) in Set::ALL.into_iter().zip(drawn) {
            let of = |family| move |net: &IpNet| Family::of(net.addr()) == family;
            let held: BTreeSet<Element> = match set.kind() {
                SetKind::Prefixes(family) => {
                    let nets = nets.into_iter().filter(of(family));
                    let outermost = plan::diff::outermost(nets).into_iter();
                    outermost.map(Element::Net).collect()
                }
                SetKind::Addresses(family) => {
                    let nets = nets.into_iter().filter(of(family));
                    nets.map(|net| Element::Net(host_prefix(net.addr())))
                        .collect()
                }
                SetKind::Interfaces => (0..names)
                    .map(|i| Element::Interface(dev(&format!("br{i}"))))
                    .collect(),
                // Host ports come from attachments: see `ports`.
                SetKind::Ports(_) | SetKind::PortsAt(_) | SetKind::Pairs(_) | SetKind::Pods(_) => {
                    BTreeSet::new()
                }
            };
            if !held.is_empty() {
                elements.insert(set, held);
            }
        }
        elements
    })
}
