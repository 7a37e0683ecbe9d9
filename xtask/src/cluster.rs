//! `cargo xtask cluster`: a real Kubernetes cluster on this machine, and what is shown and measured on it.
//!
//! Builds the program `cluster` and becomes it; what a verb does is told there. Here is only what needs cargo.

use anyhow::Result;

use crate::shell::{become_command, cargo, run as run_command};
use crate::workspace;

/// Runs a verb of the cluster; all arguments are its own.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    run_command(&mut cargo(["build", "-p", "cluster", "--bin", "cluster"]))?;
    let metadata = workspace::metadata(workspace::root())?;
    let program = workspace::target_directory(&metadata)?.join("debug/cluster");
    become_command(std::process::Command::new(program).args(arguments))
}
