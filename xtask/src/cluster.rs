//! `cargo xtask cluster`: a real Kubernetes cluster on this machine, and what is tested, shown and measured on it.
//!
//! Builds what is to run on the cluster, and the program `cluster`, then becomes it; what a verb does is told there. Only
//! `test` is here, because it needs cargo: it brings what is missing, runs the tests one after another, since they share the
//! machine, and takes the cluster down at the end, however they went. Ctrl-C ends it before that, and the cluster stays up.

mod packages;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::install::{self, Program};
use crate::shell::{become_command, cargo, run as run_command, say};
use crate::test::run_and_count;
use crate::{dist, workspace};

/// Verbs that bring Podwire to a cluster, unless they are only asked for words.
const BRING_PODWIRE: [&str; 6] = ["up", "demo", "bench", "conformance", "scale", TEST];
const TEST: &str = "test";
/// Arguments with which a verb only tells something.
const ONLY_TELL: [&str; 3] = ["--left-out", "--help", "-h"];
/// How a test that failed is looked at.
const AGAIN: &str = "cargo xtask cluster test --keep NAME";
/// Leaves the cluster up behind the tests.
const KEEP: &str = "--keep";
/// Runs the tests that are not for CI as well.
const ALL: &str = "--all";
/// The module of those, as the harness writes it before their names.
const WHOLE: &str = "whole::";

/// What makes the machines, and what the programs on them call.
const NEEDED: [Program; 12] = [
    Program {
        name: "conntrack",
        package: "conntrack",
    },
    Program {
        name: "curl",
        package: "curl",
    },
    Program {
        name: "ip",
        package: "iproute2",
    },
    Program {
        name: "ipset",
        package: "ipset",
    },
    Program {
        name: "iptables",
        package: "iptables",
    },
    Program {
        name: "kill",
        package: "procps",
    },
    Program {
        name: "mount",
        package: "mount",
    },
    Program {
        name: "nft",
        package: "nftables",
    },
    Program {
        name: "nsenter",
        package: "util-linux",
    },
    Program {
        name: "openssl",
        package: "openssl",
    },
    Program {
        name: "ss",
        package: "iproute2",
    },
    Program {
        name: "unshare",
        package: "util-linux",
    },
];

/// Runs a verb of the cluster; all other arguments are its own.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let verb = arguments.first().map(String::as_str);
    let acts = !only_tells(arguments);
    let is_test = verb == Some(TEST) && acts;
    if (verb == Some("build") && acts) || is_test {
        packages::install()?;
    }
    if verb.is_some_and(|verb| BRING_PODWIRE.contains(&verb)) && acts {
        install::programs(&NEEDED)?;
        dist::programs()?;
    }
    let program = program()?;
    if is_test {
        return test(&program, &arguments[1..]);
    }
    become_command(Command::new(program).args(arguments))
}

fn only_tells(arguments: &[String]) -> bool {
    let mut words = arguments.iter().map(String::as_str);
    words.any(|word| ONLY_TELL.contains(&word))
}

fn program() -> Result<PathBuf> {
    run_command(&mut cargo(["build", "-p", "cluster", "--bin", "cluster"]))?;
    let metadata = workspace::metadata(workspace::root())?;
    Ok(workspace::target_directory(&metadata)?.join("debug/cluster"))
}

fn test(program: &PathBuf, arguments: &[String]) -> Result<()> {
    run_command(Command::new(program).arg("build"))?;
    let asked = Asked::from(arguments);
    let mut command = cargo(["test", "-p", "cluster", "--test", "real", "--"]);
    command.args(asked.harness_arguments());
    let outcome = match run_and_count(&mut command, AGAIN) {
        Ok(0) => Err(anyhow!(
            "no test ran; to see all names, type: cargo test -p cluster --test real -- --list"
        )),
        outcome => outcome,
    };
    // Told now: the end of the cluster may fail as well.
    match &outcome {
        Ok(ran) => say(format!("cluster: {ran} tests ran, none failed")),
        Err(error) => say(format!("cluster: {error:#}")),
    }
    if asked.keep {
        say("cluster: it stays up; to end it, type: cargo xtask cluster down");
        return outcome.map(drop);
    }
    let down = run_command(Command::new(program).arg("down"));
    outcome.and(down)
}

/// What `test` was given.
struct Asked<'a> {
    keep: bool,
    all: bool,
    names: Vec<&'a str>,
}

impl<'a> Asked<'a> {
    fn from(arguments: &'a [String]) -> Self {
        let words = || arguments.iter().map(String::as_str);
        Self {
            keep: words().any(|word| word == KEEP),
            all: words().any(|word| word == ALL),
            names: words().filter(|word| ![KEEP, ALL].contains(word)).collect(),
        }
    }

    /// Those for CI, all, or all whose names are asked for; one after another, because they share the cluster.
    fn harness_arguments(&self) -> Vec<&'a str> {
        let mut words = vec!["--test-threads=1"];
        if self.names.is_empty() && !self.all {
            words.extend(["--skip", WHOLE]);
        }
        words.extend(&self.names);
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn harness_arguments(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        Asked::from(&words).harness_arguments().join(" ")
    }

    #[test]
    fn what_is_not_for_ci_runs_when_all_is_asked_for_or_a_name() {
        assert_eq!(
            harness_arguments(&["--keep"]),
            "--test-threads=1 --skip whole::"
        );
        assert_eq!(harness_arguments(&["--all"]), "--test-threads=1");
        assert_eq!(harness_arguments(&["demo"]), "--test-threads=1 demo");
    }

    #[test]
    fn nothing_is_built_for_a_verb_that_only_tells() {
        let tells = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            only_tells(&words)
        };
        assert!(tells(&["conformance", "--left-out"]));
        assert!(tells(&["test", "--help"]));
        assert!(!tells(&["conformance", "DNS"]));
        assert!(!tells(&["test", "--keep", "demo"]));
    }
}
