//! What a runtime asks for one attachment: a MAC, addresses, ranges to take them from, limits.
//!
//! It is said below `runtimeConfig` (capabilities), in `args.cni`, or in `CNI_ARGS`; the first of these that says something is
//! obeyed (CNI conventions). Keys are read in any ASCII case, because some runtimes write them as their own structs are
//! called, and what is empty asks for nothing. Host ports and limits of bandwidth have files of their own.

use super::keys::{self, is_empty};
use super::{bandwidth, get};
use crate::addr::{Family, Mac, PodRange, RangeError};
use crate::bandwidth::Bandwidth;
use crate::cni::CniError;
use crate::cni::env::Args;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use ipnet::IpNet;
use serde_json::{Map, Value};

/// Keys below `runtimeConfig` that ask for something which is not served.
const NOT_SERVED: [&str; 2] = ["infinibandGUID", "deviceID"];

/// What is asked for one attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The MAC of its interface.
    pub mac: Option<Mac>,
    /// Its addresses, at most one of a family.
    pub ips: Vec<IpAddr>,
    /// How fast the pod may send and receive.
    pub bandwidth: Bandwidth,
}

/// A value below `runtimeConfig`, if it asks for something.
pub(super) fn runtime<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let runtime = get(object, "runtimeConfig").and_then(Value::as_object)?;
    get(runtime, key).filter(|value| !is_empty(value))
}

/// A value in `args.cni`, if it asks for something.
fn argument<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let args = get(object, "args").and_then(Value::as_object)?;
    let cni = get(args, "cni").and_then(Value::as_object)?;
    get(cni, key).filter(|value| !is_empty(value))
}

/// Refuses what is known and not served.
pub(super) fn refuse(object: &Map<String, Value>) -> Result<(), CniError> {
    match get(object, "runtimeConfig").and_then(Value::as_object) {
        Some(runtime) => keys::refuse(runtime, &NOT_SERVED, "runtimeConfig."),
        None => Ok(()),
    }
}

/// MAC, addresses and limits, where pods get theirs from `given`.
pub(super) fn read(
    object: &Map<String, Value>,
    args: &Args,
    given: &[PodRange],
    wrong: &mut Vec<String>,
) -> Asked {
    Asked {
        mac: mac(object, args, wrong),
        ips: ips(object, args, given, wrong),
        bandwidth: bandwidth::read(object, wrong),
    }
}

/// The same for a type that asks its IPAM for addresses.
pub(super) fn without_addresses(
    object: &Map<String, Value>,
    args: &Args,
    wrong: &mut Vec<String>,
) -> Asked {
    Asked {
        mac: mac(object, args, wrong),
        ips: Vec::new(),
        bandwidth: bandwidth::read(object, wrong),
    }
}

fn mac(object: &Map<String, Value>, args: &Args, wrong: &mut Vec<String>) -> Option<Mac> {
    let of_args = Value::from(args.mac.as_str());
    let value = runtime(object, "mac")
        .or_else(|| argument(object, "mac"))
        .or_else(|| Some(&of_args).filter(|value| !is_empty(value)))?;
    let read = value
        .as_str()
        .ok_or_else(|| "it is no text".to_string())
        .and_then(|text| Mac::parse(text).map_err(|why| why.to_string()));
    read.map_err(|why| wrong.push(format!("mac: {value}: {why}")))
        .ok()
}

/// Of each family what the first source says that names one: a runtime may give one family by this way and the other by that.
fn ips(
    object: &Map<String, Value>,
    args: &Args,
    given: &[PodRange],
    wrong: &mut Vec<String>,
) -> Vec<IpAddr> {
    let mut asked: Vec<IpAddr> = Vec::new();
    for source in sources(object, args, wrong) {
        let earlier = asked.clone();
        for ip in source {
            if asked.contains(&ip) || earlier.iter().any(|other| is_kin(ip, *other)) {
                continue;
            }
            if let Some(other) = asked.iter().find(|other| is_kin(ip, **other)) {
                wrong.push(format!(
                    "ips: {other} and {ip} are asked for; a pod gets one address of a family"
                ));
            }
            wrong.extend(outside(ip, given));
            asked.push(ip);
        }
    }
    asked
}

/// The addresses that each source names, best first.
pub(super) fn sources(
    object: &Map<String, Value>,
    args: &Args,
    wrong: &mut Vec<String>,
) -> [Vec<IpAddr>; 3] {
    let of_args: Vec<Value> = args.ip.split(',').map(Value::from).collect();
    let list = |value: Option<&Value>| match value {
        None => Vec::new(),
        Some(Value::Array(list)) => list.clone(),
        Some(one) => Vec::from([one.clone()]),
    };
    let named = [
        list(runtime(object, "ips")),
        list(argument(object, "ips")),
        of_args,
    ];
    named.map(|values| {
        let mut ips = Vec::new();
        for value in values.iter().filter(|value| !is_empty(value)) {
            match value.as_str().and_then(address) {
                Some(ip) => ips.push(ip),
                None => wrong.push(format!("ips: {value} is no address")),
            }
        }
        ips
    })
}

