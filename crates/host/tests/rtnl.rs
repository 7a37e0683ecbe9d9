//! What is encoded is what `ip` shows.

use crate::place::*;
use host::rtnl::Rtnl;
use model::bandwidth::{Qdisc, Tbf};
use model::change::Change;
use model::name::IfName;
use model::net::LinkKind;
use std::os::fd::AsFd as _;
use std::process::Command;

#[test]
fn a_veth_is_born_with_its_peer_in_the_pod() {
    let (mut node, pod) = (node(), pod());
    let changes = [veth("pw0123456789abc", None)];
    node.apply(&changes, Some(pod.netns.as_fd())).ok().unwrap();

    let host = &ip("link show pw0123456789abc")[0];
    assert_eq!(host["address"], NODE_MAC.to_string());
    assert_eq!(host["mtu"], 1400);
    assert_eq!(host["ifalias"], "shop/cart-7");
    assert_eq!(host["linkinfo"]["info_kind"], "veth");
    assert_eq!(host["inet6_addr_gen_mode"], "none");
    assert!(host["flags"].as_array().unwrap().contains(&"UP".into()));

    let peer = &pod.netns.enter(|| ip("link show eth0")).unwrap()[0];
    assert_eq!(peer["address"], POD_MAC.to_string());
    assert_eq!(peer["mtu"], 1400);
    assert_eq!(peer["operstate"], "DOWN");
}

/// From so slow that the bucket's time overflows to faster than 32 bits hold.
#[test]
fn a_queue_is_what_tc_shows_and_is_read_back_as_it_was_put() {
    let (mut node, pod) = (node(), pod());
    let dev = IfName::new("pw0123456789abc").unwrap();
    node.apply(&[veth("pw0123456789abc", None)], Some(pod.netns.as_fd()))
        .ok()
        .unwrap();
    assert_eq!(node.tbf(&dev).unwrap(), None);
    for (rate, burst, limit) in [
        (125, 3036, 27_324),
        (1_250_000, 62_500, 125_000),
        (125_000_000, 6_250_000, 12_500_000),
        (12_500_000_000, 625_000_000, 1_250_000_000),
    ] {
        let tbf = Tbf { rate, burst, limit };
        let put = Change::PutQdisc(Qdisc {
            dev: dev.clone(),
            tbf,
        });
        node.apply(&[put], None).ok().unwrap();
        let seen = node.tbf(&dev).unwrap().unwrap();
        assert!(tbf.is_shown_as(&seen), "{tbf} is shown as {seen}");
        let shown = Command::new("tc")
            .args(["-j", "qdisc", "show", "dev", "pw0123456789abc"])
            .output()
            .unwrap();
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        let options = &shown[0]["options"];
        assert_eq!(
            (&shown[0]["kind"], &options["rate"]),
            (&"tbf".into(), &rate.into())
        );
        assert!(
            seen != Tbf {
                rate: rate + 1,
                ..tbf
            }
        );
    }
}

#[test]
fn a_routed_pod_has_its_addresses_routes_and_neighbours() {
    let (mut node, pod) = (node(), pod());
    routed(&mut node, &pod.netns);

    let routes = ip("route show proto 112");
    assert_eq!(routes[0]["dst"], "10.244.0.2");
    assert_eq!(
        (&routes[0]["dev"], &routes[0]["scope"]),
        (&"pw0123456789abc".into(), &"link".into())
    );
    assert_eq!(ip("-6 route show proto 112")[0]["dst"], "fd00::2");
    assert_eq!(
        ip("neigh show dev pw0123456789abc")
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        ip("neigh show dev pw0123456789abc")[0]["state"][0],
        "PERMANENT"
    );
    // Not even a link-local one.
    assert_eq!(
        ip("addr show dev pw0123456789abc")[0]["addr_info"]
            .as_array()
            .unwrap()
            .len(),
        0
    );

    let (route, addresses, ping) = pod
        .netns
        .enter(|| (ip("route show"), ip("addr show dev eth0"), ip("neigh show")))
        .unwrap();
    assert_eq!(route[0]["gateway"], "169.254.1.1");
    assert!(
        route[0]["flags"]
            .as_array()
            .unwrap()
            .contains(&"onlink".into())
    );
    assert_eq!(addresses[0]["operstate"], "UP");
    assert!(addresses[0]["addr_info"][0].get("broadcast").is_none());
    assert_eq!(ping.as_array().unwrap().len(), 2);
}

