//! `runtimeConfig.portMappings`: the host ports that a runtime asks for.
//!
//! containerd writes the keys as its Go structs are called (`HostPort`), others in camel case; both are read. An entry
//! without a host port asks for nothing, and runtimes send such entries (CNI conventions, "Dynamic plugin specific fields").

use super::asked::runtime;
use super::{get, text};
use crate::addr::{Family, PodRange};
use crate::ports::{PortMap, Protocol};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use serde_json::{Map, Value};

/// Most host ports that one attachment may ask for: what its record, and one message to the kernel, hold with ease.
const PORTS: usize = 256;

/// The host ports of a configuration whose pods get addresses of `ranges`.
pub(super) fn read(
    object: &Map<String, Value>,
    ranges: &[PodRange],
    wrong: &mut Vec<String>,
) -> Vec<PortMap> {
    let entries = match runtime(object, "portMappings") {
        None => return Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(other) => {
            wrong.push(format!("portMappings: {other} is no list"));
            return Vec::new();
        }
    };
    let mut maps: Vec<PortMap> = Vec::new();
    for entry in entries {
        match one(entry) {
            Ok(None) => {}
            Ok(Some(map)) => {
                if let Err(why) = fits(&map, &maps, ranges) {
                    wrong.push(format!("portMappings: host port {map}: {why}"));
                }
                maps.push(map);
            }
            Err(why) => wrong.push(format!("portMappings: {entry}: {why}")),
        }
    }
    if maps.len() > PORTS {
        wrong.push(format!(
            "portMappings has {} entries; at most {PORTS} are served",
            maps.len()
        ));
    }
    maps
}

/// One entry; none if it asks for no port of the node.
fn one(entry: &Value) -> Result<Option<PortMap>, String> {
    let entry = entry.as_object().ok_or("it is no object")?;
    let host_port = match get(entry, "hostPort") {
        None | Some(Value::Null) => return Ok(None),
        Some(value) if value.as_u64() == Some(0) => return Ok(None),
        Some(value) => port(value, "hostPort")?,
    };
    let container_port = match get(entry, "containerPort") {
        None | Some(Value::Null) => return Err("containerPort is missing".into()),
        Some(value) => port(value, "containerPort")?,
    };
    Ok(Some(PortMap {
        host_port,
        container_port,
        protocol: protocol(entry)?,
        host_ip: host_ip(entry)?,
    }))
}

fn port(value: &Value, key: &str) -> Result<u16, String> {
    let number = value.as_u64().and_then(|n| u16::try_from(n).ok());
    number
        .filter(|n| *n != 0)
        .ok_or_else(|| format!("{key} {value} is no port between 1 and 65535"))
}

fn protocol(entry: &Map<String, Value>) -> Result<Protocol, String> {
    let name = named(entry, "protocol")?;
    if name.is_empty() {
        return Ok(Protocol::Tcp);
    }
    let mut all = Protocol::ALL.into_iter();
    all.find(|protocol| protocol.name().eq_ignore_ascii_case(name))
        .ok_or_else(|| format!("protocol {name:?} is none of tcp, udp, sctp"))
}

fn host_ip(entry: &Map<String, Value>) -> Result<Option<IpAddr>, String> {
    let name = named(entry, "hostIP")?;
    if name.is_empty() {
        return Ok(None);
    }
    let ip: IpAddr = name
        .parse()
        .map_err(|_| format!("hostIP {name:?} is no address"))?;
    if ip.is_ipv6() && ip.is_loopback() {
        let why = "hostIP ::1 cannot be served: no packet from ::1 leaves the node's own loopback";
        return Err(why.into());
    }
    if ip.is_multicast() {
        return Err(format!("hostIP {ip} is multicast"));
    }
    Ok(Some(ip))
}

/// A text that may be absent.
fn named<'a>(entry: &'a Map<String, Value>, key: &str) -> Result<&'a str, String> {
    match get(entry, key) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(_)) => Ok(text(entry, key).unwrap_or_default()),
        Some(other) => Err(format!("{key} {other} is no text")),
    }
}

fn fits(map: &PortMap, earlier: &[PortMap], ranges: &[PodRange]) -> Result<(), String> {
    if let Some(other) = earlier.iter().find(|other| other.collides(map)) {
        return Err(format!("it is asked for twice, also as {other}"));
    }
    let serves = |range: &PodRange| map.serves(range.family());
    match map.host_ip.map(Family::of) {
        Some(_) if ranges.iter().any(serves) => Ok(()),
        Some(Family::V4) => Err("the network gives pods no IPv4 address".into()),
        Some(Family::V6) => Err("the network gives pods no IPv6 address".into()),
        None => Ok(()),
    }
}
