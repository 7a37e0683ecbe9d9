//! The two nodes as the demo's reader found them, their pods, and the host outside.
//!
//! FORWARD drops with Docker's chains, nothing is forwarded, there is no route to the other node's pods and no masquerade.
//! Every place listens on [`Site::PORT`] and tells a client the address that it was seen with.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Addresses, Mode};
use crate::plugin::{Attachment, Plugin};
use crate::probe::{self, Listener};
use crate::{Lab, Node, Place, Pod, Programs, Segment, firewall, wire};

/// Where a runtime looks for its configuration.
pub const CONF_FOLDER: &str = "/etc/cni/net.d";
/// The demo's own file.
const BASH_CNI: &str = "/etc/cni/net.d/10-bash-cni-plugin.conf";
/// How the name of the agent's file ends; what stands before it only sorts it among others.
const CONFLIST: &str = "podwire.conflist";

const NAMES: [&str; 2] = ["k8s-master", "k8s-worker"];
const UPLINKS: [[&str; 2]; 2] = [
    ["10.128.0.2/24", "fd00:10:128::2/64"],
    ["10.128.0.3/24", "fd00:10:128::3/64"],
];
const RANGES: [[&str; 2]; 2] = [
    ["10.244.0.0/24", "fd00:10:244::/64"],
    ["10.244.1.0/24", "fd00:10:244:1::/64"],
];
const POD_NAMES: [&str; 2] = ["a", "b"];

/// The whole scene.
#[derive(Debug)]
pub struct Site {
    /// The switch between the nodes.
    pub lan: Segment,
    /// `k8s-master` and `k8s-worker`.
    pub sides: [Side; 2],
    /// The gateway and the rest of the world.
    pub outside: Node,
    /// Dropped with the scene.
    listeners: Vec<Listener>,
}

/// A node and its two pods.
#[derive(Debug)]
pub struct Side {
    /// The node.
    pub node: Node,
    /// Its pods, without any interface at first.
    pub pods: [Pod; 2],
    /// Its pod ranges: IPv4, IPv6.
    pub ranges: [&'static str; 2],
}

impl Site {
    /// The port on which every place listens.
    pub const PORT: u16 = 8080;

    /// Builds it.
    pub fn new(lab: &Lab) -> Result<Self> {
        let lan = lab.segment("lan")?;
        let outside = lab.outside(&lan)?;
        let sides = [side(lab, &lan, 0)?, side(lab, &lan, 1)?];
        let mut site = Self {
            lan,
            sides,
            outside,
            listeners: Vec::new(),
        };
        site.listeners
            .push(probe::listen(&site.outside, Self::PORT)?);
        for number in 0..site.sides.len() {
            site.listen(number)?;
        }
        Ok(site)
    }

    /// Reboots a node: it is broken again, and its pods are new and without any interface.
    pub fn reboot(&mut self, number: usize) -> Result<()> {
        let side = &mut self.sides[number];
        side.node.reboot()?;
        break_forwarding(&side.node)?;
        side.pods = pods(&side.node)?;
        self.listen(number)
    }

    fn listen(&mut self, number: usize) -> Result<()> {
        let Side { node, pods, .. } = &self.sides[number];
        let places: [&Place; 3] = [node, &pods[0], &pods[1]];
        for place in places {
            self.listeners.push(probe::listen(place, Self::PORT)?);
        }
        Ok(())
    }

    /// `k8s-master`.
    pub fn master(&self) -> &Node {
        &self.sides[0].node
    }

    /// `k8s-worker`.
    pub fn worker(&self) -> &Node {
        &self.sides[1].node
    }

    /// Attaches all four pods through the plugin, as a runtime does; each node's file must be there.
    pub fn attach(&self, programs: &Programs, mode: Mode) -> Result<Addresses> {
        let mut addresses = Addresses(Default::default());
        for (side, given) in self.sides.iter().zip(&mut addresses.0) {
            for (pod, given) in side.pods.iter().zip(given) {
                *given = side.attach(programs, mode, pod)?;
            }
        }
        Ok(addresses)
    }
}

impl Side {
    /// Attaches one pod through the plugin, as a runtime does.
    pub fn attach(&self, programs: &Programs, mode: Mode, pod: &Pod) -> Result<Vec<IpAddr>> {
        let config = self.config(mode)?;
        let answer = plugin(programs, mode).add(&self.node, &Attachment::of(pod), &config)?;
        let name = pod.name();
        let result = answer.ok().with_context(|| format!("ADD of {name}"))?;
        let ips = result["ips"].as_array().into_iter().flatten();
        ips.map(|ip| {
            let text = ip["address"].as_str().unwrap_or_default();
            let net: ipnet::IpNet = text.parse().with_context(|| format!("address {text:?}"))?;
            Ok(net.addr())
        })
        .collect()
    }

