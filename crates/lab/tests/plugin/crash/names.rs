//! The names of the reference plugins, killed at each of their system calls.
//!
//! A type `bridge` has its addresses from the state folder, from files, or from another IPAM plugin, which may be killed as well;
//! `host-local` stands alone, and `portmap` is chained behind a bridge. A GC that follows lists another attachment only, which
//! was made meanwhile under another id.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Answer, Attachment, Plugin};
use lab::{Lab, Node, Pod, programs};
use serde_json::{Value, json};

use super::walk::{self, Scene};
use crate::plugin::{leftovers, said, tree};

const FILES: &str = "/run/files";
/// Between the other IPAM plugin and the one that it starts nothing of ours stands.
const THEIRS: &str = "/run/bin/theirs";

/// What the runtime does after the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Del,
    Gc,
}

use Next::{Del, Gc};

struct Named {
    node: Node,
    name: &'static str,
    conf: Value,
    verb: &'static str,
    next: Next,
    pod: Pod,
    other: Pod,
    /// What the plugin before told of the other, if there is one.
    others: Value,
    /// Elements in our table that stay.
    kept: String,
}

impl Named {
    fn new(lab: &Lab, name: &'static str, conf: Value) -> Result<Self> {
        let node = lab.node("one").start()?;
        install(&node)?;
        let (pod, other) = (node.pod("a")?, node.pod("other")?);
        let mut named = Self {
            node,
            name,
            conf,
            verb: "ADD",
            next: Del,
            pod,
            other,
            others: Value::Null,
            kept: String::new(),
        };
        named.conf["cniVersion"] = "1.1.0".into();
        named.conf["name"] = "mine".into();
        if name == "portmap" {
            // Pods of the reference plugin's, whose own end is no business of this walk.
            let bridge = json!({"cniVersion": "1.1.0", "name": "under", "type": "bridge", "isGateway": true,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}], [{"subnet": "fd00:7::/64"}]]}});
            let plugin = Plugin::new(programs()?.plugins.join("bridge"));
            let under = |pod: &Pod| plugin.add(&named.node, &Attachment::of(pod), &bridge)?.ok();
            let (told, others) = (under(&named.pod)?, under(&named.other)?);
            named.conf["prevResult"] = told;
            named.others = others;
        }
        // What the first ADD of a node leaves there for all.
        named.call("ADD", &named.pod, &named.conf)?.ok()?;
        named.call("DEL", &named.pod, &named.conf)?.ok()?;
        named.kept = named.elements()?;
        Ok(named)
    }

    fn call(&self, verb: &str, pod: &Pod, conf: &Value) -> Result<Answer> {
        let mut environment = Attachment::of(pod).environment();
        environment.push(("CNI_PATH", "/run/bin".into()));
        let plugin = Plugin::new(programs()?.plugins.join(self.name));
        plugin.raw(&self.node, verb, &environment, conf.to_string().as_bytes())
    }

    /// All that our table holds of pods, if there is one.
    fn elements(&self) -> Result<String> {
        let ruleset = said(&self.node, "nft list ruleset")?;
        let owned = ruleset.lines().filter(|line| line.contains("comment"));
        Ok(owned.map(|line| format!("{}\n", line.trim())).collect())
    }

    /// Reservations in files.
    fn reserved(&self) -> Result<Vec<String>> {
        let found = self.node.attempt(|| tree(Path::new(FILES)))?;
        let stays = |name: &String| name.contains("/lock") || name.contains("/last_reserved_ip");
        Ok(found.into_keys().filter(|name| !stays(name)).collect())
    }

    fn there(&self) -> Result<Vec<String>> {
        let networks: &[&str] = if self.name == "portmap" {
            &["mine.portmap"]
        } else {
            &["mine"]
        };
        let mut there = Vec::new();
        for network in networks {
            there.extend(self.node.attempt(|| leftovers(network))?);
        }
        if self.name == "portmap" {
            there.retain(|what| what.contains("mine.portmap"));
        }
        there.extend(self.reserved()?);
        let elements = self.elements()?;
        if elements != self.kept {
            there.push(elements);
        }
        Ok(there)
    }

    /// Files say how old they are by the second, and a GC leaves what is young.
    fn age(&self) -> Result<()> {
        for name in self.reserved()? {
            self.node.attempt(|| {
                let file = fs::File::options()
                    .write(true)
                    .open(format!("{FILES}/{name}"))?;
                Ok(file.set_modified(SystemTime::UNIX_EPOCH)?)
            })?;
        }
        Ok(())
    }

    fn listing(&self, pod: &Pod) -> Value {
        let only = Attachment::of(pod);
        let mut conf = self.conf.clone();
        conf["cni.dev/valid-attachments"] =
            json!([{"containerID": only.container_id, "ifname": only.interface}]);
        conf
    }
}

impl Scene for Named {
    fn node(&self) -> &Node {
        &self.node
    }

    fn program(&self) -> Result<PathBuf> {
        Ok(programs()?.plugins.join(self.name))
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = Attachment::of(&self.pod).environment();
        environment.push(("CNI_COMMAND", self.verb.to_owned()));
        environment.push(("CNI_PATH", "/run/bin".into()));
        environment
    }

    fn input(&self) -> String {
        let mut conf = match self.verb {
            "GC" => self.listing(&self.other),
            _ => self.conf.clone(),
        };
        if self.verb == "CHECK" && self.name == "bridge" {
            // Any result that names the addresses will do.
            conf["prevResult"] = json!({"cniVersion": "1.1.0", "ips":
                [{"address": "10.7.0.9/24"}, {"address": "fd00:7::9/64"}]});
        }
        conf.to_string()
    }

