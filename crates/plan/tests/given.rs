//! What the tests start from, read from a few lines of text in the words of ip(8).
//!
//! `cluster`: one node a line, `name: addresses / ranges`. `host`: one thing a line; a foreign chain's rules are indented
//! by nothing and begin with their handle. Whatever cannot be read panics with the line.

use ipnet::IpNet;
use model::addr::{Mac, PodRange, host_prefix};
use model::cluster::{Cluster, Node};
use model::firewall::{ChainRef, ForeignChain, ForeignRule, Hook, Is, Match, Role, TableFamily};
use model::name::{IfName, NetworkName, NodeName};
use model::net::{Address, Route, Target};
use model::state::{HostState, LinkState, Lookup};
use std::fmt::Debug;
use std::str::FromStr;

pub(crate) fn ip<T: FromStr>(text: &str) -> T
where
    T::Err: Debug,
{
    text.parse().expect(text)
}

pub(crate) fn dev(text: &str) -> IfName {
    IfName::new(text).expect(text)
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::new(text).expect(text)
}

pub(crate) fn range(text: &str) -> PodRange {
    PodRange::parse(text).expect(text)
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// A cluster whose pods lie in `prefixes`.
pub(crate) fn cluster(prefixes: &str, nodes: &str) -> Cluster {
    let node = |line: &str| {
        // An IPv6 address has colons too; the name ends at the first one.
        let (node, rest) = line.split_once(':').expect("name: addresses / ranges");
        let (addresses, ranges) = rest.split_once('/').expect("addresses / ranges");
        let node_is = Node {
            addresses: addresses.split_whitespace().map(ip).collect(),
            ranges: ranges.split_whitespace().map(range).collect(),
        };
        (name(node), node_is)
    };
    Cluster {
        network: NetworkName::new("podwire").expect("a name"),
        prefixes: prefixes.split_whitespace().map(ip).collect(),
        nodes: lines(nodes).map(node).collect(),
    }
}

/// A node as it was observed.
pub(crate) fn host(text: &str) -> HostState {
    with(HostState::default(), text)
}

/// The same node with more lines.
pub(crate) fn with(mut host: HostState, text: &str) -> HostState {
    for line in lines(text) {
        let words: Vec<&str> = line.split_whitespace().collect();
        read(&mut host, &words).unwrap_or_else(|| panic!("cannot read {line:?}"));
    }
    host
}

fn read(host: &mut HostState, words: &[&str]) -> Option<()> {
    match words {
        ["sysctl", key, value] => {
            host.sysctls.insert((*key).into(), (*value).into());
        }
        ["link", link, "mtu", mtu] => {
            let state = link_state(2, ip(mtu));
            host.links.insert(dev(link), state);
        }
        ["link", link, "index", index, "bridge", mac] => {
            let mut state = link_state(ip(index), 1500);
            (state.bridge, state.mac) = (true, Some(self::mac(mac)?));
            host.links.insert(dev(link), state);
        }
        ["link", link, "master", master] => {
            let mut state = link_state(9, 1500);
            state.master = Some(ip(master));
            host.links.insert(dev(link), state);
        }
        ["address", net, "dev", link] => {
            let net = if net.contains('/') {
                ip(net)
            } else {
                host_prefix(ip(net))
            };
            host.addresses.insert(Address {
                net,
                dev: dev(link),
            });
        }
        ["lookup", to, rest @ ..] => {
            let (gateway, link) = match rest {
                ["dev", link] => (None, link),
                ["via", gateway, "dev", link] => (Some(ip(gateway)), link),
                _ => return None,
            };
            let dev = dev(link);
            host.lookups.insert(ip(to), Lookup { dev, gateway });
        }
        ["route", rest @ ..] => {
            host.routes.insert(route(rest)?);
        }
        ["advertised", link] => {
            host.advertised.insert(dev(link));
        }
        ["inhabited", range] => {
            host.inhabited.insert(PodRange::parse(range).ok()?);
        }
        ["peopled", range] => {
            host.inhabited.insert(PodRange::parse(range).ok()?);
            host.peopled.insert(PodRange::parse(range).ok()?);
        }
        ["bridge", bridge] => {
            host.bridges.insert(dev(bridge));
        }
        ["chain", rest @ ..] => host.foreign.push(chain(rest)?),
        [handle, rest @ ..] => {
            let (handle, role) = (handle.parse().ok()?, role(rest)?);
            let rules = &mut host.foreign.last_mut()?.rules;
            rules.push(ForeignRule { handle, role });
        }
        [] => return None,
    }
    Some(())
}

fn link_state(index: u32, mtu: u32) -> LinkState {
    LinkState {
        index,
        mtu,
        up: true,
        bridge: false,
        mac: None,
        master: None,
    }
}

fn mac(text: &str) -> Option<Mac> {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Result<Vec<u8>, _> = bytes.collect();
    bytes.ok()?.try_into().ok().map(Mac)
}

fn route(words: &[&str]) -> Option<Route> {
    let (dst, target, src) = match words {
        ["unreachable", dst] => (dst, Target::Unreachable, None),
        [dst, "via", gateway, "dev", link, "src", src] => {
            (dst, Target::Via(ip(gateway), dev(link)), Some(ip(src)))
        }
        _ => return None,
    };
    let dst = ip(dst);
    Some(Route { dst, target, src })
}

/// `ip filter FORWARD on forward`, then `accept` or `drop` for its policy, then perhaps `owned`.
fn chain(words: &[&str]) -> Option<ForeignChain> {
    let [family, table, chain, "on", hook, policy, owned @ ..] = words else {
        return None;
    };
    let family = match *family {
        "ip" => TableFamily::Ip,
        "ip6" => TableFamily::Ip6,
        "inet" => TableFamily::Inet,
        _ => return None,
    };
    let hook = match *hook {
        "input" => Hook::Input,
        "forward" => Hook::Forward,
        _ => return None,
    };
    Some(ForeignChain {
        chain: ChainRef {
            family,
            table: (*table).into(),
            chain: (*chain).into(),
        },
        hook,
        drops: *policy == "drop",
        owned: owned == ["owned"],
        rules: Vec::new(),
    })
}

/// `final`, `other …` with any words for the reader, or `ours saddr PREFIX`, `ours iif NAME saddr PREFIX`.
fn role(words: &[&str]) -> Option<Role> {
    let source = |net: &str| Match::Source(Is::In, ip(net));
    Some(match words {
        ["final", ..] => Role::Final,
        ["other", ..] => Role::Other,
        ["ours", "saddr", net] => Role::Ours(vec![source(net)]),
        ["ours", "daddr", net] => Role::Ours(vec![Match::Destination(Is::In, ip::<IpNet>(net))]),
        ["ours", "iif", link, "saddr", net] => {
            Role::Ours(vec![Match::Iif(Is::In, (*link).into()), source(net)])
        }
        _ => return None,
    })
}
