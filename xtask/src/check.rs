//! `cargo xtask check`: everything that can be judged without running Podwire.
//!
//! Each step lists all that it finds, and a failed step does not keep the later ones from running, so that one run shows
//! the whole work. Security advisories are not among the steps: they change by themselves and must not block a change.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::shell::{cargo, run as run_command, say};
use crate::{install, tidy, workspace};

struct Step {
    name: &'static str,
    /// Brings the tools.
    prepare: fn() -> Result<()>,
    run: fn() -> Result<()>,
    /// What to do about findings.
    to_do: &'static str,
}

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        prepare: || install::rust_component("rustfmt", "fmt"),
        run: fmt,
        to_do: "type: cargo fmt --all",
    },
    Step {
        name: "clippy",
        prepare: || install::rust_component("clippy", "clippy"),
        run: clippy,
        to_do: "do what each lint says, or `#[expect(.., reason = \"..\")]` it",
    },
    Step {
        name: "tidy",
        prepare: || Ok(()),
        run: tidy,
        to_do: "each line above says what it wants",
    },
    Step {
        name: "no_std",
        prepare: || install::rust_target(BARE_TARGET),
        run: no_std,
        to_do: "model and plan take core and alloc only; std belongs to host and above",
    },
    Step {
        name: "doc",
        prepare: || Ok(()),
        run: doc,
        to_do: "repair the links and code blocks that rustdoc names",
    },
    Step {
        name: "deny",
        prepare: || cargo_deny().map(drop),
        run: deny,
        to_do: "drop the crate, or write it into deny.toml with a reason",
    },
];

/// A machine without an operating system: what builds for it needs no std.
const BARE_TARGET: &str = "x86_64-unknown-none";

/// Runs all steps, or those that are named.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
    if let Some(unknown) = arguments
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        bail!(
            "there is no step {unknown:?}; the steps are: {}",
            known.join(" ")
        );
    }
    let is_asked =
        |step: &&Step| arguments.is_empty() || arguments.iter().any(|name| name == step.name);
    let failed: Vec<&str> = STEPS
        .iter()
        .filter(is_asked)
        .filter(|step| !passes(step))
        .map(|step| step.name)
        .collect();
    if !failed.is_empty() {
        bail!(
            "failed: {0}; to run only that again, type: cargo xtask check {0}",
            failed.join(" ")
        );
    }
    Ok(())
}

fn passes(step: &Step) -> bool {
    let name = step.name;
    if let Err(error) = (step.prepare)() {
        say(format!("check {name}: not done: {error:#}"));
        return false;
    }
    let start = Instant::now();
    let result = (step.run)();
    match &result {
        Ok(()) => say(format!(
            "check {name}: ok ({:.1} s)",
            start.elapsed().as_secs_f32()
        )),
        Err(error) => say(format!(
            "check {name}: {error:#}\ncheck {name}: to do: {}",
            step.to_do
        )),
    }
    result.is_ok()
}

fn fmt() -> Result<()> {
    run_command(&mut cargo(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let all = ["--workspace", "--all-targets", "--keep-going"];
    // `--all-targets` leaves out what is not run by default: the tests on the real cluster.
    let real = ["-p", "cluster", "--test", "real"];
    for targets in [&all[..], &real[..]] {
        let mut command = cargo(["clippy"]);
        run_command(command.args(targets).args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

fn tidy() -> Result<()> {
    let root = workspace::root();
    say("$ cargo metadata --no-deps   (compared with the table in xtask/src/tidy/edges.rs)");
    let findings = tidy::findings(root, &workspace::metadata(root)?)?;
    if findings.is_empty() {
        return Ok(());
    }
    let list: String = findings
        .iter()
        .map(|finding| format!("\n  {finding}"))
        .collect();
    bail!("found {}:{list}", findings.len());
}

fn no_std() -> Result<()> {
    let mut command = cargo(["check", "-p", "model", "-p", "plan"]);
    run_command(command.args(["--target", BARE_TARGET]))
}

fn doc() -> Result<()> {
    let mut command = cargo([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    run_command(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny() -> Result<()> {
    let mut command = Command::new(cargo_deny()?);
    command.args(["--workspace", "--locked", "check", "--hide-inclusion-graph"]);
    command.args(["licenses", "bans", "sources"]);
    run_command(command.current_dir(workspace::root()))
}

fn cargo_deny() -> Result<PathBuf> {
    let metadata = workspace::metadata(workspace::root())?;
    install::cargo_deny(&workspace::target_directory(&metadata)?)
}
