//! One node of the cluster: everything that is not one pod.
//!
//! Cluster and observation in, changes and report out. The order is that of need: what lets packets through, the node's own
//! addresses, routes, our table, other people's firewalls; what is no longer wanted goes last. The conflist stands apart: it
//! is written only when everything else is true.

use crate::{conflist, diff, foreign, masquerade, mesh, ports};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use ipnet::IpNet;
use model::addr::{Family, PodRange, host_prefix};
use model::change::Change;
use model::cluster::{Cluster, Node};
use model::cni::renewed;
use model::firewall::{Element, Elements, Set, Table};
use model::name::{IfName, NodeName};
use model::net::{Address, Route, Sysctl, Target};
use model::state::HostState;
use model::status::{Finding, Peer};

/// The switches that let packets through.
pub(crate) const IPV4_FORWARD: &str = "ipv4/ip_forward";
/// The one for IPv6: before it is turned on, the links are asked for on which routers are heard.
pub const IPV6_FORWARD: &str = "ipv6/conf/all/forwarding";
const RP_FILTER_ALL: &str = "ipv4/conf/all/rp_filter";

/// What is to be done, and what is to be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What brings the node in order; nothing if it is.
    pub changes: Vec<Change>,
    /// The conflist, if the one that is there differs.
    pub conflist: Option<Change>,
    /// The other nodes and the ways to their pods.
    pub peers: Vec<Peer>,
    /// Everything that is wrong and cannot be brought in order from here.
    pub findings: Vec<Finding>,
}

/// The addresses whose routes have to be looked up before [`plan`].
#[must_use]
pub fn lookups(cluster: &Cluster, own: &NodeName) -> Vec<IpAddr> {
    let peers = cluster.nodes.iter().filter(|(name, _)| *name != own);
    peers
        .flat_map(|(_, peer)| peer.addresses.iter().copied())
        .collect()
}

/// The sysctls that have to be read before [`plan`], now that links and lookups are known.
#[must_use]
pub fn sysctls(cluster: &Cluster, own: &NodeName, have: &HostState) -> Vec<String> {
    let mut keys: Vec<String> = [IPV4_FORWARD, IPV6_FORWARD, RP_FILTER_ALL]
        .map(String::from)
        .into();
    let Some(me) = cluster.nodes.get(own) else {
        return keys;
    };
    let uplinks = uplinks(me, have);
    for dev in &uplinks {
        keys.extend([rp_filter(dev), accept_ra(dev)]);
    }
    keys.extend(have.advertised.difference(&uplinks).map(accept_ra));
    keys
}

/// What the node `own` needs. A node that the cluster does not know needs nothing.
#[must_use]
pub fn plan(cluster: &Cluster, own: &NodeName, have: &HostState) -> Plan {
    let Some(me) = cluster.nodes.get(own) else {
        return Plan::default();
    };
    let mesh = mesh::mesh(cluster, own, have);
    let ranges = own_ranges(me, have);
    let table = masquerade::table(elements(cluster, me, &ranges, &mesh.direct, have));
    let mut plan = Plan {
        findings: mesh.findings,
        peers: mesh.peers,
        ..Plan::default()
    };
    forwarding(me, have, &mut plan);
    plan.changes.extend(own_addresses(&ranges, have));
    let unreachable = ranges.iter().map(|r| Route {
        dst: r.net(),
        target: Target::Unreachable,
        src: None,
    });
    let routes: BTreeSet<Route> = mesh.routes.into_iter().chain(unreachable).collect();
    // The unreachable route is what a range is remembered by: it goes last, so that a round that breaks off is resumed.
    let (forget, routes): (Vec<_>, Vec<_>) = diff::routes(&routes, &have.routes)
        .into_iter()
        .partition(forgets);
    plan.changes.extend(routes);
    plan.changes
        .extend(diff::table(&table, have.table.as_ref()));
    firewalls(&table, have, &mut plan);
    plan.findings.extend(cut_off(me, have));
    // Whoever asked for a port while the table was gone would be led nowhere for ever.
    let held = have.table.as_ref().map(|table| &table.elements);
    plan.changes
        .extend(ports::flows(&ports::new(&table.elements, held), false));
    plan.changes.extend(retired_addresses(&ranges, have));
    plan.changes.extend(forget);
    tell_runtime(cluster, me, &ranges, have, &mut plan);
    plan
}

