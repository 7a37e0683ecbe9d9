//! The network configuration on standard input: what each verb needs of it.
//!
//! Reads the types `podwire` (routed, `ranges`) and `bash-cni` (a bridge, `network` and `subnet`); `loopback` needs nothing,
//! and those of the reference plugins stand in files beside.
//! Everything that is wrong is reported at once. Keys that nobody knows are left alone, because runtimes put their own beside
//! ours; what a runtime asks for and is not served is an error, never silently ignored.

mod asked;
mod bandwidth;
mod bridge;
mod ipam;
mod keys;
mod kind;
mod listed;
mod network;
mod portmap;
mod ports;

pub use asked::Asked;
pub use ipam::Ipam;
pub(super) use keys::{get, text};
pub use kind::Kind;
pub use network::NetConf;

use super::env::Args;
use super::{CniError, Code, Version};
use crate::addr::{Family, PodRange, parse_prefix};
use crate::attachment::Mode;
use crate::name::{ContainerId, IfName, NetworkName};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde_json::{Map, Value};

/// Most ranges that one configuration may name.
const RANGES: usize = 8;

/// Smallest and largest MTU that is accepted: IPv4's least, and what 16 bits hold.
const MTU: core::ops::RangeInclusive<u64> = 576..=65535;

/// Least MTU of a link with IPv6 (RFC 8200, section 5); below it the kernel gives the link no IPv6 at all.
const IPV6_MTU: u32 = 1280;

/// Bridge of the type `bash-cni` if the configuration names none.
const BRIDGE: &str = "cni0";

/// Log of the type `bash-cni` if the configuration names none: where the demo's script wrote.
pub const BASH_CNI_LOG: &str = "/var/log/bash-cni-plugin.log";

/// What every verb needs: enough to find the records and to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valid {
    /// The version to answer in.
    pub version: Version,
    /// The network.
    pub name: NetworkName,
    /// Where to log.
    pub log: Option<LogTarget>,
    /// The result of the ADD, as the runtime kept it.
    pub previous: Option<Value>,
    /// GC: the attachments that are to stay, as container id and interface; none if the key is absent.
    pub attachments: Option<Vec<(ContainerId, IfName)>>,
    /// The type.
    pub kind: Kind,
    object: Map<String, Value>,
}

/// The file that one line a call goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget(pub String);

impl Valid {
    /// Reads what every verb needs. `called` is the name that the plugin was called by; it stands in for an absent `type`.
    ///
    /// # Errors
    /// Code 6 if the input is no JSON object, 1 for a version that is not served, 7 for a wrong name or type.
    pub fn read(input: &str, called: &str) -> Result<Self, CniError> {
        let object = object(input)?;
        let version = version(&object)?;
        let name = text(&object, "name").unwrap_or_default();
        let name = NetworkName::new(name).map_err(|why| {
            CniError::new(
                Code::Config,
                format!("name {name:?} is no network name: {why}"),
            )
        })?;
        let kind = Kind::of_call(called, text(&object, "type"))?;
        let log = text(&object, "logFile").filter(|path| !path.is_empty());
        let log = log
            .or_else(|| (kind == Kind::BashCni).then_some(BASH_CNI_LOG))
            .map(|path| LogTarget(path.into()));
        let previous = get(&object, "prevResult")
            .filter(|value| !value.is_null())
            .cloned();
        Ok(Self {
            version,
            name,
            log,
            previous,
            attachments: listed::read(&object)?,
            kind,
            object,
        })
    }

    /// The version of the input, for answering when the rest cannot be read.
    #[must_use]
    pub fn version_of(input: &str) -> Version {
        object(input)
            .ok()
            .and_then(|object| version(&object).ok())
            .unwrap_or(Version::V1_1_0)
    }

    /// The configuration as it was given, for whoever is asked in our place.
    #[must_use]
    pub fn written(&self) -> String {
        Value::from(self.object.clone()).to_string()
    }

