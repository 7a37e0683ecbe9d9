//! The result of ADD, and its form in each version of the specification.
//!
//! 0.1 and 0.2 know one address a family and no interfaces; 0.3 and 0.4 give each address a `version`; 1.1 alone knows an
//! interface's `mtu`. A result is never given in another version than the one that was asked for.

use super::Version;
use crate::addr::Family;
use crate::name::IfName;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What an ADD made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniResult {
    /// The interfaces; the pod's own comes first.
    pub interfaces: Vec<Interface>,
    /// The addresses of the pod's interface.
    pub ips: Vec<IpConfig>,
    /// The routes inside the pod.
    pub routes: Vec<RouteConfig>,
    /// Name servers, and how to ask them.
    pub dns: Dns,
}

/// What a container's resolver is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dns {
    /// Addresses of name servers, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The domain that short names are in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains that short names are looked for in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: IfName,
    /// Its MAC.
    pub mac: String,
    /// Its MTU in bytes, if one was set.
    pub mtu: Option<u32>,
    /// Path of the network namespace that it is in; none for the node's.
    pub sandbox: Option<String>,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpConfig {
    /// The address with the length of its prefix.
    pub address: IpNet,
    /// The gateway; a loopback has none.
    pub gateway: Option<IpAddr>,
    /// Which of the interfaces has it; an IPAM plugin does not know.
    pub interface: Option<usize>,
}

/// A route inside the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteConfig {
    /// Where to.
    pub dst: IpNet,
    /// By way of; the gateway of the address if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// Largest packet in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Largest segment of TCP that is offered, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Its metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Its table; 0 is a table too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Its scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

impl RouteConfig {
    /// A route with nothing but its two ends.
    #[must_use]
    pub fn by_way_of(dst: IpNet, gw: IpAddr) -> Self {
        Self {
            gw: Some(gw),
            ..Self::to(dst)
        }
    }

    /// A route by way of whatever gateway its family has.
    #[must_use]
    pub fn to(dst: IpNet) -> Self {
        Self {
            dst,
            gw: None,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }
    }
}

impl CniResult {
    /// The result in the words of a version.
    #[must_use]
    pub fn to_json(&self, version: Version) -> Value {
        if version <= Version::V0_2_0 {
            self.oldest(version)
        } else {
            self.rich(version)
        }
    }

    fn oldest(&self, version: Version) -> Value {
        let mut object = json!({ "cniVersion": version.as_str(), "dns": self.dns });
        for (family, key) in [(Family::V4, "ip4"), (Family::V6, "ip6")] {
            let Some(ip) = self
                .ips
                .iter()
                .find(|ip| Family::of(ip.address.addr()) == family)
            else {
                continue;
            };
            let routes: Vec<Value> = self
                .routes
                .iter()
                .filter(|r| Family::of(r.dst.addr()) == family)
                .map(RouteConfig::ends)
                .collect();
            object[key] = json!({ "ip": ip.address.to_string(), "routes": routes });
            if let Some(gateway) = ip.gateway {
                object[key]["gateway"] = json!(gateway.to_string());
            }
        }
        object
    }

    fn rich(&self, version: Version) -> Value {
        let mut object = json!({
            "cniVersion": version.as_str(),
            "ips": self.ips.iter().map(|ip| ip.to_json(version)).collect::<Vec<_>>(),
            "routes": self.routes,
            "dns": self.dns,
        });
        // An IPAM plugin knows of none, and an empty list would say that there are none.
        if !self.interfaces.is_empty() {
            let interfaces = self.interfaces.iter().map(|i| i.to_json(version));
            object["interfaces"] = interfaces.collect();
        }
        object
    }
}

impl Interface {
    fn to_json(&self, version: Version) -> Value {
        let mut object = Map::new();
        object.insert("name".into(), json!(self.name.as_str()));
        object.insert("mac".into(), json!(self.mac));
        if let Some(mtu) = self.mtu.filter(|_| version >= Version::V1_1_0) {
            object.insert("mtu".into(), json!(mtu));
        }
        if let Some(sandbox) = &self.sandbox {
            object.insert("sandbox".into(), json!(sandbox));
        }
        object.into()
    }
}

impl IpConfig {
    fn to_json(&self, version: Version) -> Value {
        let mut object = json!({ "address": self.address.to_string() });
        if let Some(interface) = self.interface {
            object["interface"] = json!(interface);
        }
        if let Some(gateway) = self.gateway {
            object["gateway"] = json!(gateway.to_string());
        }
        if version < Version::V1_0_0 {
            object["version"] = json!(match Family::of(self.address.addr()) {
                Family::V4 => "4",
                Family::V6 => "6",
            });
        }
        object
    }
}

impl RouteConfig {
    /// All that the oldest versions know of a route.
    fn ends(&self) -> Value {
        let mut object = json!({ "dst": self.dst });
        if let Some(gw) = self.gw {
            object["gw"] = json!(gw);
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn result() -> CniResult {
        CniResult {
            interfaces: vec![
                Interface {
                    name: IfName::new("eth0").unwrap(),
                    mac: "0a:58:0a:f4:00:02".into(),
                    mtu: Some(1400),
                    sandbox: Some("/run/netns/a".into()),
                },
                Interface {
                    name: IfName::new("pw0").unwrap(),
                    mac: "0e:58:0a:f4:00:02".into(),
                    mtu: None,
                    sandbox: None,
                },
            ],
            ips: vec![IpConfig {
                address: "10.244.0.2/32".parse().unwrap(),
                gateway: Some("169.254.1.1".parse().unwrap()),
                interface: Some(0),
            }],
            routes: vec![RouteConfig::by_way_of(
                "0.0.0.0/0".parse().unwrap(),
                "169.254.1.1".parse().unwrap(),
            )],
            dns: Dns::default(),
        }
    }

    #[test]
    fn the_oldest_versions_have_one_block_a_family() {
        assert_eq!(
            result().to_json(Version::V0_2_0).to_string(),
            r#"{"cniVersion":"0.2.0","dns":{},"ip4":{"gateway":"169.254.1.1","ip":"10.244.0.2/32","routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"}]}}"#
        );
    }

    #[test]
    fn only_versions_before_one_say_the_version_of_an_address() {
        for (version, says) in [
            (Version::V0_3_1, true),
            (Version::V0_4_0, true),
            (Version::V1_0_0, false),
        ] {
            let json = result().to_json(version);
            assert_eq!(json["ips"][0]["version"] == "4", says, "{version}");
            assert_eq!(json["cniVersion"], version.as_str());
        }
    }

    #[test]
    fn only_1_1_knows_an_interfaces_mtu() {
        assert_eq!(
            result().to_json(Version::V1_1_0)["interfaces"][0]["mtu"],
            1400
        );
        assert_eq!(
            result().to_json(Version::V1_0_0)["interfaces"][0].get("mtu"),
            None
        );
    }
}