/// The conflist, if the node can serve pods: it has a range, and among other nodes it has a network. What is there stays
/// otherwise; it may be of a moment when the network was up.
fn tell_runtime(
    cluster: &Cluster,
    me: &Node,
    ranges: &[PodRange],
    have: &HostState,
    plan: &mut Plan,
) {
    let mtu = mtu(me, have);
    if mtu.is_none() && cluster.nodes.len() > 1 {
        plan.findings.push(Finding {
            what: "none of this node's addresses is on a link, and no route leads to another node"
                .into(),
            hint: "is the network up, and are the node's addresses right? see: ip address".into(),
        });
        return;
    }
    if me.ranges.is_empty() {
        return;
    }
    let prefixes: Vec<IpNet> = pods(cluster, ranges).into_iter().collect();
    let ours = conflist::conflist(&cluster.network, &me.ranges, &prefixes, mtu);
    let stands = have.conflist.as_deref();
    let text = stands.and_then(|it| renewed(it, &ours)).unwrap_or(ours);
    plan.conflist = (have.conflist.as_ref() != Some(&text)).then_some(Change::WriteConflist(text));
}

/// The ranges that the node serves: those of the cluster, and any other as long as a pod lives in it. The pods' records say
/// so; the kernel's memory of a range may have been flushed.
fn own_ranges(me: &Node, have: &HostState) -> Vec<PodRange> {
    let mut ranges = me.ranges.clone();
    let others = have
        .inhabited
        .iter()
        .filter(|range| !me.ranges.contains(range));
    ranges.extend(others);
    ranges
}

/// Pods in ranges that the cluster no longer knows as this node's: they live on, but the others send nothing here. A node
/// that has no range at the moment may get the old one again.
fn cut_off(me: &Node, have: &HostState) -> Option<Finding> {
    let is_known = |range: &&PodRange| {
        let mut own = me.ranges.iter();
        own.any(|own| own.net().contains(&range.net()))
    };
    let lost = have.peopled.iter().filter(|range| !is_known(range));
    let lost: Vec<String> = lost.map(|range| format!("{range}")).collect();
    if lost.is_empty() || me.ranges.is_empty() {
        return None;
    }
    Some(Finding {
        what: format!(
            "pods have addresses of {}, which the cluster does not know as this node's: other nodes do not reach them",
            lost.join(" and ")
        ),
        hint: "delete these pods, so that new ones get an address of the node's range; podwire status lists them".into(),
    })
}

/// Own ranges that the kernel remembers: each has its unreachable route.
pub(crate) fn earlier_ranges(have: &HostState) -> impl Iterator<Item = PodRange> + '_ {
    let routes = have
        .routes
        .iter()
        .filter(|route| route.target == Target::Unreachable);
    routes.filter_map(|route| PodRange::new(route.dst).ok())
}

fn forgets(change: &Change) -> bool {
    matches!(change, Change::RemoveRoute(route) if route.target == Target::Unreachable)
}

fn forwarding(me: &Node, have: &HostState, plan: &mut Plan) {
    let value = |key: &str| have.sysctls.get(key).map(String::as_str);
    let mut set = |key: &str, to: &str| {
        if value(key).is_some_and(|now| now != to) {
            plan.changes.push(Change::SetSysctl(Sysctl {
                key: key.into(),
                value: to.into(),
            }));
        }
    };
    let serves = |family| me.ranges.iter().any(|range| range.family() == family);
    let uplinks = uplinks(me, have);
    // A forwarding node would stop to accept its own default route from advertisements, and lose the one that it has. 0
    // stays: somebody else handles them there.
    for dev in uplinks.union(&have.advertised) {
        if serves(Family::V6) && value(&accept_ra(dev)) == Some("1") {
            set(&accept_ra(dev), "2");
        }
    }
    for dev in uplinks {
        // The kernel takes the larger of `all` and the link's own; only strict is in the way.
        if value(RP_FILTER_ALL).max(value(&rp_filter(&dev))) == Some("1") {
            set(&rp_filter(&dev), "2");
        }
    }
    for (family, key) in [(Family::V4, IPV4_FORWARD), (Family::V6, IPV6_FORWARD)] {
        if !serves(family) {
            continue;
        }
        set(key, "1");
        if value(key).is_none() {
            plan.findings.push(Finding {
                what: format!(
                    "the kernel has no net/{key}, but the node has a range of that family"
                ),
                hint: "take the range away, or boot a kernel with that protocol".into(),
            });
        }
    }
}

