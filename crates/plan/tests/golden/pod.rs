//! One pod: what is done on the node and inside the pod, and what the runtime is told in each version.

use crate::given::{dev, ip, range};
use insta::assert_snapshot;
use model::addr::Mac;
use model::attachment::{Attachment, Key, Mode, PodAddress};
use model::bandwidth::{Bandwidth, Limit};
use model::change::Change;
use model::cni::Version;
use model::name::{ContainerId, NetworkName, PodRef};
use plan::wire::{Bridge, Ground, Wiring, answer, wire};

/// A node on which nothing was made yet.
const FRESH: Ground = Ground {
    bridge_nf: false,
    bridge: Bridge::Absent,
};

fn attachment(mode: Mode, addresses: &[(&str, &str)]) -> Attachment {
    let address = |(address, of): &(&str, &str)| PodAddress {
        ip: ip(address),
        range: range(of),
    };
    Attachment {
        addresses: addresses.iter().map(address).collect(),
        key: Key {
            network: NetworkName::new("mynet").expect("a name"),
            container: ContainerId::new("c1").expect("an id"),
            ifname: dev("eth0"),
        },
        netns: "/run/netns/a".into(),
        inode: 7,
        standpoint: None,
        mode,
        mtu: Some(1460),
        mac: None,
        bandwidth: Bandwidth::default(),
        pod: Some(PodRef {
            namespace: "shop".into(),
            name: "web-0".into(),
            uid: String::new(),
        }),
        ports: Vec::new(),
        bridged: None,
        born: 1,
    }
}

pub(super) fn routed() -> Attachment {
    let addresses = [
        ("10.244.0.2", "10.244.0.0/24"),
        ("fd00:10:244::2", "fd00:10:244::/64"),
    ];
    attachment(Mode::Routed, &addresses)
}

pub(super) fn bridged() -> Attachment {
    let addresses = [("10.240.0.2", "10.240.0.0/24")];
    attachment(Mode::Bridge(dev("cni0")), &addresses)
}

/// What a pod sends before its queue is there would not be limited.
#[test]
fn a_limited_pod_has_its_queues_before_it_is_up() {
    let limit = |rate| Some(Limit { rate, burst: None });
    let limited = Attachment {
        bandwidth: Bandwidth {
            ingress: limit(8_000_000),
            egress: limit(80_000_000),
        },
        ..routed()
    };
    let wiring = wire(&limited, &dev("pwabc"), FRESH);
    let texts =
        |changes: &[Change]| -> Vec<String> { changes.iter().map(Change::to_string).collect() };
    let queue = "replace qdisc dev pwabc root tbf rate 1000000bps burst 50000 limit 100000";
    assert!(
        texts(&wiring.node).contains(&queue.to_owned()),
        "{:?}",
        texts(&wiring.node)
    );
    let inside = texts(&wiring.pod);
    let queue = "replace qdisc dev eth0 root tbf rate 10000000bps burst 500000 limit 1000000";
    let place = |text: &str| inside.iter().position(|line| line == text);
    assert!(
        place(queue).is_some() && place(queue) < place("set link eth0 up"),
        "{inside:?}"
    );
}

fn show(wiring: &Wiring) -> String {
    let rooms = [
        ("node", &wiring.node),
        ("pod", &wiring.pod),
        ("ways", &wiring.ways),
    ];
    let lines = rooms
        .iter()
        .flat_map(|(room, changes)| changes.iter().map(move |c| format!("{room}: {c}\n")));
    lines.collect()
}

fn told(attachment: &Attachment, version: Version) -> String {
    let bridge = Mac([0x0e, 0x58, 0, 0, 0, 7]);
    answer(attachment, &dev("pw0"), Some(bridge))
        .to_json(version)
        .to_string()
}

