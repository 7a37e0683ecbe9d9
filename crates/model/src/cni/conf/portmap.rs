//! Type `portmap`: the keys of the reference plugin (containernetworking/plugins v1.9.1, plugins/meta/portmap).
//!
//! The ports themselves are read where those of every type are. What would change who is led where and is not served is an
//! error that names the key; what only says by which means it is done means nothing here.

use super::keys::{flag, refuse};
use super::{NetConf, Valid, ports};
use crate::attachment::{Bridged, Mode, PodAddress};
use crate::cni::given::lowered;
use crate::cni::{CniError, Code, Given};
use crate::name::{IfName, NetworkName};
use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;
use serde_json::Value;

/// They narrow who is led, in a language of another program.
const NOT_SERVED: [&str; 3] = ["conditionsV4", "conditionsV6", "externalSetMarkChain"];

impl Valid {
    /// The same for the network in which host ports are recorded.
    ///
    /// # Errors
    /// Code 7 if the network's name is too long to have one beside it.
    pub fn for_ports(&self) -> Result<Self, CniError> {
        let name = format!("{}.portmap", self.name);
        let name = NetworkName::new(&name)
            .map_err(|why| CniError::new(Code::Config, format!("name {name:?}: {why}")))?;
        Ok(Self {
            name,
            ..self.clone()
        })
    }

    /// Addresses of this interface that the plugins before have given, the first of each family.
    ///
    /// # Errors
    /// Code 7 for a `prevResult` that cannot be read.
    pub fn chained(&self, ifname: &IfName) -> Result<Vec<PodAddress>, CniError> {
        let Some(previous) = &self.previous else {
            return Ok(Vec::new());
        };
        let mut mine = lowered(previous);
        let interfaces = mine["interfaces"].as_array().cloned().unwrap_or_default();
        let is_its = |ip: &Value| {
            let place = ip["interface"]
                .as_u64()
                .and_then(|n| usize::try_from(n).ok());
            let interface = place.and_then(|place| interfaces.get(place));
            interface.is_none_or(|it| {
                it["name"] == ifname.as_str()
                    && it["sandbox"].as_str().is_some_and(|s| !s.is_empty())
            })
        };
        if let Some(ips) = mine.get_mut("ips").and_then(Value::as_array_mut) {
            ips.retain(is_its);
        }
        // A plugin without an IPAM gives none, and says nothing of it.
        let ips = mine.get("ips").and_then(Value::as_array);
        let of_old = ["ip4", "ip6"].iter().any(|key| mine[*key].is_object());
        if ips.is_none_or(Vec::is_empty) && !of_old {
            return Ok(Vec::new());
        }
        let given = Given::read(&mine)
            .map_err(|why| CniError::new(Code::Config, format!("prevResult: {why}")))?;
        let mut first: Vec<PodAddress> = Vec::new();
        for address in given.addresses {
            let kin = |other: &PodAddress| other.ip.is_ipv4() == address.ip.is_ipv4();
            if !first.iter().any(kin) {
                first.push(address);
            }
        }
        Ok(first)
    }

    /// Reads the ports that are to lead to these addresses.
    ///
    /// # Errors
    /// Code 7 with everything that is wrong, 2 for a key that is known and not served.
    pub fn port_maps(&self, addresses: &[PodAddress]) -> Result<NetConf, CniError> {
        refuse(&self.object, &NOT_SERVED, "")?;
        let ranges: Vec<_> = addresses.iter().map(|address| address.range).collect();
        let mut wrong = Vec::new();
        let ports = ports::read(&self.object, &ranges, &mut wrong);
        let masquerade_all = flag(&self.object, "masqAll", &mut wrong);
        flag(&self.object, "snat", &mut wrong);
        if !wrong.is_empty() {
            let name = self.name.to_string();
            let network = name.trim_end_matches(".portmap");
            let msg = format!("configuration of network {network}: {}", wrong.join("; "));
            return Err(CniError::new(Code::Config, msg));
        }
        Ok(NetConf {
            mode: Mode::Leased,
            ranges,
            prefixes: Vec::new(),
            mtu: None,
            alone: true,
            ports,
            bridged: Some(Bridged {
                masquerade_all,
                ..Bridged::default()
            }),
            ipam: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(rest: &str) -> Valid {
        let input = format!(r#"{{"cniVersion":"1.0.0","name":"n","type":"portmap"{rest}}}"#);
        Valid::read(&input, "portmap").unwrap()
    }

    #[test]
    fn addresses_are_those_of_the_interface_the_first_of_each_family() {
        let conf = valid(
            r#","prevResult":{"interfaces":[{"name":"br"},{"name":"eth0","sandbox":"/n"},{"name":"eth1","sandbox":"/n"}],
            "ips":[{"address":"10.1.0.9/24","interface":2},{"address":"10.1.0.5/24","interface":1},
            {"address":"10.1.0.6/24","interface":1},{"address":"fd00::5/64"}]}"#,
        );
        let found = conf.chained(&IfName::new("eth0").unwrap()).unwrap();
        let ips: Vec<_> = found.iter().map(|address| address.ip.to_string()).collect();
        assert_eq!(ips, ["10.1.0.5", "fd00::5"]);
    }

    #[test]
    fn a_result_is_read_in_the_case_of_every_runtime() {
        let conf = valid(
            r#","prevResult":{"Interfaces":[{"Name":"br"},{"Name":"eth0","Sandbox":"/n"}],
            "IPs":[{"Address":"10.1.0.9/24","Interface":0},{"Address":"10.1.0.5/24","Gateway":"10.1.0.9","Interface":1}]}"#,
        );
        let found = conf.chained(&IfName::new("eth0").unwrap()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].ip.to_string(), "10.1.0.5");
        assert_eq!(found[0].range.gateway().to_string(), "10.1.0.9");
    }

    #[test]
    fn what_would_change_who_is_led_is_refused_by_name() {
        for key in NOT_SERVED {
            let error = valid(&format!(r#","{key}":["-s","10.0.0.0/8"]"#))
                .port_maps(&[])
                .unwrap_err();
            assert_eq!(error.code, Code::Unsupported);
            assert!(error.msg.contains(key), "{error}");
        }
        let fine = r#","backend":"iptables","markMasqBit":13,"snat":false,"conditionsV4":[]"#;
        assert!(valid(fine).port_maps(&[]).is_ok());
    }
}
