//! The plugin alone, without an agent: the real binary, called as runtimes call it.
//!
//! Both types are tried wherever the scenario makes sense for both: `bash-cni` with the demo's file, word for word, and
//! `podwire` with a dual-stack entry as the agent writes it.

mod add;
pub(crate) mod advertisement;
mod asked;
mod bandwidth;
mod bridge;
mod chained;
mod check;
mod concurrency;
mod contract;
pub(crate) mod crash;
mod data_dir;
mod del;
mod delegate;
mod disk;
mod firewalls;
mod gc;
mod host_local;
mod input;
mod log;
mod loopback;
mod node;
mod portmap;
mod program;
mod range;
mod reboot;
mod removal;
mod spoof;
mod upstream;
mod versions;
mod wrong;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Attachment, Plugin};
use lab::{Lab, Node, Place, Pod, programs};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

/// The demo's file on the master, to the letter.
const DEMO: &str = r#"{"cniVersion":"0.3.1","name":"mynet","type":"bash-cni","network":"10.244.0.0/16","subnet":"10.244.0.0/24"}"#;

const DUAL_STACK: &str = r#"{"cniVersion":"1.1.0","name":"podwire","type":"podwire",
    "ranges":["10.244.0.0/24","fd00:10:244::/64"],"network":["10.244.0.0/16","fd00:10:244::/56"]}"#;

const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

/// The plugin under one of its names, with a configuration that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `bash-cni`
    Bridge,
    /// `podwire`
    Routed,
}

impl Kind {
    const BOTH: [Self; 2] = [Self::Bridge, Self::Routed];

    fn path(self) -> Result<PathBuf> {
        let name = match self {
            Self::Bridge => "bash-cni",
            Self::Routed => "podwire",
        };
        Ok(programs()?.plugins.join(name))
    }

    fn conf(self) -> Result<Value> {
        let text = match self {
            Self::Bridge => DEMO,
            Self::Routed => DUAL_STACK,
        };
        Ok(serde_json::from_str(text)?)
    }
}

/// One node and the plugin on it.
#[derive(Clone)]
struct Rig {
    kind: Kind,
    node: Node,
    plugin: Plugin,
    conf: Value,
}

impl Rig {
    /// A node of its own, without a cable.
    fn new(lab: &Lab, kind: Kind) -> Result<Self> {
        Self::on(lab.node("one").start()?, kind)
    }

    fn on(node: Node, kind: Kind) -> Result<Self> {
        Ok(Self {
            kind,
            node,
            plugin: Plugin::new(kind.path()?),
            conf: kind.conf()?,
        })
    }

    /// The same with one key of the configuration changed.
    fn with(&self, key: &str, value: impl Into<Value>) -> Self {
        let mut other = self.clone();
        other.conf[key] = value.into();
        other
    }

    /// A new pod, attached; and what the plugin said.
    fn pod(&self, name: &str) -> Result<(Pod, Value)> {
        let pod = self.node.pod(name)?;
        let result = self.add(&pod)?;
        Ok((pod, result))
    }

    fn add(&self, pod: &Pod) -> Result<Value> {
        let added = self
            .plugin
            .add(&self.node, &Attachment::of(pod), &self.conf);
        added?
            .ok()
            .with_context(|| format!("ADD of {}", pod.pod_name()))
    }

    fn del(&self, pod: &Pod) -> Result<()> {
        self.del_as(&Attachment::of(pod))
    }

    fn del_as(&self, attachment: &Attachment) -> Result<()> {
        let answer = self.plugin.del(&self.node, attachment, &self.conf)?;
        ensure!(answer.stdout.is_empty(), "DEL says nothing: {answer:?}");
        answer.ok().map(drop).context("DEL")
    }

    fn check(&self, attachment: &Attachment, result: &Value) -> Result<lab::plugin::Answer> {
        let conf = self.with("prevResult", result.clone()).conf;
        self.plugin.check(&self.node, attachment, &conf)
    }

    fn network(&self) -> &str {
        self.conf["name"].as_str().unwrap_or_default()
    }

    /// The addresses that are leased, as the files' names say.
    fn leases(&self) -> Result<Vec<String>> {
        self.listed("leases")
    }

    fn records(&self) -> Result<Vec<String>> {
        self.listed("attachments")
    }

    fn listed(&self, what: &str) -> Result<Vec<String>> {
        let folder = format!("/run/podwire/{}/{what}", self.network());
        self.node.attempt(|| {
            let mut names = Vec::new();
            for entry in fs::read_dir(&folder).context(folder)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Ok(names)
        })
    }

    /// Whatever of a pod is still on the node; nothing after a clean end. Bridge, table, hints, notes about sysctls and
    /// the node's own addresses may stay.
    fn leftovers(&self) -> Result<Vec<String>> {
        let network = self.network().to_owned();
        self.node.attempt(|| leftovers(&network))
    }
}