    /// Detaches one pod.
    pub fn detach(&self, programs: &Programs, mode: Mode, pod: &Pod) -> Result<()> {
        let config = self.config(mode)?;
        let answer = plugin(programs, mode).del(&self.node, &Attachment::of(pod), &config)?;
        let name = pod.name();
        answer.ok().with_context(|| format!("DEL of {name}"))?;
        Ok(())
    }

    /// Writes the demo's own file.
    pub fn write_bash_cni(&self) -> Result<()> {
        let config = json!({
            "cniVersion": "0.3.1",
            "name": "mynet",
            "type": "bash-cni",
            "network": "10.244.0.0/16",
            "subnet": self.ranges[0],
        });
        self.node.attempt(|| {
            fs::write(BASH_CNI, format!("{config:#}\n")).context("write the demo's file")
        })
    }

    /// What a runtime sends to the plugin: the file in its folder, read now.
    pub fn config(&self, mode: Mode) -> Result<Value> {
        let text = self.node.attempt(|| {
            let path = match mode {
                Mode::Bridge => PathBuf::from(BASH_CNI),
                Mode::Routed => {
                    let found = conflist(Path::new(CONF_FOLDER));
                    found.with_context(|| format!("no {CONFLIST} in {CONF_FOLDER}"))?
                }
            };
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        })?;
        let file = serde_json::from_str(&text).with_context(|| text.clone())?;
        match mode {
            Mode::Bridge => Ok(file),
            Mode::Routed => runtime_config(&file).context(text),
        }
    }
}

/// The agent's file in a folder of the calling thread's node.
pub fn conflist(folder: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(folder).ok()?.flatten();
    names
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(CONFLIST))
}

/// The plugin's configuration as a runtime makes it from a list: its entry, with the list's name and version.
pub fn runtime_config(conflist: &Value) -> Result<Value> {
    let mut plugin = conflist["plugins"][0].clone();
    let object = plugin.as_object_mut().context("the list has no plugin")?;
    for key in ["name", "cniVersion"] {
        let value = conflist.get(key).filter(|value| value.is_string());
        let value = value.with_context(|| format!("the list has no {key}"))?;
        object.insert(key.to_owned(), value.clone());
    }
    Ok(plugin)
}

fn plugin(programs: &Programs, mode: Mode) -> Plugin {
    Plugin::new(programs.plugins.join(match mode {
        Mode::Bridge => "bash-cni",
        Mode::Routed => "podwire",
    }))
}

fn side(lab: &Lab, lan: &Segment, number: usize) -> Result<Side> {
    let node = lab
        .node(NAMES[number])
        .uplink(lan, &UPLINKS[number])
        .gateway("10.128.0.1")
        .gateway("fd00:10:128::1")
        .start()?;
    break_forwarding(&node)?;
    Ok(Side {
        pods: pods(&node)?,
        node,
        ranges: RANGES[number],
    })
}

fn pods(node: &Node) -> Result<[Pod; 2]> {
    Ok([node.pod(POD_NAMES[0])?, node.pod(POD_NAMES[1])?])
}

/// The state of a machine on which Docker was installed and nothing else was done.
fn break_forwarding(node: &Node) -> Result<()> {
    node.attempt(|| {
        // A fresh namespace inherits IPv4 switches from the machine.
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            wire::set_parameter(switch, "0")?;
        }
        // Kubernetes asks for it where the kernel has it: then even bridged packets meet FORWARD.
        for family in ["iptables", "ip6tables"] {
            let name = format!("bridge/bridge-nf-call-{family}");
            if Path::new("/proc/sys/net").join(&name).exists() {
                wire::set_parameter(&name, "1")?;
            }
        }
        Ok(())
    })?;
    firewall::docker(node)
}
