//! An attachment: one interface of one container in one network, and the record that says what it holds.
//!
//! The key names everything: the record's file, the host interface, the owner of each lease. The record is written before
//! the first kernel object is made and removed after the last one is gone; a lease or a kernel object of ours therefore
//! implies a record, and nobody ever has to search. How it is kept on disk is `host::store`'s business.

use crate::addr::{Mac, PodRange};
use crate::bandwidth::Bandwidth;
use crate::cni::{Dns, Given, RouteConfig};
use crate::firewall::Owner;
use crate::name::{ContainerId, IfName, NetworkName, PodRef};
use crate::net::VETH_PREFIX;
use crate::ports::PortMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr};
use serde::{Deserialize, Serialize};

/// What names an attachment (CNI specification, "attachment").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The network.
    pub network: NetworkName,
    /// The container.
    pub container: ContainerId,
    /// The interface inside the container.
    pub ifname: IfName,
}

/// Longest container id that is used in a file's name as it is; longer ones are hashed.
const PLAIN: usize = 200;

impl Key {
    /// Name of the record's file in the network's folder: `<container>@<interface>`. A container id that does not fit a
    /// file's name appears as `~<hash>`; `~` begins no container id.
    #[must_use]
    pub fn file(&self) -> String {
        if self.container.as_str().len() <= PLAIN {
            format!("{}@{}", self.container, self.ifname)
        } else {
            format!("~{:032x}@{}", hash(&[self.container.as_str()]), self.ifname)
        }
    }

    /// The key whose record in this network's folder has the name `file`; none if the container id is hashed in it.
    #[must_use]
    pub fn of_file(network: &NetworkName, file: &str) -> Option<Self> {
        let (container, ifname) = file.split_once('@')?;
        Some(Self {
            network: network.clone(),
            container: ContainerId::new(container).ok()?,
            ifname: IfName::new(ifname).ok()?,
        })
    }

    /// The owner as an element of a map names it: the key itself, which people can read; one that is too long is hashed
    /// (`~` begins no network's name).
    #[must_use]
    pub fn owner(&self) -> Owner {
        let whole = format!("{}/{}/{}", self.network, self.container, self.ifname);
        if whole.len() <= Owner::LONGEST {
            return Owner::named(&whole);
        }
        let parts = [
            self.network.as_str(),
            self.container.as_str(),
            self.ifname.as_str(),
        ];
        Owner::named(&format!("~{:032x}", hash(&parts)))
    }

    /// Name of the host end of the veth: `pw` and 13 characters of a hash of the key.
    #[must_use]
    pub fn host_interface(&self) -> String {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let mut bits = hash(&[
            self.network.as_str(),
            self.container.as_str(),
            self.ifname.as_str(),
        ]);
        let mut name = String::from(VETH_PREFIX);
        for _ in 0..13 {
            name.push(char::from(DIGITS[(bits & 31) as usize]));
            bits >>= 5;
        }
        name
    }
}

/// FNV-1a over 128 bits: short, stable for ever, and spread well enough for names. A zero byte ends each part.
fn hash(parts: &[&str]) -> u128 {
    let mut state = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        state ^= u128::from(byte);
        state = state.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    // The low bits of FNV depend on the low bits of the input only; fold the high half in.
    state ^ (state >> 64)
}

/// How a pod is wired to its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A `/32` per pod and a route to it on its veth; no bridge.
    Routed,
    /// A port of this Linux bridge.
    Bridge(IfName),
    /// Only addresses are ours: the interface is another plugin's, which asked for them.
    Leased,
    /// Only host ports are ours: the interface is another plugin's, and this link leads to it.
    Chained(IfName),
}

impl Mode {
    /// Whether the container's interface is ours.
    #[must_use]
    pub fn has_link(&self) -> bool {
        match self {
            Self::Routed | Self::Bridge(_) => true,
            Self::Leased | Self::Chained(_) => false,
        }
    }

