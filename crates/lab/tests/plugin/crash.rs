//! The plugin is killed at each of its system calls, one after another, and whatever a runtime does next finds no trace.
//!
//! What follows is the DEL of the same attachment, or the same ADD again, or a fresh ADD of another one and a GC that lists only
//! that. Right after the kill already a lease or a link of ours implies a record. A CHECK that is killed has changed nothing.
//! How it is killed stands in `walk`; the names of the reference plugins, in `names`.

mod names;
pub(crate) mod walk;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Node, Pod};
use serde_json::{Value, json};

use super::{Kind, Rig, said};
use walk::Scene;

/// What the runtime does after the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Del,
    AddAgain,
    AddAndGc,
}

struct Own<'a> {
    rig: &'a Rig,
    verb: &'static str,
    next: Next,
    pod: Pod,
    other: Pod,
}

impl Scene for Own<'_> {
    fn node(&self) -> &Node {
        &self.rig.node
    }

    fn program(&self) -> Result<PathBuf> {
        self.rig.kind.path()
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = Attachment::of(&self.pod).environment();
        environment.push(("CNI_COMMAND", self.verb.to_owned()));
        environment
    }

    fn input(&self) -> String {
        self.rig.conf.to_string()
    }

    /// For an ADD a node that has seen nothing of us, or one that serves already.
    fn prepare(&self) -> Result<()> {
        if self.verb != "ADD" {
            let added = self.rig.with("prevResult", Value::Null).add(&self.pod)?;
            let told = &self.rig.conf["prevResult"];
            ensure!(told.is_null() || *told == added, "another result: {added}");
            return Ok(());
        }
        if self.next == Next::Del {
            forget(self.rig)?;
        }
        Ok(())
    }

    /// Nothing of an attachment is without its record, at no instant.
    fn remains(&self) -> Result<Vec<String>> {
        let left = self.rig.leftovers()?;
        let recorded = left.iter().any(|what| what.contains("/attachments/"));
        ensure!(left.is_empty() || recorded, "without a record: {left:?}");
        Ok(left)
    }

    fn follow(&self) -> Result<()> {
        match self.next {
            Next::Del => self.rig.del(&self.pod),
            Next::AddAgain => {
                let result = self.rig.add(&self.pod)?;
                let attachment = Attachment::of(&self.pod);
                self.rig.check(&attachment, &result)?.ok()?;
                self.rig.del(&self.pod)
            }
            Next::AddAndGc => {
                self.rig.add(&self.other)?;
                let only = Attachment::of(&self.other);
                let only = json!([{"containerID": only.container_id, "ifname": only.interface}]);
                let conf = self.rig.with("cni.dev/valid-attachments", only).conf;
                self.rig
                    .plugin
                    .call_network(&self.rig.node, "GC", &conf)?
                    .ok()?;
                let records = self.rig.records()?;
                ensure!(records == ["one-other@eth0"], "after GC: {records:?}");
                self.rig.del(&self.other)
            }
        }
    }

    fn left(&self) -> Result<Vec<String>> {
        let mut left = self.rig.leftovers()?;
        left.extend(self.queues()?);
        Ok(left)
    }

    fn clean(&self) -> Result<()> {
        forget(self.rig)
    }
}

impl Own<'_> {
    /// Limits of bandwidth that are left on the node and in the pod.
    fn queues(&self) -> Result<Vec<String>> {
        if self.rig.conf["runtimeConfig"]["bandwidth"].is_null() {
            return Ok(Vec::new());
        }
        let mut left = String::new();
        for place in [&*self.rig.node, &*self.pod] {
            left.push_str(&said(place, "tc qdisc show")?);
        }
        let lines = left.lines().filter(|line| line.contains("tbf"));
        Ok(lines.map(str::to_owned).collect())
    }
}

/// Takes everything of ours off the node: the next ADD is its first.
fn forget(rig: &Rig) -> Result<()> {
    rig.node.attempt(|| {
        match fs::remove_dir_all("/run/podwire") {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => bail!(error),
            _ => {}
        }
        for link in rig.node_links()? {
            lab::wire::delete_link(&link)?;
        }
        fs::write("/proc/sys/net/ipv4/ip_forward", "0").context("ip_forward")
    })?;
    said(&rig.node, "nft flush ruleset")?;
    said(&rig.node, "iptables-nft -P FORWARD DROP").map(drop)
}

impl Rig {
    /// Links of ours in the calling thread's namespace.
    fn node_links(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string("/proc/thread-self/net/dev")?;
        let names = text
            .lines()
            .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
        Ok(names
            .filter(|name| name.starts_with("pw") || name.starts_with("cni"))
            .collect())
    }
}

fn killed(kind: Kind, verb: &'static str, next: Next) -> Result<()> {
    killed_asking(kind, verb, next, Value::Null)
}