#[test]
fn an_ipv6_address_is_usable_at_once() {
    let (mut node, pod) = (node(), pod());
    routed(&mut node, &pod.netns);
    let shown = pod
        .netns
        .enter(|| ip("-6 addr show dev eth0 scope global"))
        .unwrap();
    let info = &shown[0]["addr_info"][0];
    assert_eq!(info["local"], "fd00::2");
    assert!(info.get("tentative").is_none(), "{info}");
}

#[test]
fn a_bridge_is_made_once_and_its_port_has_hairpin() {
    let (mut node, pod) = (node(), pod());
    let changes = [
        bridge("cni0"),
        Change::AddAddress(address("10.244.0.1/24", "cni0")),
        veth("pw0123456789abc", Some(("cni0", true))),
    ];
    node.apply(&changes, Some(pod.netns.as_fd())).ok().unwrap();
    let port = &ip("link show pw0123456789abc")[0];
    assert_eq!(port["master"], "cni0");
    assert_eq!(port["linkinfo"]["info_slave_data"]["hairpin"], true);
    assert_eq!(port["inet6_addr_gen_mode"], "none");
    assert_eq!(port["ifalias"], "shop/cart-7");

    node.apply(&changes[..2], None).ok().unwrap();
    let made = &ip("addr show cni0")[0];
    assert_eq!(made["linkinfo"]["info_kind"], "bridge");
    assert_eq!(made["address"], NODE_MAC.to_string());
    assert!(made["flags"].as_array().unwrap().contains(&"UP".into()));
    assert_eq!(made["addr_info"][0]["local"], "10.244.0.1");
}

#[test]
fn a_route_for_a_taken_address_is_refused() {
    let (mut node, first, second) = (node(), pod(), pod());
    routed(&mut node, &first.netns);
    let changes = [
        veth("pw1", None),
        Change::AddRoute(out("10.244.0.2/32", "pw1")),
        Change::AddRoute(out("fd00::2/128", "pw1")),
    ];
    let report = node.apply(&changes, Some(second.netns.as_fd()));
    let places: Vec<usize> = report.failed.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [1, 2], "{report:?}");
    assert!(report.failed.iter().all(|(_, error)| error.is_there()));
    assert_eq!(ip("route show 10.244.0.2")[0]["dev"], "pw0123456789abc");
}

#[test]
fn the_kernels_own_words_stand_in_the_error() {
    let mut node = node();
    let changes = [
        bridge("br0"),
        Change::AddAddress(address("10.0.0.1/24", "br0")),
        // A gateway cannot be one of the node's own addresses.
        Change::AddRoute(via("10.1.2.0/24", "10.0.0.1", "br0")),
    ];
    let error = node.apply(&changes, None).ok().unwrap_err();
    assert_eq!(
        error.to_string(),
        "add route 10.1.2.0/24 via 10.0.0.1 dev br0: Invalid argument (kernel: Nexthop has invalid gateway)"
    );
    let error = node
        .apply(&[Change::AddRoute(out("10.1.2.0/24", "eth9"))], None)
        .ok()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "add route 10.1.2.0/24 dev eth9: No such device"
    );
}

#[test]
fn a_failure_is_found_at_its_place_among_many() {
    let mut node = node();
    let mut changes: Vec<Change> = (0..400_u32)
        .map(|i| Change::AddRoute(out(&format!("10.{}.{}.0/24", i / 256, i % 256), "br0")))
        .collect();
    changes[300] = changes[17].clone();
    changes.insert(0, bridge("br0"));
    let failed = node.apply(&changes, None).failed;
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].0, 301);
    assert!(failed[0].1.is_there());
    assert_eq!(ip("route show proto 112").as_array().unwrap().len(), 399);
    assert_eq!(node.apply(&changes[1..], None).failed.len(), 400);
}

