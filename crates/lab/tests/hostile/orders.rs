//! Two calls about one attachment, in every order in which one is stopped once: the built plugin's own steps, not a model's.
//!
//! `strace` stops the first call behind its N-th system call of a name, for every name and N. Meanwhile the second call runs
//! to its end, or until it waits for the first one's lock, and an ADD of another attachment takes an address. Then the first
//! one goes on, or is killed. Every order with more than one stop is tried by `crates/plan/tests/protocol.rs`, on a model.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Output, Process, programs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Caller, SOON, Type, left_on};
use crate::plugin::addresses;

/// A look every now and then at what tells no event.
const MOMENT: Duration = Duration::from_millis(2);
/// No call of a name is made so often by one run.
const MOST: usize = 200;
/// What the runtime calls of one attachment. A GC lists only the other one.
const VERBS: [&str; 3] = ["ADD", "DEL", "GC"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoesOn,
    IsKilled,
}

/// The attachment in question, and another one that wants an address meanwhile.
struct Orders {
    caller: Caller,
    other: Attachment,
}

impl Orders {
    fn started(&self, verb: &str, attachment: &Attachment, strace: &[&str]) -> Result<Process> {
        let program = programs()?.plugins.join(self.caller.kind.name());
        let mut command = match strace {
            [] => self.caller.node.command(program),
            options => {
                let strace = self.caller.node.command("strace").args(options);
                strace.arg("--").arg(program)
            }
        };
        command = command.env("CNI_COMMAND", verb);
        for (name, value) in attachment.environment() {
            command = command.env(name, value);
        }
        let mut conf = self.caller.conf_for(verb, &Value::Null);
        if verb == "GC" {
            let other = &self.other;
            conf["cni.dev/valid-attachments"] =
                json!([{"containerID": other.container_id, "ifname": other.interface}]);
        }
        command.stdin(conf.to_string()).spawn()
    }

    /// Both calls, the first one stopped behind its N-th call of a name; none if it makes fewer.
    fn both(&self, [first, second]: [&str; 2], stop: (&str, usize), then: Then) -> Result<bool> {
        if first != "ADD" {
            self.caller.add()?;
        }
        let (name, number) = stop;
        let (own, other) = (self.caller.attachment(), &self.other);
        let only = format!("--trace={name}");
        let inject = format!("--inject={name}:signal=SIGSTOP:when={number}");
        let a = self.started(first, &own, &[&only, &inject])?;
        if a.wait_for_line("stopped by SIGSTOP", SOON).is_err() {
            ended(&a.finish_within(SOON)?, first)?;
            self.caller.end()?;
            return Ok(false);
        }
        let b = self.started(second, &own, &[])?;
        until_it_ends_or_waits(&b)?;
        let c = self.started("ADD", other, &[])?;
        let c = told(&c.finish_within(SOON)?, "the other ADD")?;
        let tracee = child_of(&a)?;
        let signal = match then {
            Then::GoesOn => Signal::CONT,
            Then::IsKilled => Signal::KILL,
        };
        kill_process(tracee, signal)?;
        let (a, b) = (a.finish_within(SOON)?, b.finish_within(SOON)?);
        let b_told = told(&b, second)?;
        let a_told = match then {
            Then::GoesOn => told(&a, first)?,
            Then::IsKilled => Value::Null,
        };
        self.is_whole_or_gone(&[a_told, b_told], &c)?;
        let gone = self.started("DEL", other, &[])?.finish_within(SOON)?;
        ended(&gone, "DEL of the other")?;
        self.caller.end()?;
        ensure!(
            left_on(&self.caller.node)?.is_empty(),
            "{:?}",
            left_on(&self.caller.node)?
        );
        Ok(true)
    }

