//! Daemons of a machine: started, started again a second after they ended, and reaped with all other orphans.
//!
//! The rest between two lives is a child as well, a `sleep`, so that one wait sees everything that happens. What a daemon
//! says goes to a log of its own; that it ended, to the log of process 1.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

use crate::Place;
use crate::machine::Machine;

/// In seconds; kubelet's own service has the like.
const REST: &str = "1";

/// A program that is to run always.
struct Daemon {
    name: String,
    command: Command,
}

/// All daemons of this machine, by the process that runs now for each.
pub(super) struct Daemons<'a> {
    place: &'a Place,
    machine: &'a Machine,
    running: Vec<(Pid, Daemon)>,
    resting: Vec<(Pid, Daemon)>,
}

impl<'a> Daemons<'a> {
    pub(super) fn new(place: &'a Place, machine: &'a Machine) -> Self {
        Self {
            place,
            machine,
            running: Vec::new(),
            resting: Vec::new(),
        }
    }

    /// Starts one of the cluster's own programs, with one argument a word.
    pub(super) fn start(&mut self, name: &str, arguments: &[String]) -> Result<()> {
        let log = self.machine.log(name);
        let open = |log: &Path| File::options().append(true).create(true).open(log);
        let out = open(&log).with_context(|| format!("open {}", log.display()))?;
        let err = out.try_clone().context("share a log")?;
        let mut command = Command::new(self.place.program(name)?);
        command
            .args(arguments)
            .env("PATH", self.place.search_path())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        self.begin(Daemon {
            name: name.to_owned(),
            command,
        })
    }

    /// Never returns, unless process 1 itself cannot go on.
    pub(super) fn keep(mut self) -> Result<Infallible> {
        loop {
            let Some((pid, status)) = wait(WaitOptions::empty()).context("wait for a child")?
            else {
                continue;
            };
            if let Some(daemon) = take(&mut self.running, pid) {
                say(format!("{} ended{}", daemon.name, how(status)));
                let rest = Command::new("sleep").arg(REST).spawn().context("rest")?;
                self.resting.push((Pid::from_child(&rest), daemon));
            } else if let Some(daemon) = take(&mut self.resting, pid) {
                self.begin(daemon)?;
            }
        }
    }

    fn begin(&mut self, mut daemon: Daemon) -> Result<()> {
        let child = daemon.command.spawn();
        let child = child.with_context(|| format!("start {}", daemon.name))?;
        self.running.push((Pid::from_child(&child), daemon));
        Ok(())
    }
}

fn take(daemons: &mut Vec<(Pid, Daemon)>, pid: Pid) -> Option<Daemon> {
    let found = daemons.iter().position(|(number, _)| *number == pid)?;
    Some(daemons.swap_remove(found).1)
}

fn how(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!(" with exit code {code}"),
        (None, Some(signal)) => format!(" by signal {signal}"),
        (None, None) => String::new(),
    }
}

/// A line in the log of process 1.
fn say(line: impl std::fmt::Display) {
    // A full disk must not end a machine.
    drop(writeln!(std::io::stderr(), "{line}"));
}
