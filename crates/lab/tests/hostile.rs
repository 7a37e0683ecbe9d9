//! Calls of every type in a machine that is short of something, that fails, or that is asked nonsense.
//!
//! Whatever happens, a call ends soon, with one JSON object or with nothing on standard output, and what failed has left
//! nothing. Which words an error has is told elsewhere (`plugin`); here every type and verb goes through the same.

mod bridge;
mod faults;
mod input;
mod orders;
mod random;
mod short;
mod storm;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Answer, Attachment, Plugin};
use lab::{Lab, Node, Pod, programs, wire};
use serde_json::{Value, json};

use super::plugin::{said, tree};

/// No call may take so long, whatever it meets. A machine that is busy with other tests is slow itself.
const SOON: Duration = Duration::from_secs(20);

/// A type of the plugin: the name that it is called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Podwire,
    BashCni,
    Bridge,
    HostLocal,
    Portmap,
    Loopback,
}

impl Type {
    const ALL: [Self; 6] = [
        Self::Podwire,
        Self::BashCni,
        Self::Bridge,
        Self::HostLocal,
        Self::Portmap,
        Self::Loopback,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Podwire => "podwire",
            Self::BashCni => "bash-cni",
            Self::Bridge => "bridge",
            Self::HostLocal => "host-local",
            Self::Portmap => "portmap",
            Self::Loopback => "loopback",
        }
    }

    fn plugin(self) -> Result<Plugin> {
        Ok(Plugin::new(programs()?.plugins.join(self.name())))
    }

    /// A configuration that is right, and asks for as much as the type can give.
    fn conf(self) -> Value {
        let mut conf = match self {
            Self::Podwire => json!({
                "ranges": ["10.244.0.0/24", "fd00:10:244::/64"],
                "network": ["10.244.0.0/16", "fd00:10:244::/56"]}),
            Self::BashCni => json!({"network": "10.244.0.0/16", "subnet": "10.244.0.0/24"}),
            Self::Bridge => json!({"bridge": "br7", "isDefaultGateway": true, "ipMasq": true,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}], [{"subnet": "fd00:7::/64"}]]}}),
            Self::HostLocal => json!({"master": "eth9", "ipam": {"type": "host-local",
                "ranges": [[{"subnet": "10.7.0.0/24"}], [{"subnet": "fd00:7::/64"}]]}}),
            Self::Portmap => json!({"prevResult": {"cniVersion": "1.1.0",
                "interfaces": [{"name": "eth0", "sandbox": "/run/netns/a"}],
                "ips": [{"address": "10.9.0.2/24", "interface": 0}]}}),
            Self::Loopback => json!({}),
        };
        conf["cniVersion"] = "1.1.0".into();
        conf["name"] = "mine".into();
        conf["type"] = self.name().into();
        match self {
            Self::Podwire | Self::BashCni | Self::Bridge | Self::Portmap => {
                conf["runtimeConfig"] = json!({"portMappings": [
                    {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
                    {"hostPort": 5353, "containerPort": 53, "protocol": "udp"}]});
            }
            Self::HostLocal | Self::Loopback => {}
        }
        if matches!(self, Self::Podwire | Self::BashCni | Self::Bridge) {
            let limit = json!({"ingressRate": 10_000_000, "egressRate": 10_000_000});
            conf["runtimeConfig"]["bandwidth"] = limit;
        }
        conf
    }
}

/// A node on which a type is called, and a pod to call it for.
struct Caller {
    kind: Type,
    node: Node,
    pod: Pod,
    plugin: Plugin,
    conf: Value,
}

impl Caller {
    fn new(lab: &Lab, kind: Type) -> Result<Self> {
        let node = lab.node("one").start()?;
        said(&node, "iptables-nft -P FORWARD DROP")?;
        if kind == Type::Portmap {
            // The interface that somebody else has made.
            node.attempt(|| {
                wire::add_bridge("br9", wire::mac_of("br9"))?;
                wire::add_address("br9", "10.9.0.1/24".parse()?)?;
                wire::set_up("br9")
            })?;
        }
        Ok(Self {
            kind,
            pod: node.pod("a")?,
            node,
            plugin: kind.plugin()?,
            conf: kind.conf(),
        })
    }

