//! `cargo xtask demo`: the hand-made demo, performed by the real programs on namespaces.
//!
//! Builds the programs and the demo (a program of `lab`), then becomes it: the exit code, the table on stdout and the
//! clean-up after Ctrl-C are the demo's own. What the demo shows is told there, not here.

use anyhow::Result;

use crate::shell::{become_command, cargo, run as run_command, say};
use crate::{dist, namespaces, workspace};

/// Runs the demo; all arguments are its own.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    say("demo: building the programs (the first time takes some minutes)");
    dist::programs()?;
    run_command(&mut cargo(["build", "-p", "lab", "--bin", "demo"]))?;
    let metadata = workspace::metadata(workspace::root())?;
    let demo = workspace::target_directory(&metadata)?.join("debug/demo");
    let mut command = namespaces::command(&demo.to_string_lossy())?;
    command
        .arg("--bin")
        .arg(dist::directory("bin"))
        .arg("--cni")
        .arg(dist::directory("cni"));
    become_command(command.args(arguments))
}
