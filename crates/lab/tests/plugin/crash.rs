//! The plugin is killed at each of its system calls, one after another, and whatever a runtime does next finds no trace.
//!
//! `strace` kills it when it enters its N-th call of a name, for every name and N, until it survives. What follows is
//! the DEL of the same attachment, or the same ADD again, or a fresh ADD of another one and a GC that lists only that.
//! Right after the kill already a lease or a link of ours implies a record. A CHECK that is killed has changed nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result, bail, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Output, Pod};
use serde_json::{Value, json};

use super::{Kind, Rig, SOON, said};

const SIGKILL: i32 = 9;
/// No call is repeated so often by one run.
const MOST: usize = 2000;

/// What the runtime does after the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Del,
    AddAgain,
    AddAndGc,
}

struct Walk<'a> {
    rig: &'a Rig,
    verb: &'a str,
    next: Next,
    pod: Pod,
    other: Pod,
    kills: usize,
    /// Kills that left something for the next call.
    remains: usize,
    leaks: Vec<String>,
}

impl Walk<'_> {
    /// Runs the verb under `strace` with these options.
    fn traced(&self, options: &[&str]) -> Result<Output> {
        let mut command = self
            .rig
            .node
            .command("strace")
            .args(["-f", "-qq", "-e", "signal=none"])
            .args(options)
            .arg("--")
            .arg(self.rig.kind.path()?)
            .env("CNI_COMMAND", self.verb);
        for (name, value) in Attachment::of(&self.pod).environment() {
            command = command.env(name, value);
        }
        command.stdin(self.rig.conf.to_string()).output_within(SOON)
    }

    /// The state that the verb begins in: for an ADD a node that has seen nothing of us, or one that serves already.
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
    fn orphans(&mut self) -> Result<()> {
        let left = self.rig.leftovers()?;
        self.remains += usize::from(!left.is_empty());
        let recorded = left.iter().any(|what| what.contains("/attachments/"));
        ensure!(left.is_empty() || recorded, "without a record: {left:?}");
        Ok(())
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

    /// The names of the calls that one run makes.
    fn names(&self) -> Result<BTreeSet<String>> {
        self.prepare()?;
        self.traced(&["-o", "/run/trace"])?.ok()?;
        self.follow()?;
        let trace = self
            .rig
            .node
            .attempt(|| Ok(fs::read_to_string("/run/trace")?))?;
        let names = trace.lines().filter_map(|line| {
            let (name, _) = line.split_whitespace().nth(1)?.split_once('(')?;
            Some(name.to_owned())
        });
        // Nothing of it can be killed before it has begun.
        Ok(names.filter(|name| name != "execve").collect())
    }

    fn walk(&mut self) -> Result<()> {
        let names = self.names()?;
        ensure!(
            names.contains("sendto") || names.contains("sendmsg"),
            "{names:?}"
        );
        for name in names {
            for number in 1..=MOST {
                self.prepare()?;
                let traced = format!("--trace={name}");
                let inject = format!("--inject={name}:signal=SIGKILL:when={number}");
                // Not with --seccomp-bpf, where a stop at a call's entry delivers no signal.
                let output = self.traced(&["-o", "/dev/null", &traced, &inject])?;
                let killed = output.status.signal() == Some(SIGKILL);
                if killed {
                    self.kills += 1;
                    self.orphans().with_context(|| format!("after {inject}"))?;
                } else {
                    output.ok().with_context(|| inject.clone())?;
                }
                self.follow().with_context(|| format!("after {inject}"))?;
                let mut left = self.rig.leftovers()?;
                left.extend(self.queues()?);
                if !left.is_empty() {
                    self.leaks.push(format!("{inject}: {left:?}"));
                    forget(self.rig)?;
                }
                if !killed {
                    break;
                }
                ensure!(number < MOST, "{name} does not end");
            }
        }
        Ok(())
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

fn walk(kind: Kind, verb: &str, next: Next) -> Result<()> {
    walk_asking(kind, verb, next, Value::Null)
}

/// The same with limits of bandwidth, and with addresses that are the same each time.
fn walk_limited(kind: Kind, verb: &str, next: Next) -> Result<()> {
    walk_asking(kind, verb, next, limits(kind))
}

fn walk_asking(kind: Kind, verb: &str, next: Next, asked: Value) -> Result<()> {
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
        let mut walk = Walk {
            rig: &rig,
            verb,
            next,
            pod,
            other,
            kills: 0,
            remains: 0,
            leaks: Vec::new(),
        };
        walk.walk()?;
        let Walk {
            kills,
            remains,
            ref leaks,
            ..
        } = walk;
        println!(
            "{kind:?} {verb}, then {next:?}: kills {kills} (after {remains} something was there), leaks {}",
            leaks.len()
        );
        ensure!(leaks.is_empty(), "{}", leaks.join("\n"));
        ensure!(
            kills > 20 && remains > 5 && (verb != "CHECK" || remains == kills),
            "only {kills} kills, {remains} remains"
        );
        Ok(())
    })
}

