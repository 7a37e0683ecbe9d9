//! What an IPAM plugin of somebody else's answers to ADD.
//!
//! Follows the CNI specification, "delegated plugins": an abbreviated result, without interfaces, in whichever form its
//! version has. Keys that nobody here knows are left alone.

use super::{Dns, RouteConfig};
use crate::addr::PodRange;
use crate::attachment::PodAddress;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Addresses, routes and name servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// At least one.
    pub addresses: Vec<PodAddress>,
    /// For inside the pod.
    pub routes: Vec<RouteConfig>,
    /// For the pod's resolver.
    pub dns: Dns,
}

impl Given {
    /// Reads the answer.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn read(answer: &Value) -> Result<Self, String> {
        let answer = &lowered(answer);
        let mut given = Self {
            addresses: Vec::new(),
            routes: routes(&answer["routes"])?,
            dns: serde_json::from_value(answer["dns"].clone()).unwrap_or_default(),
        };
        for ip in answer["ips"].as_array().into_iter().flatten() {
            given
                .addresses
                .push(address(&ip["address"], &ip["gateway"])?);
        }
        for block in ["ip4", "ip6"].map(|key| &answer[key]) {
            if block.is_object() {
                given
                    .addresses
                    .push(address(&block["ip"], &block["gateway"])?);
                given.routes.extend(routes(&block["routes"])?);
            }
        }
        if given.addresses.is_empty() {
            return Err(format!("it gave no address: {answer}"));
        }
        Ok(given)
    }
}

/// Addresses in a result of 0.3.0 or later; one that cannot be read is nobody's.
#[must_use]
pub fn told(result: &Value) -> Vec<IpAddr> {
    let result = lowered(result);
    let ips = result["ips"].as_array().into_iter().flatten();
    let texts = ips.filter_map(|ip| ip["address"].as_str()?.split('/').next());
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// The same with its keys in small letters, for reading: some programs write them as their own structs are called. A key that is
/// written so already wins.
pub(super) fn lowered(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(lowered).collect(),
        Value::Object(object) => {
            let is_small = |key: &String| key.chars().all(|c| !c.is_ascii_uppercase());
            let (small, other): (Vec<_>, Vec<_>) =
                object.iter().partition(|(key, _)| is_small(key));
            let all = other.into_iter().chain(small);
            all.map(|(key, value)| (key.to_ascii_lowercase(), lowered(value)))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn address(net: &Value, gateway: &Value) -> Result<PodAddress, String> {
    let text = net.as_str().unwrap_or_default();
    let net: IpNet = text
        .parse()
        .map_err(|_| format!("{net} is no address with a prefix"))?;
    let gateway = gateway.as_str().filter(|text| !text.is_empty());
    let gateway = gateway.map(str::parse::<IpAddr>).transpose();
    let gateway = gateway.map_err(|_| format!("the gateway of {net} is no address"))?;
    Ok(PodAddress {
        ip: net.addr(),
        range: PodRange::single(net, gateway),
    })
}

fn routes(value: &Value) -> Result<Vec<RouteConfig>, String> {
    let all = value.as_array().into_iter().flatten();
    all.map(|route| serde_json::from_value(route.clone()).map_err(|why| why.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_are_read() {
        let old = json!({"ip4": {"ip": "10.1.0.5/24", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]}, "dns": {}});
        let new = json!({"ips": [{"version": "4", "address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": -1}],
            "routes": [{"dst": "0.0.0.0/0"}], "theirs": 1});
        let (old, new) = (Given::read(&old).unwrap(), Given::read(&new).unwrap());
        assert_eq!(old, new);
        assert_eq!(new.addresses[0].range.gateway().to_string(), "10.1.0.1");
        assert!(
            Given::read(&json!({"ips": []}))
                .unwrap_err()
                .contains("no address")
        );
        assert!(Given::read(&json!({"ips": [{"address": "10.1.0.5"}]})).is_err());
    }
}
