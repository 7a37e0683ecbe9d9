//! `cargo xtask bench`: what ADD and DEL cost, in ratios to what the kernel itself needs.
//!
//! Builds the programs, the floor and the benchmark (a program of `lab`), then becomes it. It measures nothing itself,
//! and judges nothing: figures of one run compare only with each other, because machines differ.

use anyhow::Result;

use crate::shell::{become_command, cargo, run as run_command, say};
use crate::{dist, namespaces, workspace};

/// Runs the benchmark; all arguments are its own.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    say("bench: building the programs, the floor and the benchmark");
    dist::run(&[])?;
    run_command(&mut cargo([
        "build",
        "--release",
        "-p",
        "lab",
        "--bin",
        "bench",
    ]))?;
    let metadata = workspace::metadata(workspace::root())?;
    let bench = workspace::target_directory(&metadata)?.join("release/bench");
    let mut command = namespaces::command(&bench.to_string_lossy())?;
    command
        .arg("--bin")
        .arg(dist::directory("bin"))
        .arg("--cni")
        .arg(dist::directory("cni"));
    command
        .arg("--floor")
        .arg(dist::directory("lab").join("floor"));
    become_command(command.args(arguments))
}
