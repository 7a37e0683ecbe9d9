//! One pod: what connects it to its node, and what its runtime is told.
//!
//! Mode `routed`: a /32 in the pod, a default route over a link-local gateway that answers nothing, and one route and one
//! neighbour entry on the node. Mode `bridge`: a port of a Linux bridge that has the gateway's address. Everything is a
//! function of the attachment's record, so ADD, CHECK and DEL cannot disagree about it.

use crate::{bandwidth, bridge};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use ipnet::IpNet;
use model::addr::{Family, Mac, host_prefix};
use model::attachment::{Attachment, Mode, PodAddress};
use model::change::Change;
use model::cni::{CniResult, Interface, IpConfig};
use model::name::IfName;
use model::net::{Address, Link, LinkKind, Neighbour, Peer, Port, Route, Sysctl, Target};

/// The routed pods' gateways: the same in every pod, on no link of the node. Its MAC is written into each pod.
const GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// What ADD does, in the order in which it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wiring {
    /// On the node: what the link needs, and the link itself, with its peer already inside the pod.
    pub node: Vec<Change>,
    /// Inside the pod.
    pub pod: Vec<Change>,
    /// On the node again: the ways to the pod.
    pub ways: Vec<Change>,
}

/// What the pod is wired on: what is known of the node before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ground {
    /// Whether br_netfilter sees bridged packets: then a connection from a pod to itself through the node leaves by the port
    /// that it came in by, and needs hairpin.
    pub bridge_nf: bool,
    /// The bridge, in mode `bridge`.
    pub bridge: Bridge,
}

/// What is known of the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bridge {
    /// There is none of that name.
    Absent,
    /// It is there.
    Standing {
        /// It is set up.
        up: bool,
        /// Its MAC, if it is another one than we give: then somebody else made it, and it may carry the node's own
        /// connection.
        foreign: Option<Mac>,
    },
}

/// How the pod of this record is wired; `node_end` is the host interface's name.
#[must_use]
pub fn wire(attachment: &Attachment, node_end: &IfName, ground: Ground) -> Wiring {
    let mut wiring = Wiring::default();
    let port = match &attachment.mode {
        // The interface is another's.
        Mode::Leased | Mode::Chained(_) => return wiring,
        Mode::Routed => {
            routed(attachment, node_end, &mut wiring);
            None
        }
        Mode::Bridge(bridge) => {
            bridged(attachment, bridge, ground.bridge, &mut wiring);
            let own = attachment.bridged.as_ref();
            Some(Port {
                bridge: bridge.clone(),
                hairpin: ground.bridge_nf || own.is_some_and(|it| it.hairpin),
                isolated: own.is_some_and(|it| it.isolated),
                locked: own.is_some_and(|it| it.spoof_check),
            })
        }
    };
    wiring.pod = inside(attachment);
    let peer = Peer {
        name: attachment.key.ifname.clone(),
        mac: attachment.pod_mac(),
    };
    let link = Change::AddLink(Link {
        name: node_end.clone(),
        mac: attachment.host_mac(),
        mtu: attachment.mtu,
        kind: LinkKind::Veth {
            peer,
            alias: attachment.alias(),
            port,
        },
    });
    wiring.node.push(link);
    wiring.node.extend(bandwidth::node(attachment, node_end));
    if attachment.bridged.as_ref().is_some_and(|it| it.spoof_check) {
        let admit = Change::AdmitStation(attachment.pod_mac(), node_end.clone());
        wiring.node.push(admit);
    }
    // A link's sysctls appear with the link.
    wiring
        .node
        .extend(sysctls(attachment, node_end, ground.bridge));
    wiring
}

/// The addresses that others are asked about before they are used, and on which interface.
#[must_use]
pub fn asks(changes: &[Change]) -> Option<(IfName, Vec<IpAddr>)> {
    let mut asked: Option<(IfName, Vec<IpAddr>)> = None;
    for change in changes {
        if let Change::AskAddress(address) = change {
            let all = asked.get_or_insert_with(|| (address.dev.clone(), Vec::new()));
            all.1.push(address.net.addr());
        }
    }
    asked
}