    /// The bridge, if there is one.
    #[must_use]
    pub fn bridge(&self) -> Option<&IfName> {
        match self {
            Self::Routed | Self::Leased | Self::Chained(_) => None,
            Self::Bridge(bridge) => Some(bridge),
        }
    }
}

/// An address that a pod holds, or is about to take, and the range it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodAddress {
    /// The address.
    pub ip: IpAddr,
    /// Its range.
    pub range: PodRange,
}

/// From where a process sees the machine: the inodes of its namespaces, the same whoever looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standpoint {
    /// Of the network.
    pub net: u64,
    /// Of mounts.
    pub mnt: u64,
    /// Of process numbers.
    pub pid: u64,
}

/// What a configuration of type `bridge` says of one attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration, and they are independent of each other"
)]
pub struct Bridged {
    /// The bridge has the gateways' addresses.
    pub gateway: bool,
    /// The pod's default route leads there.
    pub default_gateway: bool,
    /// Addresses of the bridge that are in the way are taken away.
    pub force: bool,
    /// What leaves the bridges of the node has the node's address.
    pub masquerade: bool,
    /// Whoever asks a host port is masqueraded towards the pod.
    pub masquerade_all: bool,
    /// A frame may leave by the port that it came in by.
    pub hairpin: bool,
    /// The bridge hears every frame.
    pub promiscuous: bool,
    /// The port exchanges frames with no other port of this kind.
    pub isolated: bool,
    /// Frames that do not carry the pod's MAC are dropped.
    pub spoof_check: bool,
    /// The kernel asks whether somebody else has an IPv6 address before it is used.
    pub dad: bool,
    /// The pod's end is left down.
    pub down: bool,
    /// Routes inside the pod.
    pub routes: Vec<RouteConfig>,
    /// What the pod's resolver is told.
    pub dns: Dns,
    /// The plugin that gave the addresses and gets them back; none if they are leased here.
    pub ipam: Option<String>,
    /// The folder in whose files the addresses are reserved; none if they are leased here.
    pub data_dir: Option<String>,
}

/// The record of an attachment. `addresses` comes first, so that it can be rewritten in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// What it holds, or is about to take.
    pub addresses: Vec<PodAddress>,
    /// Whose record it is.
    #[serde(flatten)]
    pub key: Key,
    /// Path of the network namespace, as the runtime gave it.
    pub netns: String,
    /// Inode of the namespace: a path may come to mean another one.
    pub inode: u64,
    /// Where the path meant that. Records of earlier versions do not say.
    #[serde(default)]
    pub standpoint: Option<Standpoint>,
    /// How the pod is wired.
    pub mode: Mode,
    /// MTU in bytes, if the configuration sets one.
    pub mtu: Option<u32>,
    /// MAC of the pod's end, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// How fast the pod may send and receive.
    #[serde(default, skip_serializing_if = "Bandwidth::is_unlimited")]
    pub bandwidth: Bandwidth,
    /// The pod, where the runtime named one.
    pub pod: Option<PodRef>,
    /// Ports of the node that lead to the pod. Records of before there were any do not have the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMap>,
    /// What the configuration of type `bridge` says; a bridge of type `bash-cni` has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridged: Option<Bridged>,
    /// When the ADD began: nanoseconds of `CLOCK_BOOTTIME`, the one clock that orders processes.
    pub born: u64,
}

/// Longest alias of a link in bytes (`IFALIASZ` counts a terminator more).
const ALIAS: usize = 255;