/// The same with limits of bandwidth, and with addresses that are the same each time.
fn killed_limited(kind: Kind, verb: &'static str, next: Next) -> Result<()> {
    killed_asking(kind, verb, next, limits(kind))
}

fn killed_asking(kind: Kind, verb: &'static str, next: Next, asked: Value) -> Result<()> {
    Lab::scenario(|lab| {
        let mut rig = Rig::new(lab, kind)?
            .with("cniVersion", "1.1.0")
            .with("runtimeConfig", asked);
        let (pod, other) = (rig.node.pod("a")?, rig.node.pod("other")?);
        if verb == "CHECK" {
            // The same address each time, so that one result is right for all.
            let result = rig.add(&pod)?;
            rig.del(&pod)?;
            rig.conf["prevResult"] = result;
        }
        let scene = Own {
            rig: &rig,
            verb,
            next,
            pod,
            other,
        };
        let walked = walk::walk(&format!("{kind:?} {verb}, then {next:?}"), &scene)?;
        let (kills, remains) = (walked.kills, walked.remains);
        ensure!(
            kills > 20 && remains > 5 && (verb != "CHECK" || remains == kills),
            "only {kills} kills, {remains} remains"
        );
        Ok(())
    })
}

#[test]
fn an_add_to_a_bridge_that_is_killed_anywhere_leaves_nothing_after_a_del() -> Result<()> {
    killed(Kind::Bridge, "ADD", Next::Del)
}

#[test]
fn a_routed_add_that_is_killed_anywhere_leaves_nothing_after_a_del() -> Result<()> {
    killed(Kind::Routed, "ADD", Next::Del)
}

#[test]
fn an_add_to_a_bridge_that_is_killed_anywhere_is_collected_by_gc() -> Result<()> {
    killed(Kind::Bridge, "ADD", Next::AddAndGc)
}

#[test]
fn a_routed_add_that_is_killed_anywhere_is_collected_by_gc() -> Result<()> {
    killed(Kind::Routed, "ADD", Next::AddAndGc)
}

#[test]
fn an_add_to_a_bridge_that_is_killed_anywhere_succeeds_the_next_time() -> Result<()> {
    killed(Kind::Bridge, "ADD", Next::AddAgain)
}

#[test]
fn a_routed_add_that_is_killed_anywhere_succeeds_the_next_time() -> Result<()> {
    killed(Kind::Routed, "ADD", Next::AddAgain)
}

#[test]
fn a_gc_that_is_killed_anywhere_leaves_the_rest_to_a_del() -> Result<()> {
    killed(Kind::Bridge, "GC", Next::Del)?;
    killed(Kind::Routed, "GC", Next::Del)
}

#[test]
fn a_del_from_a_bridge_that_is_killed_anywhere_is_finished_by_the_next() -> Result<()> {
    killed(Kind::Bridge, "DEL", Next::Del)
}

#[test]
fn a_routed_del_that_is_killed_anywhere_is_finished_by_the_next() -> Result<()> {
    killed(Kind::Routed, "DEL", Next::Del)
}

#[test]
fn a_del_from_a_bridge_that_is_killed_anywhere_is_collected_by_gc() -> Result<()> {
    killed(Kind::Bridge, "DEL", Next::AddAndGc)
}

#[test]
fn a_routed_del_that_is_killed_anywhere_is_collected_by_gc() -> Result<()> {
    killed(Kind::Routed, "DEL", Next::AddAndGc)
}

fn limits(kind: Kind) -> Value {
    let limit = json!({"ingressRate": 10_000_000, "egressRate": 10_000_000});
    let ips: &[&str] = match kind {
        Kind::Bridge => &["10.244.0.66"],
        Kind::Routed => &["10.244.0.66", "fd00:10:244::66"],
    };
    json!({"bandwidth": limit, "ips": ips})
}

#[test]
fn a_limited_add_to_a_bridge_that_is_killed_anywhere_leaves_nothing_after_a_del() -> Result<()> {
    killed_limited(Kind::Bridge, "ADD", Next::Del)
}

#[test]
fn a_limited_routed_add_that_is_killed_anywhere_succeeds_the_next_time() -> Result<()> {
    killed_limited(Kind::Routed, "ADD", Next::AddAgain)
}

#[test]
fn a_limited_routed_del_that_is_killed_anywhere_is_finished_by_the_next() -> Result<()> {
    killed_limited(Kind::Routed, "DEL", Next::Del)
}

#[test]
fn a_check_on_a_bridge_that_is_killed_anywhere_has_changed_nothing() -> Result<()> {
    killed_limited(Kind::Bridge, "CHECK", Next::AddAgain)
}

#[test]
fn a_routed_check_that_is_killed_anywhere_has_changed_nothing() -> Result<()> {
    killed_limited(Kind::Routed, "CHECK", Next::AddAgain)
}