    /// Whether the configuration's version has this verb.
    ///
    /// # Errors
    /// Code 1 if it has not.
    pub fn must_know(&self, verb: &str, since: Version) -> Result<(), CniError> {
        if self.version >= since {
            return Ok(());
        }
        // Word for word as the reference library: callers compare the whole text.
        let msg = format!("config version does not allow {verb}");
        Err(CniError::new(Code::IncompatibleVersion, msg))
    }

    /// Reads what an ADD needs.
    ///
    /// # Errors
    /// Code 7 with everything that is wrong, or for a type that gives no addresses; code 2 for a key that is known and not
    /// served.
    pub fn network(&self, args: &Args) -> Result<NetConf, CniError> {
        asked::refuse(&self.object)?;
        if self.kind == Kind::Bridge {
            keys::refuse(&self.object, &bridge::NOT_SERVED, "")?;
            self.delegate()?;
        }
        let mut wrong = Vec::new();
        let mut conf = match self.kind {
            Kind::Podwire => self.podwire(&mut wrong),
            Kind::BashCni => self.bash_cni(&mut wrong),
            Kind::Bridge => self.bridge(args, &mut wrong)?,
            Kind::Loopback | Kind::HostLocal | Kind::Portmap => {
                let msg = format!("type {} gives no interface with addresses", self.kind);
                return Err(CniError::new(Code::Config, msg));
            }
        };
        if self.kind != Kind::Bridge {
            let asked = asked::ranges(&self.object, &conf.prefixes, &conf.ranges, &mut wrong);
            conf.narrow(asked);
        }
        conf.ports = ports::read(&self.object, &conf.ranges, &mut wrong);
        self.unless(&wrong, conf)
    }

    /// Reads what is asked for one attachment of this network.
    ///
    /// # Errors
    /// Code 7 with everything that is wrong.
    pub fn asked(&self, args: &Args, network: &NetConf) -> Result<Asked, CniError> {
        let mut wrong = Vec::new();
        let asked = if self.kind == Kind::Bridge {
            // Its addresses are its IPAM's business.
            asked::without_addresses(&self.object, args, &mut wrong)
        } else {
            asked::read(&self.object, args, &network.ranges, &mut wrong)
        };
        self.unless(&wrong, asked)
    }

    fn unless<T>(&self, wrong: &[String], value: T) -> Result<T, CniError> {
        if wrong.is_empty() {
            return Ok(value);
        }
        let msg = format!(
            "configuration of network {}: {}",
            self.name,
            wrong.join("; ")
        );
        Err(CniError::new(Code::Config, msg))
    }

    fn podwire(&self, wrong: &mut Vec<String>) -> NetConf {
        let ranges = self.list("ranges", wrong, |text| {
            PodRange::parse(text).map_err(|e| e.to_string())
        });
        let prefixes = self.list("network", wrong, |text| {
            parse_prefix(text).map_err(|e| e.to_string())
        });
        match ranges.len() {
            0 if wrong.is_empty() => wrong.push("key \"ranges\" is missing or empty".into()),
            n if n > RANGES => wrong.push(format!(
                "\"ranges\" has {n} entries; at most {RANGES} are served"
            )),
            _ => {}
        }
        overlaps(&ranges, wrong);
        let mtu = self.mtu(wrong);
        let has_ipv6 = ranges.iter().any(|range| range.family() == Family::V6);
        if let Some(mtu) = mtu.filter(|mtu| has_ipv6 && *mtu < IPV6_MTU) {
            wrong.push(format!(
                "mtu: {mtu} is less than the {IPV6_MTU} that IPv6 needs"
            ));
        }
        NetConf {
            mode: Mode::Routed,
            ranges,
            prefixes,
            mtu,
            alone: false,
            ports: Vec::new(),
            bridged: None,
            ipam: None,
        }
    }