fn is_kin(ip: IpAddr, other: IpAddr) -> bool {
    Family::of(ip) == Family::of(other)
}

/// An address, alone or with the length of a prefix, which says nothing: the range has one.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let alone = || text.parse().ok();
    let ip: IpAddr = alone().or_else(|| text.parse::<IpNet>().ok().map(|net| net.addr()))?;
    Some(ip.to_canonical())
}

/// Why none of the ranges gives this address.
fn outside(ip: IpAddr, given: &[PodRange]) -> Option<String> {
    if given.iter().any(|range| range.offers(ip)) {
        return None;
    }
    let family = Family::of(ip);
    let given: Vec<String> = given
        .iter()
        .filter(|range| range.family() == family)
        .map(|range| format!("{} to {}", range.first(), range.last()))
        .collect();
    Some(if given.is_empty() {
        format!("ips: {ip} is asked for, and the network gives pods no address of that family")
    } else {
        let given = given.join(" and ");
        format!("ips: {ip} is asked for, and the network gives pods {given}")
    })
}

/// The ranges of `runtimeConfig.ipRanges`: those of a family take the place of the configuration's. They must lie within
/// `prefixes`, if there are any: elsewhere nobody would know that these are pods. Of one that meets a range of the node's
/// `own`, the addresses are taken that both have, and the range stays the node's: its first address is the node's own, and a
/// pod's or another node's must not become that.
pub(super) fn ranges(
    object: &Map<String, Value>,
    prefixes: &[IpNet],
    own: &[PodRange],
    wrong: &mut Vec<String>,
) -> Vec<PodRange> {
    let sets = match runtime(object, "ipRanges") {
        None => return Vec::new(),
        Some(Value::Array(sets)) => sets,
        Some(other) => {
            wrong.push(format!("ipRanges: {other} is no list"));
            return Vec::new();
        }
    };
    let mut ranges = Vec::new();
    for set in sets.iter().filter(|set| !is_empty(set)) {
        // A list of lists; a list alone is taken as one range each.
        let entries = set
            .as_array()
            .map_or_else(|| core::slice::from_ref(set), Vec::as_slice);
        for entry in entries.iter().filter(|entry| !is_empty(entry)) {
            match of_the_node(entry, prefixes, own) {
                Ok(range) => ranges.push(range),
                Err(why) => wrong.push(format!("ipRanges: {entry}: {why}")),
            }
        }
    }
    ranges
}

fn of_the_node(entry: &Value, prefixes: &[IpNet], own: &[PodRange]) -> Result<PodRange, String> {
    let asked = range(entry)?;
    // Neither a special one nor the broadcast address is a pod's.
    let all = PodRange::new(asked.net()).map_err(|why| why.to_string())?;
    if !prefixes.is_empty() && !prefixes.iter().any(|prefix| prefix.contains(&all.net())) {
        let all: Vec<String> = prefixes.iter().map(IpNet::to_string).collect();
        return Err(format!("it lies outside of network {}", all.join(", ")));
    }
    let meets = |own: &&PodRange| own.net().contains(&all.net()) || all.net().contains(&own.net());
    let mut met = own.iter().filter(meets).peekable();
    let node = met.peek().map_or(all, |own| **own);
    let gives = |own: &PodRange| asked.within(own);
    let given = if met.peek().is_none() {
        gives(&all)
    } else {
        met.find_map(gives)
    };
    let given = given.ok_or_else(|| format!("it gives none of the addresses of {node}"))?;
    let first = given.gateway();
    let named = entry
        .as_object()
        .and_then(|entry| get(entry, "gateway"))
        .filter(|value| !is_empty(value));
    if named.is_some() && asked.gateway() != first {
        return Err(format!(
            "gateway {} cannot be served: the node's own address is the first one, {first}",
            asked.gateway()
        ));
    }
    Ok(given)
}

/// The reference plugin's words, which runtimes' own tests look for.
pub(super) fn too_small(net: IpNet) -> String {
    format!("Network {net} too small to allocate from")
}

/// A range with its bounds and its gateway, as runtimes and configurations write it.
pub(super) fn range(entry: &Value) -> Result<PodRange, String> {
    let entry = entry.as_object().ok_or("it is no object")?;
    let named = |key: &str| get(entry, key).filter(|value| !is_empty(value));
    let subnet = named("subnet").ok_or("subnet is missing")?;
    let net = subnet.as_str().and_then(|text| text.parse::<IpNet>().ok());
    let net = net.ok_or_else(|| format!("subnet {subnet} is no prefix such as 10.1.0.0/16"))?;
    let ip = |key: &str| {
        let read = |value: &Value| {
            let ip = value.as_str().and_then(address);
            ip.ok_or_else(|| format!("{key} {value} is no address"))
        };
        named(key).map(read).transpose()
    };
    let (start, end) = (ip("rangeStart")?, ip("rangeEnd")?);
    match PodRange::bounded(net, start, end, ip("gateway")?) {
        Err(RangeError::TooSmall(net, least)) => Err(format!(
            "{}: a range is at least a /{least}",
            too_small(net)
        )),
        other => other.map_err(|why| why.to_string()),
    }
}

#[cfg(test)]
mod tests;