#[test]
fn an_add_to_a_bridge_that_is_killed_anywhere_leaves_nothing_after_a_del() -> Result<()> {
    walk(Kind::Bridge, "ADD", Next::Del)
}

#[test]
fn a_routed_add_that_is_killed_anywhere_leaves_nothing_after_a_del() -> Result<()> {
    walk(Kind::Routed, "ADD", Next::Del)
}

#[test]
fn an_add_to_a_bridge_that_is_killed_anywhere_is_collected_by_gc() -> Result<()> {
    walk(Kind::Bridge, "ADD", Next::AddAndGc)
}

#[test]
fn a_routed_add_that_is_killed_anywhere_is_collected_by_gc() -> Result<()> {
    walk(Kind::Routed, "ADD", Next::AddAndGc)
}

#[test]
fn an_add_to_a_bridge_that_is_killed_anywhere_succeeds_the_next_time() -> Result<()> {
    walk(Kind::Bridge, "ADD", Next::AddAgain)
}

#[test]
fn a_routed_add_that_is_killed_anywhere_succeeds_the_next_time() -> Result<()> {
    walk(Kind::Routed, "ADD", Next::AddAgain)
}

#[test]
fn a_gc_that_is_killed_anywhere_leaves_the_rest_to_a_del() -> Result<()> {
    walk(Kind::Bridge, "GC", Next::Del)?;
    walk(Kind::Routed, "GC", Next::Del)
}

#[test]
fn a_del_from_a_bridge_that_is_killed_anywhere_is_finished_by_the_next() -> Result<()> {
    walk(Kind::Bridge, "DEL", Next::Del)
}

#[test]
fn a_routed_del_that_is_killed_anywhere_is_finished_by_the_next() -> Result<()> {
    walk(Kind::Routed, "DEL", Next::Del)
}

#[test]
fn a_del_from_a_bridge_that_is_killed_anywhere_is_collected_by_gc() -> Result<()> {
    walk(Kind::Bridge, "DEL", Next::AddAndGc)
}

#[test]
fn a_routed_del_that_is_killed_anywhere_is_collected_by_gc() -> Result<()> {
    walk(Kind::Routed, "DEL", Next::AddAndGc)
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
    walk_limited(Kind::Bridge, "ADD", Next::Del)
}

#[test]
fn a_limited_routed_add_that_is_killed_anywhere_succeeds_the_next_time() -> Result<()> {
    walk_limited(Kind::Routed, "ADD", Next::AddAgain)
}

#[test]
fn a_limited_routed_del_that_is_killed_anywhere_is_finished_by_the_next() -> Result<()> {
    walk_limited(Kind::Routed, "DEL", Next::Del)
}

#[test]
fn a_check_on_a_bridge_that_is_killed_anywhere_has_changed_nothing() -> Result<()> {
    walk_limited(Kind::Bridge, "CHECK", Next::AddAgain)
}

#[test]
fn a_routed_check_that_is_killed_anywhere_has_changed_nothing() -> Result<()> {
    walk_limited(Kind::Routed, "CHECK", Next::AddAgain)
}