/// The links between the nodes: those that lead to peers, and those that hold the node's own addresses.
fn uplinks(me: &Node, have: &HostState) -> BTreeSet<IfName> {
    let mut devs: BTreeSet<IfName> = have
        .lookups
        .values()
        .map(|lookup| lookup.dev.clone())
        .collect();
    devs.extend(
        have.addresses
            .iter()
            .filter(|a| me.addresses.contains(&a.net.addr()))
            .map(|a| a.dev.clone()),
    );
    devs.retain(|dev| dev.as_str() != "lo");
    devs
}

fn rp_filter(dev: &IfName) -> String {
    format!("ipv4/conf/{dev}/rp_filter")
}

fn accept_ra(dev: &IfName) -> String {
    format!("ipv6/conf/{dev}/accept_ra")
}

/// The first address of each range on `lo`, unless a bridge has it already.
fn own_addresses(ranges: &[PodRange], have: &HostState) -> Vec<Change> {
    let missing = ranges.iter().filter(|range| {
        !have
            .addresses
            .iter()
            .any(|a| a.net.addr() == range.gateway())
    });
    missing
        .map(|range| Change::AddAddress(on_lo(range.gateway())))
        .collect()
}

/// First addresses on `lo` of ranges that the node no longer serves; one that became narrower or wider has kept its own.
fn retired_addresses(ranges: &[PodRange], have: &HostState) -> Vec<Change> {
    let kept: BTreeSet<IpAddr> = ranges.iter().map(PodRange::gateway).collect();
    let retired: BTreeSet<IpAddr> = earlier_ranges(have)
        .map(|range| range.gateway())
        .filter(|ip| !kept.contains(ip))
        .collect();
    let on_lo = retired.into_iter().map(on_lo);
    on_lo
        .filter(|address| have.addresses.contains(address))
        .map(Change::RemoveAddress)
        .collect()
}

pub(crate) fn on_lo(ip: IpAddr) -> Address {
    Address {
        net: host_prefix(ip),
        dev: IfName::lo(),
    }
}

fn elements(
    cluster: &Cluster,
    me: &Node,
    ranges: &[PodRange],
    direct: &[IpAddr],
    have: &HostState,
) -> Elements {
    let mut elements = Elements::new();
    let mut put = |set, element| {
        elements.entry(set).or_default().insert(element);
    };
    for net in pods(cluster, ranges) {
        put(Set::Pods(Family::of(net.addr())), Element::Net(net));
    }
    for net in diff::outermost(ranges.iter().map(PodRange::net)) {
        put(Set::Local(Family::of(net.addr())), Element::Net(net));
    }
    for ip in me.addresses.iter().chain(direct) {
        put(Set::Nodes(Family::of(*ip)), Element::Net(host_prefix(*ip)));
    }
    for bridge in &have.bridges {
        put(Set::Bridges, Element::Interface(bridge.clone()));
    }
    for net in diff::outermost(have.shared.iter().copied()) {
        put(Set::Shared(Family::of(net.addr())), Element::Net(net));
    }
    for (set, element) in ports::services(have) {
        put(set, element);
    }
    let none = Elements::new();
    let held = have.table.as_ref().map_or(&none, |table| &table.elements);
    elements.extend(ports::all(&have.publishing, held));
    elements
}

/// Prefixes that hold all pods: the cluster's own, and every range that lies in none of them.
fn pods(cluster: &Cluster, ranges: &[PodRange]) -> BTreeSet<IpNet> {
    let all = cluster
        .nodes
        .values()
        .flat_map(|node| node.ranges.iter())
        .chain(ranges)
        .map(PodRange::net);
    diff::outermost(cluster.prefixes.iter().copied().chain(all))
}

fn firewalls(table: &Table, have: &HostState, plan: &mut Plan) {
    let nets = |set: fn(Family) -> Set| -> BTreeSet<IpNet> {
        let held = [Family::V4, Family::V6]
            .into_iter()
            .filter_map(|family| table.elements.get(&set(family)));
        held.flatten().filter_map(Element::net).collect()
    };
    let (cluster, local) = (nets(Set::Pods), nets(Set::Local));
    let pods = foreign::Pods {
        cluster: &cluster,
        local: &local,
        bridges: &have.bridges,
    };
    for chain in &have.foreign {
        let steps = foreign::pass(chain, &pods);
        if steps.is_empty() {
            plan.findings.extend(foreign::stopped(chain));
        }
        plan.changes.extend(steps);
        plan.findings.extend(foreign::unwritable(chain));
    }
}

/// The smallest MTU of the links between the nodes, in bytes.
fn mtu(me: &Node, have: &HostState) -> Option<u32> {
    uplinks(me, have)
        .iter()
        .filter_map(|dev| have.links.get(dev))
        .map(|link| link.mtu)
        .min()
}