impl Attachment {
    /// Reads a record, and what another IPAM plugin gave it behind that, if it is there whole. None if it is no record.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut documents = serde_json::Deserializer::from_slice(bytes);
        let record = Self::deserialize(&mut documents).ok()?;
        Some(match Given::deserialize(&mut documents) {
            Ok(given) => record.with(given),
            Err(_) => record,
        })
    }

    /// The alias of the host interface: `namespace/pod`, or network/container/interface without Kubernetes. Cut to what
    /// the kernel takes; the record is the truth.
    #[must_use]
    pub fn alias(&self) -> String {
        let mut alias = String::new();
        let written = match &self.pod {
            Some(pod) => write!(alias, "{}/{}", pod.namespace, pod.name),
            None => write!(
                alias,
                "{}/{}/{}",
                self.key.network, self.key.container, self.key.ifname
            ),
        };
        debug_assert!(written.is_ok(), "writing to a String does not fail");
        let mut end = ALIAS.min(alias.len());
        while !alias.is_char_boundary(end) {
            end -= 1;
        }
        alias.truncate(end);
        alias
    }

    /// MAC of the pod's end: the one that was asked for, or a function of its first address.
    #[must_use]
    pub fn pod_mac(&self) -> Mac {
        self.mac.unwrap_or_else(|| Mac::of_pod(self.first()))
    }

    /// MAC of the node's end.
    #[must_use]
    pub fn host_mac(&self) -> Mac {
        Mac::of_gateway(self.first())
    }

    /// MAC of a bridge that this attachment makes and that has no address to derive one from: as good as none other has it.
    #[must_use]
    pub fn made_up_mac(&self) -> Mac {
        let born = format!("{}", self.born);
        let key = &self.key;
        let parts = [key.network.as_str(), key.container.as_str(), born.as_str()];
        let [a, b, c, d, e, ..] = hash(&parts).to_be_bytes();
        // Locally administered, and one interface's.
        Mac([0x02, a, b, c, d, e])
    }

    /// Whether the pod's range is one of the cluster's kind: routed between nodes, never another plugin's or a bridge's of
    /// somebody's own configuration.
    #[must_use]
    pub fn is_of_the_node(&self) -> bool {
        match self.mode {
            Mode::Routed | Mode::Bridge(_) => self.bridged.is_none(),
            Mode::Leased | Mode::Chained(_) => false,
        }
    }

    /// The folder in whose files its addresses are reserved.
    #[must_use]
    pub fn data_dir(&self) -> Option<&str> {
        self.bridged.as_ref()?.data_dir.as_deref()
    }

    /// The same with what another IPAM plugin gave it. The configuration's own name servers go before those.
    #[must_use]
    pub fn with(mut self, given: Given) -> Self {
        self.addresses = given.addresses;
        if let Some(bridged) = &mut self.bridged {
            bridged.routes = given.routes;
            if bridged.dns == Dns::default() {
                bridged.dns = given.dns;
            }
        }
        self
    }

    /// Whether its addresses are leased here: neither given by another plugin nor reserved in files.
    #[must_use]
    pub fn has_leases(&self) -> bool {
        match self.mode {
            Mode::Routed | Mode::Bridge(_) => {
                let elsewhere = |it: &Bridged| it.ipam.is_some() || it.data_dir.is_some();
                !self.bridged.as_ref().is_some_and(elsewhere)
            }
            Mode::Leased => true,
            Mode::Chained(_) => false,
        }
    }

    /// Whether anything in our table belongs to it.
    #[must_use]
    pub fn has_elements(&self) -> bool {
        let masquerades = self.bridged.as_ref().is_some_and(|it| it.masquerade);
        !self.ports.is_empty() || masquerades
    }

    /// What stands for it where an address is needed; without one, a number that is as good as its own.
    fn first(&self) -> IpAddr {
        let made_up = || {
            let key = &self.key;
            let parts = [
                key.network.as_str(),
                key.container.as_str(),
                key.ifname.as_str(),
            ];
            let [a, b, c, d, ..] = hash(&parts).to_be_bytes();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        };
        self.addresses.first().map_or_else(made_up, |a| a.ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(container: &str) -> Key {
        Key {
            network: NetworkName::new("mynet").unwrap(),
            container: ContainerId::new(container).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        }
    }

    #[test]
    fn a_host_interface_name_fits_and_is_stable() {
        let name = key("c1").host_interface();
        assert_eq!(name.len(), 15);
        assert!(IfName::new(&name).is_ok());
        assert_eq!(name, key("c1").host_interface());
        assert_ne!(name, key("c2").host_interface());
    }

    #[test]
    fn ten_thousand_keys_have_ten_thousand_names() {
        let names: std::collections::BTreeSet<_> = (0..10_000)
            .map(|i| key(&format!("c{i}")).host_interface())
            .collect();
        assert_eq!(names.len(), 10_000);
    }

    #[test]
    fn a_container_id_that_fits_no_file_name_is_hashed() {
        assert_eq!(key("c1").file(), "c1@eth0");
        let network = NetworkName::new("mynet").unwrap();
        assert_eq!(Key::of_file(&network, "c1@eth0"), Some(key("c1")));
        let long = key(&"a".repeat(201)).file();
        assert!(long.starts_with('~') && long.len() < 60, "{long}");
        assert_eq!(Key::of_file(&network, &long), None);
    }

    #[test]
    fn an_owner_is_the_key_or_where_that_is_too_long_its_hash() {
        assert_eq!(key("c1").owner().as_str(), "mynet/c1/eth0");
        let (long, longer) = (key(&"a".repeat(200)).owner(), key(&"a".repeat(201)).owner());
        assert!(long.as_str().starts_with('~') && long != longer);
    }

    #[test]
    fn a_record_of_an_earlier_version_is_read() {
        let old = r#"{"addresses":[],"network":"mynet","container":"c1","ifname":"eth0","netns":"/n","inode":7,
            "mode":"routed","mtu":null,"pod":null,"born":1}"#;
        let record: Attachment = serde_json::from_str(old).unwrap();
        assert_eq!((record.ports.len(), record.standpoint), (0, None));
        assert!(!serde_json::to_string(&record).unwrap().contains("ports"));
    }

    #[test]
    fn what_another_plugin_gave_counts_when_it_is_there_whole() {
        let record = r#"{"addresses":[],"network":"mynet","container":"c1","ifname":"eth0","netns":"/n","inode":7,
            "mode":{"bridge":"br"},"mtu":null,"pod":null,"bridged":{"ipam":"theirs","dns":{}},"born":1}"#;
        let given = Given {
            addresses: alloc::vec![PodAddress {
                ip: "10.1.0.5".parse().unwrap(),
                range: PodRange::single("10.1.0.5/24".parse().unwrap(), None),
            }],
            routes: Vec::new(),
            dns: Dns {
                domain: "a.b".into(),
                ..Dns::default()
            },
        };
        let both = format!("{record}{}", serde_json::to_string(&given).unwrap());
        let read = |text: &str| Attachment::read(text.as_bytes());
        let whole = read(&both).unwrap();
        assert_eq!(whole.addresses, given.addresses);
        assert_eq!(whole.bridged.unwrap().dns.domain, "a.b");
        for length in record.len()..both.len() {
            assert_eq!(read(&both[..length]), read(record));
        }
        assert_eq!(read(&record[1..]), None);
    }

    #[test]
    fn an_alias_is_cut_between_characters() {
        let mut record = Attachment {
            addresses: Vec::new(),
            key: key("c1"),
            netns: String::new(),
            inode: 0,
            standpoint: None,
            mode: Mode::Routed,
            mtu: None,
            mac: None,
            bandwidth: Bandwidth::default(),
            pod: None,
            ports: Vec::new(),
            bridged: None,
            born: 0,
        };
        assert_eq!(record.alias(), "mynet/c1/eth0");
        record.pod = Some(PodRef {
            namespace: "n".into(),
            name: "é".repeat(200),
            uid: String::new(),
        });
        assert_eq!(record.alias().len(), 254);
    }
}