    /// What is recorded is what an ADD has answered, unless it was killed; no address is two attachments'.
    fn is_whole_or_gone(&self, told: &[Value; 2], other: &Value) -> Result<()> {
        let names = |what: &str| {
            let folder = format!("/run/podwire/mine/{what}");
            self.caller.node.attempt(|| {
                let entries = fs::read_dir(folder)?;
                let name = |entry: std::io::Result<fs::DirEntry>| Ok(entry?.file_name());
                let names = entries.map(name).collect::<Result<Vec<_>>>()?;
                Ok(names
                    .iter()
                    .map(|it| it.to_string_lossy().into_owned())
                    .collect::<Vec<_>>())
            })
        };
        let (records, leases) = (names("attachments")?, names("leases")?);
        let holds = |result: &Value| {
            let mut all = addresses(result).into_iter();
            all.all(|ip| leases.contains(&ip))
        };
        ensure!(
            holds(other),
            "the other's {other} is not leased: {leases:?}"
        );
        let answered: Vec<&Value> = told.iter().filter(|it| it["ips"].is_array()).collect();
        for one in &answered {
            let shared = addresses(one)
                .iter()
                .any(|ip| addresses(other).contains(ip));
            ensure!(!shared, "{one} and {other} share an address");
        }
        let recorded = records.iter().any(|name| name.starts_with("one-a@"));
        let whole = answered.iter().any(|one| holds(one));
        let killed = told.contains(&Value::Null);
        ensure!(
            recorded == whole || killed,
            "{records:?}, {leases:?}: {told:?}"
        );
        ensure!(
            recorded || leases.len() == addresses(other).len(),
            "{records:?}: {leases:?}"
        );
        Ok(())
    }
}

/// What a call answered that has succeeded: an empty object where that is nothing.
fn told(output: &Output, what: &str) -> Result<Value> {
    ended(output, what)?;
    match output.stdout.trim() {
        "" => Ok(json!({})),
        text => serde_json::from_str(text).with_context(|| text.to_owned()),
    }
}

fn ended(output: &Output, what: &str) -> Result<()> {
    ensure!(output.status.success(), "{what}: {output:?}");
    Ok(())
}

fn until_it_ends_or_waits(process: &Process) -> Result<()> {
    let deadline = Instant::now() + SOON;
    let pid = process.pid().to_string();
    while process.wait_within(MOMENT).is_err() {
        let locks = fs::read_to_string("/proc/locks")?;
        let mut waiting = locks.lines().filter(|line| line.contains("->"));
        if waiting.any(|line| line.split_whitespace().any(|word| word == pid)) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "it neither ends nor waits for a lock"
        );
    }
    Ok(())
}

fn child_of(strace: &Process) -> Result<Pid> {
    let pid = strace.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let child = children
        .split_whitespace()
        .next()
        .context("a child of strace")?;
    Pid::from_raw(child.parse()?).context("a process")
}

/// All pairs of verbs, each stop, and what becomes of the first call then.
fn all_orders(kind: Type, names: &[&str], fates: &[Then]) -> Result<()> {
    Lab::scenario(|lab| {
        let mut caller = Caller::new(lab, kind)?;
        // Ports can be one attachment's only.
        caller.conf["runtimeConfig"] = json!({});
        caller.add()?;
        caller.end()?;
        let other = Attachment::of(&caller.node.pod("other")?);
        let orders_of = Orders { caller, other };
        let mut orders = 0;
        for first in VERBS {
            for second in VERBS {
                for &then in fates {
                    for name in names {
                        for number in 1..=MOST {
                            let stop = (*name, number);
                            let met = orders_of.both([first, second], stop, then);
                            let at = || format!("{second} in a {first} behind {name} {number}");
                            if !met.with_context(at)? {
                                break;
                            }
                            orders += 1;
                        }
                    }
                }
            }
        }
        println!("{kind:?}: {orders} orders");
        ensure!(orders > 50, "only {orders}");
        Ok(())
    })
}

#[test]
fn addresses_are_given_and_taken_back_whole_in_every_order_of_two_calls() -> Result<()> {
    let names = ["openat", "linkat", "flock", "unlinkat", "pwrite64"];
    all_orders(Type::HostLocal, &names, &[Then::GoesOn, Then::IsKilled])
}

#[test]
fn a_pod_is_whole_or_gone_in_every_order_of_two_calls() -> Result<()> {
    all_orders(
        Type::Podwire,
        &["linkat", "flock", "unlinkat", "sendto"],
        &[Then::GoesOn],
    )
}