    fn prepare(&self) -> Result<()> {
        if self.verb != "ADD" {
            self.call("ADD", &self.pod, &self.conf)?.ok()?;
            self.age()?;
        }
        Ok(())
    }

    fn remains(&self) -> Result<Vec<String>> {
        self.there()
    }

    fn follow(&self) -> Result<()> {
        match self.next {
            Del => self.call("DEL", &self.pod, &self.conf)?.ok()?,
            Gc => {
                let mut conf = self.conf.clone();
                // It would be the other's port.
                conf["runtimeConfig"]["portMappings"] =
                    json!([{"hostPort": 9090, "containerPort": 80}]);
                conf["runtimeConfig"]["ips"] = json!([]);
                if !self.others.is_null() {
                    conf["prevResult"] = self.others.clone();
                }
                self.call("ADD", &self.other, &conf)?.ok()?;
                self.age()?;
                let gc = self.listing(&self.other);
                self.call("GC", &self.other, &gc)?.ok()?;
                self.call("DEL", &self.other, &conf)?.ok()?
            }
        };
        Ok(())
    }

    fn left(&self) -> Result<Vec<String>> {
        self.there()
    }

    fn clean(&self) -> Result<()> {
        self.call("DEL", &self.pod, &self.conf)?.ok().map(drop)
    }
}

/// An IPAM plugin of somebody else's that keeps files.
fn install(node: &Node) -> Result<()> {
    let program = programs()?.plugins.join("host-local");
    let text = format!("#!/bin/sh\nexec {}\n", program.display());
    node.attempt(|| {
        fs::create_dir_all("/run/bin")?;
        fs::write(THEIRS, &text)?;
        Ok(fs::set_permissions(
            THEIRS,
            fs::Permissions::from_mode(0o755),
        )?)
    })
}

fn killed(
    name: &'static str,
    what: &str,
    conf: &Value,
    walks: &[(&'static str, Next)],
) -> Result<()> {
    Lab::scenario(|lab| {
        let mut scene = Named::new(lab, name, conf.clone())?;
        for (verb, next) in walks {
            (scene.verb, scene.next) = (verb, *next);
            let said = format!("{name} {what} {verb}, then {next:?}");
            let walked = walk::walk(&said, &scene).context(said.clone())?;
            ensure!(
                walked.kills > 20 && walked.remains > 0,
                "{said}: {walked:?}"
            );
        }
        Ok(())
    })
}

fn bridge(more: &Value) -> Value {
    let mut ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}], [{"subnet": "fd00:7::/64"}]]});
    for (key, value) in more.as_object().into_iter().flatten() {
        ipam[key] = value.clone();
    }
    json!({"type": "bridge", "bridge": "br7", "isGateway": true, "ipMasq": true, "ipam": ipam,
        "runtimeConfig": {"ips": ["10.7.0.9", "fd00:7::9"]}})
}

#[test]
fn a_bridge_that_is_killed_anywhere_leaves_nothing() -> Result<()> {
    let walks = [
        ("ADD", Del),
        ("ADD", Gc),
        ("DEL", Gc),
        ("GC", Del),
        ("CHECK", Del),
    ];
    killed("bridge", "", &bridge(&json!({})), &walks)
}

#[test]
fn a_bridge_with_files_that_is_killed_anywhere_leaves_nothing() -> Result<()> {
    let files = bridge(&json!({"dataDir": FILES}));
    let walks = [
        ("ADD", Del),
        ("ADD", Gc),
        ("DEL", Del),
        ("DEL", Gc),
        ("GC", Del),
        ("CHECK", Del),
    ];
    killed("bridge", "with files", &files, &walks)
}

fn theirs() -> Value {
    bridge(&json!({"type": "theirs", "dataDir": FILES}))
}

#[test]
fn a_bridge_or_the_ipam_plugin_that_it_asks_killed_anywhere_leaves_nothing() -> Result<()> {
    let walks = [("ADD", Del), ("ADD", Gc)];
    killed("bridge", "with another IPAM", &theirs(), &walks)
}

#[test]
fn what_gives_back_to_another_ipam_plugin_killed_anywhere_leaves_nothing() -> Result<()> {
    let walks = [("DEL", Gc), ("GC", Del), ("CHECK", Del)];
    killed("bridge", "with another IPAM", &theirs(), &walks)
}

fn host_local(more: &Value) -> Value {
    let mut conf = bridge(more);
    conf["type"] = "macvlan".into();
    conf["runtimeConfig"] = json!({});
    conf
}

const ALL: [(&str, Next); 7] = [
    ("ADD", Del),
    ("ADD", Gc),
    ("DEL", Del),
    ("DEL", Gc),
    ("GC", Del),
    ("GC", Gc),
    ("CHECK", Del),
];

#[test]
fn a_host_local_that_is_killed_anywhere_leaves_nothing() -> Result<()> {
    killed("host-local", "", &host_local(&json!({})), &ALL)
}

#[test]
fn a_host_local_with_files_that_is_killed_anywhere_leaves_nothing() -> Result<()> {
    let files = host_local(&json!({"dataDir": FILES}));
    killed("host-local", "with files", &files, &ALL)
}

#[test]
fn a_portmap_that_is_killed_anywhere_leaves_nothing() -> Result<()> {
    let conf = json!({"type": "portmap", "runtimeConfig": {"portMappings": [
        {"hostPort": 8080, "containerPort": 80}, {"hostPort": 53, "containerPort": 53, "protocol": "udp"}]}});
    killed("portmap", "", &conf, &ALL)
}