    fn bash_cni(&self, wrong: &mut Vec<String>) -> NetConf {
        let network = self.one("network", wrong, |text| {
            parse_prefix(text).map_err(|e| e.to_string())
        });
        let subnet = self.one("subnet", wrong, |text| {
            PodRange::parse(text).map_err(|e| e.to_string())
        });
        if let Some(subnet) = subnet.filter(|subnet| subnet.family() == Family::V6) {
            wrong.push(format!(
                "subnet: {subnet} is IPv6; type bash-cni is IPv4 only, type podwire serves both"
            ));
        }
        if let (Some(network), Some(subnet)) = (network, subnet)
            && !network.contains(&subnet.net())
        {
            wrong.push(format!(
                "subnet: {subnet} lies outside of network {network}"
            ));
        }
        let bridge = text(&self.object, "bridge")
            .filter(|name| !name.is_empty())
            .unwrap_or(BRIDGE);
        let bridge = IfName::new(bridge)
            .map_err(|why| wrong.push(format!("bridge {bridge:?} is no interface name: {why}")));
        let mode = bridge.map_or(Mode::Routed, Mode::Bridge);
        let (ranges, prefixes) = (subnet.into_iter().collect(), network.into_iter().collect());
        NetConf {
            mode,
            ranges,
            prefixes,
            mtu: self.mtu(wrong),
            alone: true,
            ports: Vec::new(),
            bridged: None,
            ipam: None,
        }
    }

    fn mtu(&self, wrong: &mut Vec<String>) -> Option<u32> {
        let value = get(&self.object, "mtu").filter(|value| !value.is_null())?;
        match value.as_u64() {
            Some(0) => None,
            Some(mtu) if MTU.contains(&mtu) => u32::try_from(mtu).ok(),
            _ => {
                wrong.push(format!(
                    "mtu: {value} is no number between {} and {}",
                    MTU.start(),
                    MTU.end()
                ));
                None
            }
        }
    }

    fn one<T>(
        &self,
        key: &str,
        wrong: &mut Vec<String>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match get(&self.object, key) {
            None | Some(Value::Null) => wrong.push(format!("key {key:?} is missing")),
            Some(Value::String(text)) => match read(text) {
                Ok(value) => return Some(value),
                Err(why) => wrong.push(format!("{key}: {why}")),
            },
            Some(other) => wrong.push(format!("{key}: {other} is no text")),
        }
        None
    }

    fn list<T>(
        &self,
        key: &str,
        wrong: &mut Vec<String>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let entries = match get(&self.object, key) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(entries)) => entries.as_slice(),
            Some(other) => {
                wrong.push(format!("{key}: {other} is no list"));
                return Vec::new();
            }
        };
        let mut values = Vec::new();
        for entry in entries {
            match entry.as_str().map(&read) {
                Some(Ok(value)) => values.push(value),
                Some(Err(why)) => wrong.push(format!("{key}: {why}")),
                None => wrong.push(format!("{key}: {entry} is no text")),
            }
        }
        values
    }
}

fn overlaps(ranges: &[PodRange], wrong: &mut Vec<String>) {
    for (i, range) in ranges.iter().enumerate() {
        for other in ranges.iter().take(i) {
            if other.net().contains(&range.net()) || range.net().contains(&other.net()) {
                wrong.push(format!("ranges: {other} and {range} overlap"));
            }
        }
    }
}

pub(super) fn object(input: &str) -> Result<Map<String, Value>, CniError> {
    match serde_json::from_str(input) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(CniError::new(
            Code::Decode,
            "the configuration on standard input is no JSON object",
        )),
        Err(why) => Err(CniError::new(
            Code::Decode,
            "the configuration on standard input is no JSON",
        )
        .details(why.to_string())),
    }
}

fn version(object: &Map<String, Value>) -> Result<Version, CniError> {
    let written = match get(object, "cniVersion") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(other) => {
            return Err(CniError::new(
                Code::Config,
                format!("cniVersion: {other} is no text"),
            ));
        }
    };
    Version::parse(written).ok_or_else(|| {
        let served = Version::ALL.map(Version::as_str).join(", ");
        CniError::new(Code::IncompatibleVersion, "incompatible CNI versions")
            .details(format!("config is {written:?}, plugin supports {served}"))
    })
}

#[cfg(test)]
mod tests;
