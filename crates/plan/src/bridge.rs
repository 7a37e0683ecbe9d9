//! What a bridge of somebody's own configuration (type `bridge`) makes otherwise: which gateways it has, which routes the pod.
//!
//! The keys are those of the reference plugin (containernetworking/plugins v1.9.1, plugins/main/bridge). A bridge of type
//! `bash-cni` has all gateways and one default route a family. How a pod is wired stands in `wire`.

use crate::wire::{gateway, within};
use alloc::vec::Vec;
use ipnet::IpNet;
use model::addr::Family;
use model::attachment::{Attachment, PodAddress};
use model::change::Change;
use model::cni::RouteConfig;
use model::net::{Metrics, Route, Target};

/// Addresses that a bridge has and that are in the way of those that it is to have: of the same network, and another host.
#[must_use]
pub fn in_the_way<'a>(
    attachment: &Attachment,
    there: impl IntoIterator<Item = &'a IpNet>,
) -> Vec<IpNet> {
    let wanted = gateways(attachment);
    let overlaps = |net: &&&IpNet| {
        let mut all = wanted.iter();
        all.any(|own| own.contains(&net.addr()) || net.contains(&own.addr()))
    };
    let is_new = |net: &&IpNet| !wanted.contains(net);
    let there = there.into_iter().filter(|net| !net.addr().is_loopback());
    there
        .filter(is_new)
        .filter(|net| overlaps(&net))
        .copied()
        .collect()
}

/// The addresses that the bridge is to have.
pub(crate) fn gateways(attachment: &Attachment) -> Vec<IpNet> {
    if attachment.bridged.as_ref().is_some_and(|it| !it.gateway) {
        return Vec::new();
    }
    let ranges = attachment.addresses.iter().map(|address| address.range);
    ranges
        .map(|range| within(range.gateway(), range.net()))
        .collect()
}

/// The routes inside the pod, as the runtime is told of them.
pub(crate) fn told(attachment: &Attachment) -> Vec<RouteConfig> {
    let everything = |a: &PodAddress| {
        let gateway = gateway(&attachment.mode, a);
        RouteConfig::by_way_of(Family::of(a.ip).everything(), gateway)
    };
    let all = attachment.addresses.iter().map(everything);
    let Some(own) = &attachment.bridged else {
        return all.collect();
    };
    let mut routes = own.routes.clone();
    for default in all.filter(|_| own.default_gateway) {
        if !routes.iter().any(|route| route.dst == default.dst) {
            routes.push(default);
        }
    }
    routes
}

/// A route that a configuration names; without a gateway of its own it goes by that of its family.
pub(crate) fn within_pod(attachment: &Attachment, told: &RouteConfig) -> Change {
    let dev = attachment.key.ifname.clone();
    let family = Family::of(told.dst.addr());
    let mut kin = attachment
        .addresses
        .iter()
        .filter(|address| Family::of(address.ip) == family);
    let gateway = told.gw.or_else(|| kin.next().map(|a| a.range.gateway()));
    let route = Route {
        dst: told.dst.trunc(),
        target: match gateway {
            Some(gateway) => Target::Via(gateway, dev),
            None => Target::Dev(dev),
        },
        src: None,
    };
    let metrics = Metrics {
        mtu: told.mtu,
        advmss: told.advmss,
        priority: told.priority,
        table: told.table,
        scope: told.scope,
    };
    // Another network may have given the pod a route to there already.
    Change::AddRouteWith(route, metrics)
}