/// The MAC that we give a bridge; none while the attachment has no address. A bridge without an address is perhaps one with
/// other machines' of the same name.
#[must_use]
pub fn bridge_mac(attachment: &Attachment) -> Option<Mac> {
    let first = attachment.addresses.first();
    match &attachment.bridged {
        // Without a gateway's address it has none to be a function of.
        Some(own) if !own.gateway || first.is_none() => Some(attachment.made_up_mac()),
        Some(_) | None => first.map(|address| Mac::of_gateway(address.range.gateway())),
    }
}

/// What the runtime is told. The pod's own interface comes first, of a bridge of somebody's own last, and every address is its. A bridge may have been there
/// before with a MAC of its own, hence `bridge` is the one that was found.
#[must_use]
pub fn answer(attachment: &Attachment, node_end: &IfName, bridge: Option<Mac>) -> CniResult {
    let interface = |name: &IfName, mac: Mac, sandbox: Option<String>| Interface {
        name: name.clone(),
        mac: mac.to_string(),
        mtu: attachment.mtu,
        sandbox,
    };
    let mut interfaces = vec![
        interface(
            &attachment.key.ifname,
            attachment.pod_mac(),
            Some(attachment.netns.clone()),
        ),
        interface(node_end, attachment.host_mac(), None),
    ];
    if let (Mode::Bridge(name), Some(mac)) = (&attachment.mode, bridge) {
        interfaces.push(interface(name, mac, None));
    }
    if attachment.bridged.is_some() {
        // Readers of the reference plugin's results look for them in its order.
        interfaces.reverse();
    }
    let place = interfaces
        .iter()
        .position(|interface| interface.sandbox.is_some());
    let ips = attachment.addresses.iter().map(|a| IpConfig {
        address: inside_net(&attachment.mode, a),
        gateway: Some(gateway(&attachment.mode, a)),
        interface: place,
    });
    CniResult {
        interfaces,
        ips: ips.collect(),
        routes: bridge::told(attachment),
        dns: attachment
            .bridged
            .as_ref()
            .map(|it| it.dns.clone())
            .unwrap_or_default(),
    }
}

/// The gateway that a pod sees for an address.
#[must_use]
pub fn gateway(mode: &Mode, address: &PodAddress) -> IpAddr {
    match (mode, Family::of(address.ip)) {
        (Mode::Bridge(_) | Mode::Leased | Mode::Chained(_), _) => address.range.gateway(),
        (Mode::Routed, Family::V4) => GATEWAY_V4,
        (Mode::Routed, Family::V6) => GATEWAY_V6,
    }
}

/// The address as it stands on the pod's interface: alone, or within its range.
#[must_use]
pub fn inside_net(mode: &Mode, address: &PodAddress) -> IpNet {
    match mode {
        Mode::Routed => host_prefix(address.ip),
        Mode::Bridge(_) | Mode::Leased | Mode::Chained(_) => {
            within(address.ip, address.range.net())
        }
    }
}

fn routed(attachment: &Attachment, node_end: &IfName, wiring: &mut Wiring) {
    for PodAddress { ip, range } in &attachment.addresses {
        let own = range.gateway();
        // Without a preferred source the kernel talks to pods from whatever address comes first.
        wiring.node.push(Change::AddAddress(Address {
            net: host_prefix(own),
            dev: IfName::lo(),
        }));
        wiring.ways.push(Change::AddRoute(Route {
            dst: host_prefix(*ip),
            target: Target::Dev(node_end.clone()),
            src: Some(own),
        }));
        let mac = attachment.pod_mac();
        wiring.ways.push(Change::AddNeighbour(Neighbour {
            ip: *ip,
            mac,
            dev: node_end.clone(),
        }));
    }
}

fn bridged(attachment: &Attachment, bridge: &IfName, found: Bridge, wiring: &mut Wiring) {
    let Some(mac) = bridge_mac(attachment) else {
        return;
    };
    if found == Bridge::Absent {
        wiring.node.push(Change::AddLink(Link {
            name: bridge.clone(),
            mac,
            mtu: attachment.mtu,
            kind: LinkKind::Bridge,
        }));
    }
    if let Bridge::Standing {
        foreign: Some(now), ..
    } = found
    {
        // Else it would take the MAC of our port, and with the last port lose it.
        let mac = if now == Mac([0; 6]) { mac } else { now };
        wiring.node.push(Change::SetMac(bridge.clone(), mac));
    }
    if !matches!(found, Bridge::Standing { up: true, .. }) {
        wiring.node.push(Change::SetUp(bridge.clone()));
    }
    if attachment.bridged.as_ref().is_some_and(|it| it.promiscuous) {
        wiring.node.push(Change::SetPromiscuous(bridge.clone()));
    }
    let gateways = bridge::gateways(attachment).into_iter();
    wiring.node.extend(gateways.map(|net| {
        let dev = bridge.clone();
        Change::AddAddress(Address { net, dev })
    }));
}