#[test]
fn a_routed_pod_of_both_families_has_a_route_and_a_neighbour_for_each() {
    assert_snapshot!(show(&wire(&routed(), &dev("pw0"), FRESH)), @r#"
    node: add address 10.244.0.1/32 dev lo
    node: add address fd00:10:244::1/128 dev lo
    node: add link pw0 address 0e:58:0a:f4:00:02 mtu 1460 alias "shop/web-0" type veth peer eth0 address 0a:58:0a:f4:00:02 in the pod
    node: set sysctl net/ipv6/conf/pw0/disable_ipv6 = 0
    node: set sysctl net/ipv6/conf/pw0/accept_ra = 0
    pod: set sysctl net/ipv6/conf/eth0/accept_ra = 0
    pod: set sysctl net/ipv6/conf/eth0/disable_ipv6 = 0
    pod: set link eth0 up
    pod: add address 10.244.0.2/32 dev eth0
    pod: replace neighbour 169.254.1.1 lladdr 0e:58:0a:f4:00:02 dev eth0
    pod: add route 0.0.0.0/0 via 169.254.1.1 dev eth0
    pod: add address fd00:10:244::2/128 dev eth0
    pod: replace neighbour fe80::1 lladdr 0e:58:0a:f4:00:02 dev eth0
    pod: add route ::/0 via fe80::1 dev eth0
    ways: add route 10.244.0.2/32 dev pw0 src 10.244.0.1
    ways: replace neighbour 10.244.0.2 lladdr 0a:58:0a:f4:00:02 dev pw0
    ways: add route fd00:10:244::2/128 dev pw0 src fd00:10:244::1
    ways: replace neighbour fd00:10:244::2 lladdr 0a:58:0a:f4:00:02 dev pw0
    "#);
}

#[test]
fn a_pod_of_bash_cni_is_a_port_of_a_bridge_that_is_made_if_it_lacks() {
    assert_snapshot!(show(&wire(&bridged(), &dev("pw0"), FRESH)), @r#"
    node: add link cni0 address 0e:58:0a:f0:00:01 mtu 1460 type bridge
    node: set link cni0 up
    node: add address 10.240.0.1/24 dev cni0
    node: add link pw0 address 0e:58:0a:f0:00:02 mtu 1460 master cni0 alias "shop/web-0" type veth peer eth0 address 0a:58:0a:f0:00:02 in the pod
    node: set sysctl net/ipv6/conf/cni0/accept_ra = 0
    pod: set sysctl net/ipv6/conf/eth0/accept_ra = 0
    pod: set link eth0 up
    pod: add address 10.240.0.2/24 dev eth0
    pod: add route 0.0.0.0/0 via 10.240.0.1 dev eth0
    "#);
}

#[test]
fn a_bridges_port_has_hairpin_where_it_is_asked_for() {
    let ground = Ground {
        bridge_nf: true,
        ..FRESH
    };
    let wiring = wire(&bridged(), &dev("pw0"), ground);
    assert_snapshot!(wiring.node[3], @r#"add link pw0 address 0e:58:0a:f0:00:02 mtu 1460 master cni0 hairpin on alias "shop/web-0" type veth peer eth0 address 0a:58:0a:f0:00:02 in the pod"#);
}

#[test]
fn a_bridge_of_ours_that_stands_is_not_made_again() {
    let wiring = wire(&bridged(), &dev("pw0"), standing(true, true));
    assert_snapshot!(node(&wiring), @r#"
    add address 10.240.0.1/24 dev cni0
    add link pw0 address 0e:58:0a:f0:00:02 mtu 1460 master cni0 alias "shop/web-0" type veth peer eth0 address 0a:58:0a:f0:00:02 in the pod
    set sysctl net/ipv6/conf/cni0/accept_ra = 0
    "#);
}

#[test]
fn somebody_elses_bridge_is_set_up_keeps_its_mac_and_goes_on_hearing_its_router() {
    let wiring = wire(&bridged(), &dev("pw0"), standing(false, false));
    assert_snapshot!(node(&wiring), @r#"
    set link cni0 address 02:00:00:00:00:09
    set link cni0 up
    add address 10.240.0.1/24 dev cni0
    add link pw0 address 0e:58:0a:f0:00:02 mtu 1460 master cni0 alias "shop/web-0" type veth peer eth0 address 0a:58:0a:f0:00:02 in the pod
    "#);
}

fn standing(up: bool, ours: bool) -> Ground {
    Ground {
        bridge: Bridge::Standing {
            up,
            foreign: (!ours).then_some(Mac([2, 0, 0, 0, 0, 9])),
        },
        ..FRESH
    }
}

fn node(wiring: &Wiring) -> String {
    let lines: Vec<_> = wiring.node.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_routed_pod_is_answered_in_0_2_0() {
    assert_snapshot!(told(&routed(), Version::V0_2_0), @r#"{"cniVersion":"0.2.0","dns":{},"ip4":{"gateway":"169.254.1.1","ip":"10.244.0.2/32","routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"}]},"ip6":{"gateway":"fe80::1","ip":"fd00:10:244::2/128","routes":[{"dst":"::/0","gw":"fe80::1"}]}}"#);
}

#[test]
fn a_routed_pod_is_answered_in_0_3_1() {
    assert_snapshot!(told(&routed(), Version::V0_3_1), @r#"{"cniVersion":"0.3.1","dns":{},"interfaces":[{"mac":"0a:58:0a:f4:00:02","name":"eth0","sandbox":"/run/netns/a"},{"mac":"0e:58:0a:f4:00:02","name":"pw0"}],"ips":[{"address":"10.244.0.2/32","gateway":"169.254.1.1","interface":0,"version":"4"},{"address":"fd00:10:244::2/128","gateway":"fe80::1","interface":0,"version":"6"}],"routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"},{"dst":"::/0","gw":"fe80::1"}]}"#);
}

#[test]
fn a_routed_pod_is_answered_in_1_0_0() {
    assert_snapshot!(told(&routed(), Version::V1_0_0), @r#"{"cniVersion":"1.0.0","dns":{},"interfaces":[{"mac":"0a:58:0a:f4:00:02","name":"eth0","sandbox":"/run/netns/a"},{"mac":"0e:58:0a:f4:00:02","name":"pw0"}],"ips":[{"address":"10.244.0.2/32","gateway":"169.254.1.1","interface":0},{"address":"fd00:10:244::2/128","gateway":"fe80::1","interface":0}],"routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"},{"dst":"::/0","gw":"fe80::1"}]}"#);
}

#[test]
fn a_routed_pod_is_answered_in_1_1_0() {
    assert_snapshot!(told(&routed(), Version::V1_1_0), @r#"{"cniVersion":"1.1.0","dns":{},"interfaces":[{"mac":"0a:58:0a:f4:00:02","mtu":1460,"name":"eth0","sandbox":"/run/netns/a"},{"mac":"0e:58:0a:f4:00:02","mtu":1460,"name":"pw0"}],"ips":[{"address":"10.244.0.2/32","gateway":"169.254.1.1","interface":0},{"address":"fd00:10:244::2/128","gateway":"fe80::1","interface":0}],"routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"},{"dst":"::/0","gw":"fe80::1"}]}"#);
}

#[test]
fn a_pod_of_bash_cni_is_answered_with_its_bridge() {
    assert_snapshot!(told(&bridged(), Version::V1_0_0), @r#"{"cniVersion":"1.0.0","dns":{},"interfaces":[{"mac":"0a:58:0a:f0:00:02","name":"eth0","sandbox":"/run/netns/a"},{"mac":"0e:58:0a:f0:00:02","name":"pw0"},{"mac":"0e:58:00:00:00:07","name":"cni0"}],"ips":[{"address":"10.240.0.2/24","gateway":"10.240.0.1","interface":0}],"routes":[{"dst":"0.0.0.0/0","gw":"10.240.0.1"}]}"#);
}