#[test]
fn unreachable_routes_lie_behind_a_connected_one() {
    let mut node = node();
    let changes = [
        bridge("cni0"),
        Change::SetUp(name("lo")),
        Change::AddRoute(unreachable("10.244.0.0/24")),
        Change::AddRoute(unreachable("fd00::/64")),
        Change::AddAddress(address("10.244.0.1/24", "cni0")),
        Change::AddAddress(address("fd00::1/64", "cni0")),
    ];
    node.apply(&changes, None).ok().unwrap();
    assert_eq!(ip("route get 10.244.0.9")[0]["dev"], "cni0");
    assert_eq!(ip("-6 route get fd00::9")[0]["dev"], "cni0");
    let last = ip("route show type unreachable");
    assert_eq!(last[0]["metric"], u32::MAX);
    assert_eq!(ip("-6 route show type unreachable")[0]["metric"], u32::MAX);

    let undone = [
        Change::RemoveRoute(unreachable("10.244.0.0/24")),
        Change::RemoveRoute(unreachable("fd00::/64")),
    ];
    node.apply(&undone, None).ok().unwrap();
    assert_eq!(
        ip("route show type unreachable").as_array().unwrap().len(),
        0
    );
    assert_eq!(
        ip("-6 route show type unreachable")
            .as_array()
            .unwrap()
            .len(),
        0
    );
    assert_eq!(ip("route get 10.244.0.9")[0]["dev"], "cni0");
}

#[test]
fn a_route_takes_the_place_of_another_and_the_preferred_source() {
    let mut node = node();
    let mut route = via("10.1.2.0/24", "192.168.0.2", "br0");
    route.src = Some("10.244.0.1".parse().unwrap());
    let changes = [
        bridge("br0"),
        bridge("br1"),
        Change::AddAddress(address("10.244.0.1/32", "lo")),
        Change::AddRoute(out("10.1.2.0/24", "br1")),
        Change::ReplaceRoute(route),
        Change::ReplaceRoute(via("fd01::/64", "fd02::2", "br1")),
        Change::ReplaceRoute(via("fd01::/64", "fd02::3", "br0")),
    ];
    node.apply(&changes, None).ok().unwrap();
    let shown = ip("route show 10.1.2.0/24");
    assert_eq!(shown.as_array().unwrap().len(), 1);
    assert_eq!(shown[0]["gateway"], "192.168.0.2");
    assert_eq!(shown[0]["prefsrc"], "10.244.0.1");
    let shown = ip("-6 route show fd01::/64");
    assert_eq!(shown.as_array().unwrap().len(), 1);
    assert_eq!(shown[0]["gateway"], "fd02::3");
}

#[test]
fn removing_what_is_gone_succeeds() {
    let mut node = node();
    node.apply(&[bridge("br0")], None).ok().unwrap();
    for dev in ["br0", "eth9"] {
        let changes = [
            Change::RemoveAddress(address("10.0.0.1/24", dev)),
            Change::RemoveAddress(address("fd00::1/64", dev)),
            Change::RemoveRoute(out("10.0.0.2/32", dev)),
            Change::RemoveRoute(out("fd00::2/128", dev)),
            Change::RemoveRoute(via("10.9.0.0/16", "10.0.0.2", dev)),
            Change::RemoveNeighbour(neighbour("10.0.0.2", POD_MAC, dev)),
            Change::RemoveNeighbour(neighbour("fd00::2", POD_MAC, dev)),
            Change::RemoveLink(name("pw0123456789abc")),
        ];
        assert_eq!(node.apply(&changes, None).ok(), Ok(()), "{dev}");
    }
}

#[test]
fn a_removed_link_takes_its_pods_routes_along() {
    let (mut node, pod) = (node(), pod());
    routed(&mut node, &pod.netns);
    node.apply(&[Change::RemoveLink(name("pw0123456789abc"))], None)
        .ok()
        .unwrap();
    assert_eq!(ip("route show proto 112").as_array().unwrap().len(), 0);
    assert_eq!(ip("-6 route show proto 112").as_array().unwrap().len(), 0);
    assert_eq!(node.link(&name("pw0123456789abc")), Ok(None));
}