/// Those of the node's side.
fn sysctls(attachment: &Attachment, node_end: &IfName, found: Bridge) -> Vec<Change> {
    match &attachment.mode {
        // A node whose default is "no IPv6" says nothing about its pods.
        Mode::Routed if has_ipv6(attachment) => {
            vec![ipv6(node_end, "disable_ipv6"), deaf(node_end)]
        }
        Mode::Routed => vec![deaf(node_end)],
        Mode::Leased | Mode::Chained(_) => Vec::new(),
        // Somebody else's bridge may be where the node hears its own router.
        Mode::Bridge(_)
            if matches!(
                found,
                Bridge::Standing {
                    foreign: Some(_),
                    ..
                }
            ) =>
        {
            Vec::new()
        }
        // A port's packets are the bridge's.
        Mode::Bridge(bridge) => vec![deaf(bridge)],
    }
}

fn inside(attachment: &Attachment) -> Vec<Change> {
    let dev = &attachment.key.ifname;
    let mut changes = Vec::new();
    // Before the link is up: an advertisement that comes first would give the pod an address that nobody leased.
    changes.push(deaf(dev));
    if has_ipv6(attachment) {
        changes.push(ipv6(dev, "disable_ipv6"));
    }
    changes.extend(bandwidth::pod(attachment));
    let own = attachment.bridged.as_ref();
    let asks = own.is_some_and(|it| it.dad);
    if asks && has_ipv6(attachment) {
        changes.extend(["enhanced_dad", "accept_dad"].map(|switch| on(dev, switch)));
    }
    if !own.is_some_and(|it| it.down) {
        changes.push(Change::SetUp(dev.clone()));
    }
    for address in &attachment.addresses {
        let via = gateway(&attachment.mode, address);
        let net = inside_net(&attachment.mode, address);
        let address_of = Address {
            net,
            dev: dev.clone(),
        };
        changes.push(if asks && net.addr().is_ipv6() {
            Change::AskAddress(address_of)
        } else {
            Change::AddAddress(address_of)
        });
        if attachment.mode == Mode::Routed {
            let mac = attachment.host_mac();
            changes.push(Change::AddNeighbour(Neighbour {
                ip: via,
                mac,
                dev: dev.clone(),
            }));
        }
        if own.is_none() {
            changes.push(Change::AddRoute(Route {
                dst: Family::of(address.ip).everything(),
                target: Target::Via(via, dev.clone()),
                src: None,
            }));
        }
    }
    if own.is_some() {
        let routes = bridge::told(attachment).into_iter();
        changes.extend(routes.map(|route| bridge::within_pod(attachment, &route)));
    }
    changes
}

fn has_ipv6(attachment: &Attachment) -> bool {
    let mut families = attachment.addresses.iter().map(|a| Family::of(a.ip));
    families.any(|family| family == Family::V6)
}

/// Nobody on this link can make himself a router by an advertisement: neither for the pod, nor, on the node's end, a pod for
/// its node.
fn deaf(dev: &IfName) -> Change {
    ipv6(dev, "accept_ra")
}

fn ipv6(dev: &IfName, switch: &str) -> Change {
    let key = format!("ipv6/conf/{dev}/{switch}");
    Change::SetSysctl(Sysctl {
        key,
        value: "0".into(),
    })
}

fn on(dev: &IfName, switch: &str) -> Change {
    let key = format!("ipv6/conf/{dev}/{switch}");
    Change::SetSysctl(Sysctl {
        key,
        value: "1".into(),
    })
}

pub(crate) fn within(ip: IpAddr, range: IpNet) -> IpNet {
    // The length comes from a prefix of the same family, so it fits.
    IpNet::new(ip, range.prefix_len()).unwrap_or_else(|_| host_prefix(ip))
}
