//! A node and a pod for one test: two fresh network namespaces, gone when the test ends.

use host::netns::Netns;
use host::rtnl::Rtnl;
use ipnet::IpNet;
use model::addr::Mac;
use model::change::Change;
use model::name::IfName;
use model::net::{Address, Link, LinkKind, Neighbour, Peer, Port, Route, Target};
use rustix::thread::UnshareFlags;
use serde_json::Value;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::Command;

pub(crate) const NODE_MAC: Mac = Mac([0x0e, 0x58, 10, 244, 0, 2]);
pub(crate) const POD_MAC: Mac = Mac([0x0a, 0x58, 10, 244, 0, 2]);

/// Moves the test's thread into a fresh network namespace; children that it starts are there too.
pub(crate) fn node() -> Rtnl {
    fresh();
    Rtnl::open().unwrap()
}

/// A fresh network namespace somewhere else.
pub(crate) struct Pod {
    _file: File,
    pub(crate) path: PathBuf,
    pub(crate) netns: Netns,
}

pub(crate) fn pod() -> Pod {
    let inside = std::thread::spawn(|| {
        fresh();
        File::open("/proc/thread-self/ns/net").unwrap()
    });
    let file = inside.join().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Pod {
        netns: Netns::open(&path).unwrap(),
        _file: file,
        path,
    }
}

fn fresh() {
    #[allow(
        deprecated,
        reason = "unsafe only for UnshareFlags::FILES, which is not asked for"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNET).expect("tests run as root or in `unshare -Urnm`");
}

/// What `ip -j ARGUMENTS` shows in the thread's network namespace.
pub(crate) fn ip(arguments: &str) -> Value {
    let output = Command::new("ip")
        .args(["-j", "-d"])
        .args(arguments.split_whitespace())
        .output()
        .expect("iproute2 is installed");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    if text.trim().is_empty() {
        return Value::Array(Vec::new());
    }
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn name(text: &str) -> IfName {
    IfName::new(text).unwrap()
}

pub(crate) fn veth(host: &str, port: Option<(&str, bool)>) -> Change {
    Change::AddLink(Link {
        name: name(host),
        mac: NODE_MAC,
        mtu: Some(1400),
        kind: LinkKind::Veth {
            peer: Peer {
                name: name("eth0"),
                mac: POD_MAC,
            },
            alias: "shop/cart-7".into(),
            port: port.map(|(bridge, hairpin)| Port {
                bridge: name(bridge),
                hairpin,
                isolated: false,
                locked: false,
            }),
        },
    })
}

pub(crate) fn bridge(bridge: &str) -> Change {
    Change::AddLink(Link {
        name: name(bridge),
        mac: NODE_MAC,
        mtu: None,
        kind: LinkKind::Bridge,
    })
}

pub(crate) fn address(net: &str, dev: &str) -> Address {
    Address {
        net: net.parse().unwrap(),
        dev: name(dev),
    }
}

pub(crate) fn out(dst: &str, dev: &str) -> Route {
    Route {
        dst: net(dst),
        target: Target::Dev(name(dev)),
        src: None,
    }
}

pub(crate) fn via(dst: &str, gateway: &str, dev: &str) -> Route {
    Route {
        dst: net(dst),
        target: Target::Via(gateway.parse().unwrap(), name(dev)),
        src: None,
    }
}

pub(crate) fn unreachable(dst: &str) -> Route {
    Route {
        dst: net(dst),
        target: Target::Unreachable,
        src: None,
    }
}

pub(crate) fn neighbour(ip: &str, mac: Mac, dev: &str) -> Neighbour {
    Neighbour {
        ip: ip.parse().unwrap(),
        mac,
        dev: name(dev),
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// One pod with both families, wired as on a cluster's node.
pub(crate) fn routed(node: &mut Rtnl, pod: &Netns) {
    use std::os::fd::AsFd as _;
    let mut inside = pod.enter(Rtnl::open).unwrap().unwrap();
    let outside = [
        veth("pw0123456789abc", None),
        Change::AddRoute(out("10.244.0.2/32", "pw0123456789abc")),
        Change::AddRoute(out("fd00::2/128", "pw0123456789abc")),
        Change::AddNeighbour(neighbour("10.244.0.2", POD_MAC, "pw0123456789abc")),
        Change::AddNeighbour(neighbour("fd00::2", POD_MAC, "pw0123456789abc")),
    ];
    node.apply(&outside, Some(pod.as_fd())).ok().unwrap();
    let within = [
        Change::SetUp(name("eth0")),
        Change::AddAddress(address("10.244.0.2/32", "eth0")),
        Change::AddAddress(address("fd00::2/128", "eth0")),
        Change::AddRoute(via("0.0.0.0/0", "169.254.1.1", "eth0")),
        Change::AddRoute(via("::/0", "fe80::1", "eth0")),
        Change::AddNeighbour(neighbour("169.254.1.1", NODE_MAC, "eth0")),
        Change::AddNeighbour(neighbour("fe80::1", NODE_MAC, "eth0")),
    ];
    inside.apply(&within, None).ok().unwrap();
}
