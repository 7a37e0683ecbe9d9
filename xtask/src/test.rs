//! `cargo xtask test`: all tests of the workspace, each test program in namespaces of its own.
//!
//! Cargo's runner variable puts `unshare` before every test program, so that even a test that forgets to isolate itself
//! cannot touch the machine. No test is skipped for want of something: what is missing is installed or named, and a run
//! in which no test ran at all is a failure.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::install::{self, Program};
use crate::shell::{as_typed, cargo, output, say, search_path};
use crate::{dist, namespaces, workspace};

/// What the tests compare with and look through; Podwire itself runs none of it.
const NEEDED: [Program; 6] = [
    Program {
        name: "nft",
        package: "nftables",
    },
    Program {
        name: "iptables-nft",
        package: "iptables",
    },
    Program {
        name: "ip",
        package: "iproute2",
    },
    Program {
        name: "strace",
        package: "strace",
    },
    Program {
        name: "unshare",
        package: "util-linux",
    },
    Program {
        name: "nsenter",
        package: "util-linux",
    },
];

const PURE_PACKAGES: [&str; 4] = ["-p", "model", "-p", "plan"];

/// Runs the tests; NAMEs first, then anything that `cargo test` understands.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let asked = Asked::from(arguments);
    let mut command = cargo(asked.cargo_arguments());
    if !asked.pure {
        install::programs(&NEEDED)?;
        let runner = namespaces::runner()?;
        dist::programs()?;
        command.env(runner_variable()?, runner.join(" "));
        // The tests call `nft` and `ip`, which are not on an ordinary user's PATH.
        if env::var_os("PATH").is_none_or(|path| env::split_paths(&path).ne(search_path())) {
            command.env(
                "PATH",
                env::join_paths(search_path()).context("PATH has a colon inside a directory")?,
            );
        }
    }
    let ran = run_and_count(&mut command, "cargo xtask test NAME")?;
    if ran == 0 {
        bail!(
            "no test ran: no name contains {:?}; to see all names, type: cargo test --workspace -- --list",
            asked.names
        );
    }
    say(format!("test: {ran} tests ran, none failed"));
    Ok(())
}

/// The arguments, sorted by who reads them.
struct Asked<'a> {
    pure: bool,
    names: Vec<&'a str>,
    cargo_flags: Vec<&'a str>,
    harness_flags: Vec<&'a str>,
}

impl<'a> Asked<'a> {
    fn from(arguments: &'a [String]) -> Self {
        let all: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .filter(|word| *word != "--pure")
            .collect();
        let pure = all.len() < arguments.len();
        let mut halves = all.splitn(2, |word| *word == "--");
        let ours = halves.next().unwrap_or_default();
        let harness_flags = halves.next().unwrap_or_default().to_vec();
        // From the first flag on, a word may be a flag's value: cargo knows, we do not.
        let first_flag = ours
            .iter()
            .position(|word| word.starts_with('-'))
            .unwrap_or(ours.len());
        let (names, cargo_flags) = ours.split_at(first_flag);
        Self {
            pure,
            names: names.to_vec(),
            cargo_flags: cargo_flags.to_vec(),
            harness_flags,
        }
    }

    fn cargo_arguments(&self) -> Vec<&'a str> {
        let mut words = vec!["test", "--no-fail-fast"];
        // Cargo ignores `-p` beside `--workspace`.
        let chooses_packages =
            |word: &&str| word.starts_with("-p") || word.starts_with("--package");
        if self.pure {
            words.extend(PURE_PACKAGES);
        } else if !self.cargo_flags.iter().any(chooses_packages) {
            words.push("--workspace");
        }
        words.extend(&self.cargo_flags);
        words.push("--");
        // The harness takes any number of names, where cargo takes one.
        words.extend(&self.names);
        words.extend(&self.harness_flags);
        words
    }
}

/// The variable by which cargo learns what to put before a test program.
fn runner_variable() -> Result<String> {
    let version = output(
        Command::new("rustc")
            .arg("-vV")
            .current_dir(workspace::root()),
    )?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc -vV names no host")?;
    Ok(format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_uppercase().replace('-', "_")
    ))
}

/// Runs the tests, passes their output on line by line, and counts those that ran; `again` runs one of them alone.
pub(crate) fn run_and_count(command: &mut Command, again: &str) -> Result<u64> {
    say(format!("$ {}", as_typed(command)));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let mut ran = 0;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("read the tests' output")?;
            let mut terminal = io::stdout().lock();
            terminal
                .write_all(&line)
                .and_then(|()| terminal.write_all(b"\n"))
                .context("pass the tests' output on")?;
            ran += tests_in(&String::from_utf8_lossy(&line));
        }
    }
    let status = child.wait().context("wait for cargo")?;
    if !status.success() {
        bail!(
            "tests failed or did not build, see above ({status}); to run one again, type: {again}"
        );
    }
    Ok(ran)
}

/// How many tests a line of the harness says have run: `test result: ok. 3 passed; 0 failed; ...`.
fn tests_in(line: &str) -> u64 {
    let Some(counts) = line
        .strip_prefix("test result: ")
        .and_then(|rest| rest.split_once(". "))
    else {
        return 0;
    };
    let count = |part: &str| {
        let (number, what) = part.trim().split_once(' ')?;
        matches!(what, "passed" | "failed").then(|| number.parse::<u64>().ok())?
    };
    counts.1.split(';').filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cargo_arguments(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        Asked::from(&words).cargo_arguments().join(" ")
    }

    #[test]
    fn names_go_to_the_harness_and_flags_to_cargo() {
        assert_eq!(cargo_arguments(&[]), "test --no-fail-fast --workspace --");
        assert_eq!(
            cargo_arguments(&["a", "b"]),
            "test --no-fail-fast --workspace -- a b"
        );
        assert_eq!(
            cargo_arguments(&["a", "-p", "lab"]),
            "test --no-fail-fast -p lab -- a"
        );
        assert_eq!(
            cargo_arguments(&["a", "--test", "ports", "--", "--nocapture"]),
            "test --no-fail-fast --workspace --test ports -- a --nocapture"
        );
        assert_eq!(
            cargo_arguments(&["--pure", "a"]),
            "test --no-fail-fast -p model -p plan -- a"
        );
    }

    #[test]
    fn tests_that_ran_are_counted_and_others_are_not() {
        assert_eq!(
            tests_in("test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 7 filtered out"),
            3
        );
        assert_eq!(
            tests_in("test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured"),
            4
        );
        assert_eq!(
            tests_in("test result: ok. 0 passed; 0 failed; 0 ignored"),
            0
        );
        assert_eq!(tests_in("test 3 passed; 3 failed ... ok"), 0);
    }

    #[test]
    fn the_runner_variable_names_this_machine() {
        let name = runner_variable().unwrap();
        assert!(
            name.starts_with("CARGO_TARGET_")
                && name.contains("LINUX")
                && name.ends_with("_RUNNER"),
            "{name}"
        );
    }
}
