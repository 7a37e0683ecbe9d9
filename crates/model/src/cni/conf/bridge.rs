//! Type `bridge`: the keys of the reference plugin (containernetworking/plugins v1.9.1, plugins/main/bridge).
//!
//! What is known there and not served here is an error that names the key. Addresses come from `ipam`: type `host-local` is
//! read here, any other is a program that is asked, and none means that the pod has no address.

use super::keys::flag;
use super::{BRIDGE, Kind, NetConf, Valid, get, text};
use crate::attachment::{Bridged, Mode};
use crate::cni::{Args, CniError, Code, Dns, Version};
use crate::name::IfName;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde_json::Value;

/// The IPAM that is built in.
const HOST_LOCAL: &str = "host-local";

/// Known to the reference plugin; no bridge is made that filters by VLAN.
pub(super) const NOT_SERVED: [&str; 3] = ["vlan", "vlanTrunk", "preserveDefaultVlan"];

impl Valid {
    /// The IPAM plugin that is to be run for the addresses; none if they are given here, or not at all.
    ///
    /// # Errors
    /// Code 7 for a name that is no plugin's.
    pub fn delegate(&self) -> Result<Option<&str>, CniError> {
        let name = self.ipam_type();
        if self.kind != Kind::Bridge || name.is_empty() || name == HOST_LOCAL {
            return Ok(None);
        }
        if name.contains('/') || name == "." || name == ".." {
            let msg = format!("ipam.type {name:?} is no plugin's name");
            return Err(CniError::new(Code::Config, msg));
        }
        Ok(Some(name))
    }

    /// Whether the addresses of type `bridge` are given here, as type `host-local` gives them.
    #[must_use]
    pub fn gives_as_host_local(&self) -> bool {
        self.kind == Kind::Bridge && self.ipam_type() == HOST_LOCAL
    }

    /// What type `bridge` says.
    ///
    /// # Errors
    /// What its addresses lack, if nothing else is wrong.
    pub(super) fn bridge(&self, args: &Args, wrong: &mut Vec<String>) -> Result<NetConf, CniError> {
        if self.ipam_type().is_empty() && self.version < Version::V0_3_0 && self.previous.is_none()
        {
            // Nothing that these versions could say; the reference plugin notices when everything is made.
            let msg = "cannot convert: no valid IP addresses";
            return Err(CniError::new(Code::Config, msg));
        }
        let name = text(&self.object, "bridge").filter(|name| !name.is_empty());
        let name = name.unwrap_or(BRIDGE);
        let bridge = IfName::new(name)
            .map_err(|why| wrong.push(format!("bridge {name:?} is no interface name: {why}")));
        let bridged = self.bridged(wrong);
        if bridged.down && !self.ipam_type().is_empty() {
            wrong
                .push("disableContainerInterface: an interface that stays down has no ipam".into());
        }
        if bridged.hairpin && bridged.promiscuous {
            wrong.push("hairpinMode and promiscMode exclude each other".into());
        }
        let mtu = self.mtu(wrong);
        let ipam = self.gives_as_host_local().then(|| self.ipam(args));
        let ipam = match ipam.transpose() {
            Err(error) if wrong.is_empty() => return Err(error),
            other => other.map_err(|error| wrong.push(error.msg)).ok(),
        }
        .flatten();
        Ok(NetConf {
            mode: bridge.map_or(Mode::Routed, Mode::Bridge),
            ranges: ipam.iter().flat_map(|it| it.sets.concat()).collect(),
            prefixes: Vec::new(),
            mtu,
            alone: true,
            ports: Vec::new(),
            bridged: Some(Bridged {
                routes: ipam
                    .as_ref()
                    .map(|it| it.routes.clone())
                    .unwrap_or_default(),
                data_dir: ipam.as_ref().and_then(|it| it.data_dir.clone()),
                ..bridged
            }),
            ipam,
        })
    }

    fn ipam_type(&self) -> &str {
        let ipam = get(&self.object, "ipam").and_then(Value::as_object);
        ipam.and_then(|ipam| text(ipam, "type")).unwrap_or_default()
    }

    fn bridged(&self, wrong: &mut Vec<String>) -> Bridged {
        let mut flag = |key| flag(&self.object, key, wrong);
        let default_gateway = flag("isDefaultGateway");
        let read = Bridged {
            gateway: flag("isGateway") || default_gateway,
            default_gateway,
            force: flag("forceAddress"),
            masquerade: flag("ipMasq"),
            hairpin: flag("hairpinMode"),
            promiscuous: flag("promiscMode"),
            isolated: flag("portIsolation"),
            spoof_check: flag("macspoofchk"),
            dad: flag("enabledad"),
            down: flag("disableContainerInterface"),
            ..Bridged::default()
        };
        let dns = get(&self.object, "dns").filter(|dns| !dns.is_null());
        let dns = dns.map(|dns| serde_json::from_value::<Dns>(dns.clone()));
        let dns = dns
            .transpose()
            .map_err(|why| wrong.push(format!("dns: {why}")));
        Bridged {
            dns: dns.ok().flatten().unwrap_or_default(),
            ipam: self.delegate().ok().flatten().map(ToString::to_string),
            ..read
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str) -> Result<NetConf, CniError> {
        let input = format!(r#"{{"cniVersion":"1.0.0","name":"n","type":"bridge"{rest}}}"#);
        Valid::read(&input, "bridge")?.network(&Args::default())
    }

    #[test]
    fn a_default_gateway_is_a_gateway_and_the_bridge_has_a_default_name() {
        let conf =
            read(r#","isDefaultGateway":true,"ipam":{"type":"host-local","subnet":"10.1.0.0/24"}"#)
                .unwrap();
        assert_eq!(conf.mode, Mode::Bridge(IfName::new("cni0").unwrap()));
        let bridged = conf.bridged.unwrap();
        assert!(bridged.gateway && bridged.default_gateway && !bridged.masquerade);
        assert_eq!(conf.ranges.len(), 1);
    }

    #[test]
    fn what_is_known_and_not_served_is_refused_by_name() {
        for (rest, key) in [
            (r#","vlan":100"#, "vlan"),
            (r#","vlanTrunk":[{"id":5}]"#, "vlanTrunk"),
            (r#","preserveDefaultVlan":true"#, "preserveDefaultVlan"),
        ] {
            let error = read(rest).unwrap_err();
            assert_eq!(error.code, Code::Unsupported, "{rest}");
            assert!(error.msg.contains(key), "{error}");
        }
        assert!(read(r#","vlan":0,"vlanTrunk":[],"preserveDefaultVlan":false"#).is_ok());
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (rest, part) in [
            (
                r#","hairpinMode":true,"promiscMode":true"#,
                "exclude each other",
            ),
            (
                r#","disableContainerInterface":true,"ipam":{"type":"static"}"#,
                "stays down",
            ),
            (r#","isGateway":"yes""#, "neither true nor false"),
            (r#","ipam":{"type":"host-local"}"#, "no ranges"),
        ] {
            let error = read(rest).unwrap_err();
            assert_eq!(error.code, Code::Config, "{rest}");
            assert!(error.msg.contains(part), "{part:?} in {error}");
        }
    }
}