#[test]
fn what_is_not_rtnetlinks_business_is_reported() {
    let mut node = node();
    let changes = [
        Change::RemoveTable,
        Change::SetUp(name("lo")),
        veth("pw0123456789abc", None),
    ];
    let report = node.apply(&changes, None);
    let texts: Vec<String> = report.failed.iter().map(|(_, e)| e.to_string()).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert_eq!(
        texts[0],
        "delete table inet podwire: this is no change of rtnetlink's"
    );
    assert!(texts[1].ends_with("no network namespace for the peer was given"));
}

#[test]
fn a_pod_where_ipv6_is_off_gets_its_link() {
    let (mut node, pod) = (node(), pod());
    // Below IPv6's least MTU a link has no IPv6 at all.
    let Change::AddLink(mut link) = veth("pw0123456789abc", None) else {
        panic!("a veth is a link")
    };
    link.mtu = Some(1000);
    let changes = [Change::AddLink(link)];
    node.apply(&changes, Some(pod.netns.as_fd())).ok().unwrap();
    assert_eq!(ip("link show pw0123456789abc")[0]["ifalias"], "shop/cart-7");
}

#[test]
fn an_alias_may_be_as_long_as_the_kernel_takes() {
    let (mut node, pod) = (node(), pod());
    let Change::AddLink(mut link) = veth("pw0123456789abc", None) else {
        panic!("a veth is a link")
    };
    let longest = "a".repeat(255);
    if let LinkKind::Veth { alias, .. } = &mut link.kind {
        alias.clone_from(&longest);
    }
    let changes = [Change::AddLink(link)];
    node.apply(&changes, Some(pod.netns.as_fd())).ok().unwrap();
    assert_eq!(
        ip("link show pw0123456789abc")[0]["ifalias"],
        longest.as_str()
    );
    let seen = node.link(&name("pw0123456789abc")).unwrap().unwrap();
    assert_eq!(seen.alias, Some(longest));
}

/// The subject of the next test, which runs it under strace; on its own it shows that the wiring works.
#[test]
fn one_routed_pod() {
    let (mut node, pod) = (node(), pod());
    routed(&mut node, &pod.netns);
    assert!(node.link(&name("pw0123456789abc")).unwrap().is_some());
}

#[test]
fn a_link_that_has_the_name_already_is_left_as_it_is() {
    let (mut node, pod) = (node(), pod());
    ip("link add pw0123456789abc type bridge");
    let before = ip("link show pw0123456789abc");
    let report = node.apply(&[veth("pw0123456789abc", None)], Some(pod.netns.as_fd()));
    assert!(report.ok().unwrap_err().is_there());
    assert_eq!(ip("link show pw0123456789abc"), before);
}

#[test]
fn one_pod_costs_few_system_calls() {
    let trace = std::env::temp_dir().join(format!("podwire-trace-{}", std::process::id()));
    let status = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=network,ioctl,setns", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "rtnl::one_routed_pod"])
        .output()
        .expect("strace is installed: apt-get install strace");
    assert!(status.status.success(), "{status:?}");
    let text = std::fs::read_to_string(&trace).unwrap();
    std::fs::remove_file(&trace).unwrap();
    let count = |call: &str| text.matches(&format!(" {call}(")).count();
    // Birth, the rest of the host's part, the pod's part, and the test's own question; one answer each.
    assert_eq!((count("sendto"), count("recvfrom")), (4, 4), "{text}");
    assert_eq!(count("socket"), 2, "{text}");
    // Whether the link's name is free, and one name each on either side.
    assert_eq!(text.matches("SIOCGIFINDEX").count(), 3, "{text}");
    // Looking whether it is one, and going in; there and back.
    assert_eq!(count("setns"), 4, "{text}");
}

fn only(node: &mut Rtnl, link: &str) -> IfName {
    node.link(&name(link)).unwrap().unwrap().name
}

#[test]
fn a_link_is_found_by_name_without_a_list() {
    let mut node = node();
    assert_eq!(only(&mut node, "lo"), name("lo"));
    assert_eq!(node.link(&name("eth9")), Ok(None));
}
