//! What is observed is what was made.

use crate::place::*;
use host::rtnl::Rtnl;
use model::change::Change;
use model::net::Target;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn one_link_is_seen_with_all_that_hangs_on_it() {
    let (mut node, pod) = (node(), pod());
    routed(&mut node, &pod.netns);
    let view = node
        .observe_link(&name("pw0123456789abc"))
        .unwrap()
        .unwrap();
    assert_eq!(view.link.kind.as_deref(), Some("veth"));
    assert_eq!(view.link.alias.as_deref(), Some("shop/cart-7"));
    assert_eq!(
        (view.link.mac, view.link.mtu, view.link.up),
        (Some(NODE_MAC), 1400, true)
    );
    assert_eq!((view.link.master, view.link.hairpin), (None, false));
    let far = view.link.peer.unwrap();
    assert!(far.netns.is_some());
    assert!(view.addresses.is_empty());
    let routes = [
        out("10.244.0.2/32", "pw0123456789abc"),
        out("fd00::2/128", "pw0123456789abc"),
    ];
    assert!(view.routes.is_superset(&BTreeSet::from(routes)), "{view:?}");
    let neighbours = ["10.244.0.2", "fd00::2"].map(|ip| (ip.parse().unwrap(), POD_MAC));
    assert_eq!(view.neighbours, BTreeMap::from(neighbours));

    let mut inside = pod.netns.enter(Rtnl::open).unwrap().unwrap();
    let view = inside.observe_link(&name("eth0")).unwrap().unwrap();
    assert_eq!(view.link.index, far.index);
    let default = [
        via("0.0.0.0/0", "169.254.1.1", "eth0"),
        via("::/0", "fe80::1", "eth0"),
    ];
    assert!(
        view.routes.is_superset(&BTreeSet::from(default)),
        "{view:?}"
    );
    let addresses = ["10.244.0.2/32", "fd00::2/128"].map(|net| net.parse().unwrap());
    assert!(
        view.addresses.is_superset(&BTreeSet::from(addresses)),
        "{view:?}"
    );
    assert_eq!(view.neighbours.len(), 2);
    assert_eq!(node.observe_link(&name("pw9")), Ok(None));
}

#[test]
fn a_bridges_port_is_seen_as_one() {
    use std::os::fd::AsFd as _;
    let (mut node, pod) = (node(), pod());
    let changes = [
        bridge("cni0"),
        veth("pw0123456789abc", Some(("cni0", true))),
    ];
    node.apply(&changes, Some(pod.netns.as_fd())).ok().unwrap();
    let master = node.link(&name("cni0")).unwrap().unwrap();
    let port = node.link(&name("pw0123456789abc")).unwrap().unwrap();
    assert_eq!(master.kind.as_deref(), Some("bridge"));
    assert_eq!((port.master, port.hairpin), (Some(master.index), true));
}

#[test]
fn a_node_is_seen_without_its_pods() {
    let (mut node, pod) = (node(), pod());
    routed(&mut node, &pod.netns);
    let mut preferred = via("10.244.1.0/24", "192.168.0.3", "br0");
    preferred.src = Some("192.168.0.2".parse().unwrap());
    let wanted = [
        preferred,
        via("fd00:1::/64", "fd02::3", "br0"),
        unreachable("10.244.0.0/24"),
        unreachable("fd00::/64"),
        out("10.244.2.0/24", "br0"),
        // IPv4 by way of an IPv6 neighbour.
        via("10.244.3.0/24", "fd02::4", "br0"),
    ];
    let mut changes = vec![
        bridge("br0"),
        Change::AddAddress(address("192.168.0.2/24", "br0")),
        Change::AddAddress(address("fd02::2/64", "br0")),
    ];
    changes.extend(wanted.iter().cloned().map(Change::AddRoute));
    node.apply(&changes, None).ok().unwrap();

    assert_eq!(ip("route show 10.244.3.0/24")[0]["via"]["host"], "fd02::4");
    let view = node.observe_node(&[]).unwrap();
    let names: Vec<&str> = view.links.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["br0", "lo"]);
    let br0 = &view.links[&name("br0")];
    assert!(br0.bridge && br0.up && br0.mtu == 1500);
    assert!(!view.links[&name("lo")].up);
    assert_eq!(view.routes, BTreeSet::from(wanted));
    for net in ["192.168.0.2/24", "fd02::2/64"] {
        assert!(view.addresses.contains(&address(net, "br0")), "{view:?}");
    }
    assert!(view.addresses.iter().all(|a| a.dev == name("br0")));
}

#[test]
fn a_lookup_tells_gateway_link_or_nothing() {
    let mut node = node();
    let changes = [
        Change::SetUp(name("lo")),
        bridge("br0"),
        Change::AddAddress(address("192.168.0.2/24", "br0")),
        Change::AddAddress(address("fd02::2/64", "br0")),
        Change::AddRoute(via("10.244.1.0/24", "192.168.0.3", "br0")),
        Change::AddRoute(via("fd00:1::/64", "fd02::3", "br0")),
        Change::AddRoute(unreachable("10.244.0.0/24")),
        Change::AddRoute(unreachable("fd00::/64")),
    ];
    node.apply(&changes, None).ok().unwrap();
    let asked = [
        "192.168.0.9",
        "fd02::9",
        "10.244.1.7",
        "fd00:1::7",
        "10.244.0.7",
        "fd00::7",
        "198.51.100.1",
        "2001:db8::1",
        "192.168.0.2",
    ];
    let asked: Vec<_> = asked.iter().map(|ip| ip.parse().unwrap()).collect();
    let found = node.observe_node(&asked).unwrap().lookups;
    let seen = |text: &str| {
        let lookup = found.get(&text.parse().unwrap())?;
        let gateway = lookup.gateway.map(|ip| ip.to_string());
        Some((lookup.dev.to_string(), gateway))
    };
    let br0 = |gateway: Option<&str>| Some(("br0".to_owned(), gateway.map(str::to_owned)));
    assert_eq!(seen("192.168.0.9"), br0(None));
    assert_eq!(seen("fd02::9"), br0(None));
    assert_eq!(seen("10.244.1.7"), br0(Some("192.168.0.3")));
    assert_eq!(seen("fd00:1::7"), br0(Some("fd02::3")));
    for nowhere in ["10.244.0.7", "fd00::7", "198.51.100.1", "2001:db8::1"] {
        assert_eq!(seen(nowhere), None, "{nowhere}");
    }
    assert_eq!(seen("192.168.0.2"), Some(("lo".to_owned(), None)));
}

#[test]
fn a_namespace_in_which_nothing_was_made_is_seen_empty() {
    let mut node = node();
    let view = node.observe_node(&["10.0.0.1".parse().unwrap()]).unwrap();
    assert_eq!((view.links.len(), view.addresses.len()), (1, 0));
    assert!(view.routes.is_empty() && view.lookups.is_empty());
    assert!(node.advertised().unwrap().is_empty());
}

#[test]
fn a_long_list_is_seen_whole() {
    let mut node = node();
    let mut changes = vec![bridge("br0")];
    let wanted: BTreeSet<_> = (0..2000_u32)
        .map(|i| out(&format!("10.{}.{}.0/24", i / 256, i % 256), "br0"))
        .collect();
    changes.extend(wanted.iter().cloned().map(Change::AddRoute));
    node.apply(&changes, None).ok().unwrap();
    let seen = node.observe_node(&[]).unwrap().routes;
    assert!(seen.iter().all(|r| r.target == Target::Dev(name("br0"))));
    assert_eq!(seen, wanted);
}
