//! Netlink's calls fail, one after another, and each call of the plugin meets each failure once.
//!
//! `strace` makes the N-th call of a name fail, for every N. What passes by itself (EINTR, EAGAIN) must not be noticed; after
//! what does not (ENOBUFS, half an answer, no socket), an ADD has failed in words and left nothing, and the DEL of a machine
//! that is well finishes what another verb could not. A failure that stays is told as soon as one that does not.

use std::fs;

use anyhow::{Context, Result, ensure};
use lab::plugin::Answer;
use lab::{Lab, programs};
use serde_json::Value;

use super::{Caller, SOON, Type, is_civil};

/// What is done to a call, and whether that is nothing to tell of.
struct Fault {
    call: &'static str,
    /// As `strace` has it.
    how: &'static str,
    passes: bool,
}

const fn fault(call: &'static str, how: &'static str, passes: bool) -> Fault {
    Fault { call, how, passes }
}

const FAULTS: [Fault; 7] = [
    fault("sendto", "error=EINTR", true),
    fault("sendto", "error=ENOBUFS", false),
    fault("recvfrom", "error=EAGAIN", true),
    fault("recvfrom", "error=ENOBUFS", false),
    // The first message says that it is 18 bytes long: too short for an error's number.
    fault("recvfrom", "poke_exit=@arg2=12000000", false),
    fault("ioctl", "error=EINTR", false),
    fault("socket", "error=EMFILE", false),
];

impl Caller {
    /// The call under `strace` with these options.
    pub(super) fn traced(&self, verb: &str, told: &Value, options: &[&str]) -> Result<Answer> {
        let mut command = self
            .node
            .command("strace")
            .args(["-qq", "-e", "signal=none"])
            .args(options)
            .arg("--")
            .arg(programs()?.plugins.join(self.kind.name()))
            .env("CNI_COMMAND", verb);
        for (name, value) in self.attachment().environment() {
            command = command.env(name, value);
        }
        let output = command
            .stdin(self.conf_for(verb, told).to_string())
            .output_within(2 * SOON)?;
        Answer::of(output)
    }

    /// How often one run of the verb makes a call.
    fn number_of(&self, verb: &str, told: &Value, call: &str) -> Result<usize> {
        let only = format!("--trace={call}");
        self.traced(verb, told, &["-o", "/run/trace", &only])?
            .ok()?;
        let trace = self
            .node
            .attempt(|| Ok(fs::read_to_string("/run/trace")?))?;
        Ok(trace.matches(&format!("{call}(")).count())
    }

    /// The state that a verb finds, and what the runtime knows of it.
    fn ground(&self, verb: &str) -> Result<Value> {
        match verb {
            "ADD" => Ok(Value::Null),
            _ => self.add(),
        }
    }

    /// One call with its N-th, or from the N-th on, failing; then what must be.
    fn meet(&self, verb: &str, fault: &Fault, when: &str) -> Result<()> {
        let told = self.ground(verb)?;
        let Fault { call, how, passes } = fault;
        let (only, inject) = (
            format!("--trace={call}"),
            format!("--inject={call}:{how}:when={when}"),
        );
        let answer = self.traced(verb, &told, &["-o", "/dev/null", &only, &inject])?;
        is_civil(&answer)?;
        let for_ever = when.ends_with('+');
        ensure!(
            !passes || for_ever || answer.code == Some(0),
            "it was noticed: {answer:?}"
        );
        if verb == "ADD" && answer.code != Some(0) && !for_ever {
            let left = self.left()?;
            ensure!(left.is_empty(), "{answer:?} left {left:?}");
        }
        self.end()
    }

    fn meet_all(&self, verb: &str) -> Result<usize> {
        let mut met = 0;
        for fault in &FAULTS {
            let told = self.ground(verb)?;
            let number = self.number_of(verb, &told, fault.call)?;
            self.end()?;
            // The first is met for ever, too: a node whose netlink does not work at all.
            let places = (1..=number).map(|n| n.to_string());
            for when in places.chain((number > 0).then(|| "1+".to_owned())) {
                self.meet(verb, fault, &when).with_context(|| {
                    format!("{} of {} {}:{}", verb, fault.call, fault.how, when)
                })?;
                met += 1;
            }
        }
        Ok(met)
    }
}

/// The types share what they do, so not every one of them goes through every verb.
fn meet_all(kind: Type, verbs: &[&str]) -> Result<()> {
    Lab::scenario(|lab| {
        let caller = Caller::new(lab, kind)?;
        // As on a node that serves already: the first call of all does more, and is another test's.
        caller.add()?;
        caller.end()?;
        for verb in verbs {
            let met = caller.meet_all(verb)?;
            println!("{kind:?} {verb}: {met} failures of netlink met");
        }
        Ok(())
    })
}

#[test]
fn a_routed_pod_is_served_or_refused_whole_whichever_call_of_netlink_fails() -> Result<()> {
    meet_all(Type::Podwire, &["ADD", "DEL"])
}

#[test]
fn a_pod_on_a_bridge_is_served_or_refused_whole_whichever_call_of_netlink_fails() -> Result<()> {
    meet_all(Type::BashCni, &["ADD"])
}

#[test]
fn a_check_answers_whichever_call_of_netlink_fails() -> Result<()> {
    meet_all(Type::Bridge, &["CHECK"])
}

#[test]
fn host_ports_are_published_whole_or_not_whichever_call_of_netlink_fails() -> Result<()> {
    meet_all(Type::Portmap, &["ADD", "DEL"])
}

#[test]
fn loopback_and_host_local_are_well_whichever_call_of_netlink_fails() -> Result<()> {
    meet_all(Type::Loopback, &["ADD", "CHECK"])?;
    meet_all(Type::HostLocal, &["DEL", "GC"])
}