fn leftovers(network: &str) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for name in tree(Path::new("/run/podwire"))?.into_keys() {
        let mut parts = name.split('/');
        let known = match (parts.next(), parts.next(), parts.next()) {
            (Some(own), Some("boot" | "in-order" | "removal"), None) => own == network,
            (Some(own), Some("hints"), Some(_)) => own == network,
            (Some("sysctls"), None, None) => true,
            _ => false,
        };
        if !known {
            left.push(format!("file {name}"));
        }
    }
    // The thread's own view: /proc/net is that of the process.
    let shown = |file: &str| -> Result<String> {
        Ok(fs::read_to_string(format!("/proc/thread-self/net/{file}"))?)
    };
    let ours = |text: &str| text.split_whitespace().any(|word| word.starts_with("pw"));
    for file in ["dev", "route", "ipv6_route", "if_inet6", "arp"] {
        let text = shown(file)?;
        left.extend(
            text.lines()
                .filter(|line| ours(line))
                .map(|line| format!("{file}: {line}")),
        );
    }
    Ok(left)
}

/// All files below a folder with their contents, by path; folders end with a slash.
pub(crate) fn tree(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.path().strip_prefix(root)?.display().to_string();
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(name, fs::read(entry.path())?);
            }
        }
    }
    Ok(found)
}

/// Everything on a node that a plugin could have touched.
fn state(node: &Node) -> Result<String> {
    let mut text = network(node)?;
    let files = node.attempt(|| tree(Path::new("/run/podwire")))?;
    let forward = node.attempt(|| Ok(fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?))?;
    text.push_str(&said(node, "nft list ruleset")?);
    text.push_str(&format!("forward {forward}"));
    for (name, content) in files {
        text.push_str(&format!(
            "{name}: {}\n",
            content.trim_ascii().escape_ascii()
        ));
    }
    Ok(text)
}

/// Links, addresses, routes, neighbours and rules of a node or a pod, one a line.
fn network(place: &Place) -> Result<String> {
    let mut text = String::new();
    for words in [
        "addr",
        "route show table all",
        "neigh show nud permanent",
        "rule",
    ] {
        for mut object in ip(place, words)?.as_array().into_iter().flatten().cloned() {
            if !of_the_kernel_alone(&object) {
                steady(&mut object);
                text.push_str(&format!("{words}: {object}\n"));
            }
        }
    }
    Ok(text)
}

/// What the kernel makes by itself for each IPv6 link and address, whenever it comes to it.
fn of_the_kernel_alone(object: &Value) -> bool {
    let is = |key: &str, value: &str| object[key] == value;
    let begins = |own: &str| {
        object["dst"]
            .as_str()
            .is_some_and(|dst| dst.starts_with(own))
    };
    let ipv6_route = object.get("pref").is_some();
    ipv6_route && (is("table", "local") || begins("fe80:") || begins("ff00:"))
        || is("family", "inet6") && is("scope", "link")
}

/// Takes away what changes a moment after a link was set up: whether the other end has been noticed.
fn steady(object: &mut Value) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    object.remove("operstate");
    if let Some(flags) = object.get_mut("flags").and_then(Value::as_array_mut) {
        let carrier = ["LOWER_UP", "NO-CARRIER", "linkdown"];
        flags.retain(|flag| !carrier.iter().any(|word| flag == word));
    }
    if let Some(addresses) = object.get_mut("addr_info").and_then(Value::as_array_mut) {
        addresses.retain(|address| !of_the_kernel_alone(address));
    }
}

/// Fails with the lines that differ.
fn same(after: &str, before: &str) -> Result<()> {
    let only = |these: &str, those: &str, sign: char| -> String {
        let lines = these
            .lines()
            .filter(|line| !those.lines().any(|other| other == *line));
        lines.map(|line| format!("{sign} {line}\n")).collect()
    };
    ensure!(
        after == before,
        "it changed:\n{}{}",
        only(before, after, '-'),
        only(after, before, '+')
    );
    Ok(())
}

/// Output of a program of the machine; the words are separated by spaces.
pub(crate) fn said(place: &Place, words: &str) -> Result<String> {
    let mut words = words.split(' ');
    let program = words.next().context("a program")?;
    let output = place.command(program).args(words).output_within(SOON);
    let output = output.with_context(|| {
        format!("{program}: run `cargo xtask test`, it installs what is needed")
    })?;
    Ok(output.ok()?.stdout)
}

/// What `ip -j …` shows.
fn ip(place: &Place, words: &str) -> Result<Value> {
    let text = said(place, &format!("ip -j {words}"))?;
    match text.trim() {
        "" => Ok(json!([])),
        text => Ok(serde_json::from_str(text)?),
    }
}

/// Addresses in a result of 0.3.0 or later, without their lengths.
pub(crate) fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().into_iter().flatten();
    let ips = ips.filter_map(|ip| ip["address"].as_str()?.split('/').next());
    ips.map(str::to_owned).collect()
}

/// The node's end of the pod's link, as the result names it.
fn node_end(result: &Value) -> Result<&str> {
    result["interfaces"][1]["name"]
        .as_str()
        .context("the node's end")
}