    fn attachment(&self) -> Attachment {
        let own = Attachment::of(&self.pod);
        if self.kind == Type::Loopback {
            return own.interface("lo");
        }
        own
    }

    /// The configuration that a runtime gives with this verb, `told` being what ADD answered.
    fn conf_for(&self, verb: &str, told: &Value) -> Value {
        let mut conf = self.conf.clone();
        if verb == "CHECK" && self.kind != Type::Portmap {
            conf["prevResult"] = told.clone();
        }
        if verb == "GC" {
            conf["cni.dev/valid-attachments"] = json!([]);
        }
        conf
    }

    fn call(&self, verb: &str, told: &Value) -> Result<Answer> {
        let conf = self.conf_for(verb, told);
        match verb {
            "GC" | "STATUS" | "VERSION" => self.plugin.call_network(&self.node, verb, &conf),
            _ => self
                .plugin
                .call(&self.node, verb, &self.attachment(), &conf),
        }
    }

    fn add(&self) -> Result<Value> {
        self.call("ADD", &Value::Null)?.ok().context("ADD")
    }

    /// A DEL on a machine that is well, and what is left then.
    fn end(&self) -> Result<()> {
        self.call("DEL", &Value::Null)?.ok().context("DEL")?;
        let left = self.left()?;
        ensure!(left.is_empty(), "after DEL: {left:?}");
        Ok(())
    }

    /// Whatever of an attachment is there.
    fn left(&self) -> Result<Vec<String>> {
        let mut left = left_on(&self.node)?;
        if self.pod.run(|| wire::exists("eth0")) {
            left.push("eth0 in the pod".to_owned());
        }
        Ok(left)
    }
}

/// Whatever of attachments is on a node: records, leases, links, ways, elements of our table.
fn left_on(node: &Node) -> Result<Vec<String>> {
    let mut left = node.attempt(|| {
        let files = tree(Path::new("/run/podwire"))?.into_keys();
        let held = |name: &String| name.contains("/attachments/") || name.contains("/leases/");
        let mut left: Vec<String> = files.filter(held).collect();
        for file in ["dev", "route", "ipv6_route", "if_inet6", "arp"] {
            let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}"))?;
            let ours = |line: &&str| line.split_whitespace().any(|word| word.starts_with("pw"));
            left.extend(text.lines().filter(ours).map(str::to_owned));
        }
        Ok(left)
    })?;
    // An element says whose it is: network, container, interface.
    let rules = said(node, "nft list ruleset")?;
    let owned = |line: &&str| {
        let owner = line.split("comment \"").nth(1);
        let owner = owner.and_then(|rest| rest.split('"').next());
        owner.is_some_and(|owner| owner.split('/').count() == 3)
    };
    left.extend(rules.lines().filter(owned).map(str::to_owned));
    Ok(left)
}

/// What every answer must be like: an error is one object with a code and a sentence, and no panic's.
fn is_civil(answer: &Answer) -> Result<()> {
    ensure!(answer.took < SOON, "it took {:?}: {answer:?}", answer.took);
    let spoken = format!("{}{}", answer.stdout, answer.stderr);
    ensure!(!spoken.contains("panick"), "{answer:?}");
    match answer.code {
        Some(0) => {}
        Some(1) => {
            let says = |key: &str| answer.json.get(key).is_some_and(|value| !value.is_null());
            ensure!(
                answer.json.is_object() && says("code") && says("msg") && says("cniVersion"),
                "{answer:?}"
            );
        }
        _ => anyhow::bail!("it did not end by itself: {answer:?}"),
    }
    Ok(())
}
