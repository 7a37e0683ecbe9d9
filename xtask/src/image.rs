//! `cargo xtask image`: Podwire's image as one file, without podman, docker or a registry.
//!
//! Builds the programs and the writer (a program of `cluster`, which needs images as well), then becomes the writer. What is
//! in the image is told there and in deploy/Containerfile.

use anyhow::{Context, Result};

use crate::machine::Machine;
use crate::shell::{become_command, cargo, run as run_command};
use crate::{dist, workspace};

/// Writes `dist/podwire-VERSION-MACHINE.tar`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let machine = Machine::asked("image", arguments)?;
    dist::programs_for(&machine)?;
    run_command(&mut cargo(["build", "-p", "cluster", "--bin", "image"]))?;
    let metadata = workspace::metadata(workspace::root())?;
    let writer = workspace::target_directory(&metadata)?.join("debug/image");
    let file = format!("podwire-{}-{}.tar", env!("CARGO_PKG_VERSION"), machine.name);
    let bin = machine.directory("bin");
    let dist = workspace::root().join("dist");
    let mut command = std::process::Command::new(writer);
    command.arg(bin).arg(machine.name).arg(dist.join(file));
    become_command(&mut command).context("write the image")
}
