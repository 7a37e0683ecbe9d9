//! `cargo xtask dist`: the static release binaries.
//!
//! `dist/bin/` holds the three programs, `dist/cni/` the plugin under every name that it answers to, `dist/lab/` the
//! benchmark's floor; another machine's are below `dist/aarch64/` or the like. Packages are built one at a time, because cargo would give each the features that any other one
//! asks for, and then the plugin's bytes would depend on the agent. Files are replaced by rename: a running one stays whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, bail};

use crate::install;
use crate::machine::Machine;
use crate::shell::{cargo, run as run_command, say};
use crate::workspace;

/// The plugin's names: each is a `type` that a CNI configuration may ask for.
const PLUGIN_NAMES: [&str; 6] = [
    "podwire",
    "bash-cni",
    "loopback",
    "bridge",
    "host-local",
    "portmap",
];
const PLUGIN: &str = "podwire-cni";
/// A runtime starts the plugin for every pod: its size is start-up time.
const PLUGIN_LIMIT: u64 = 1_600_000;

/// Package and program.
const PROGRAMS: [(&str, &str); 3] = [("cni", PLUGIN), ("agent", "podwired"), ("ctl", "podwire")];
/// What the benchmark measures against: the same kernel objects, and nothing else.
const FLOOR: (&str, &str) = ("lab", "floor");

/// Builds everything and says where it is.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let machine = Machine::asked("dist", arguments)?;
    programs_for(&machine)?;
    if !machine.is_own() {
        return Ok(());
    }
    let (package, floor) = FLOOR;
    build(&machine, package, floor)?;
    deliver(&built(&machine)?.join(floor), &directory("lab").join(floor))
}

/// Builds what a node gets: all that the demo and the tests need.
pub(crate) fn programs() -> Result<()> {
    programs_for(&Machine::OWN)
}

/// Builds what a node of that kind gets.
pub(crate) fn programs_for(machine: &Machine) -> Result<()> {
    install::rust_target(&machine.target())?;
    let (built, bin) = (built(machine)?, machine.directory("bin"));
    for (package, program) in PROGRAMS {
        build(machine, package, program)?;
        deliver(&built.join(program), &bin.join(program))?;
    }
    for name in PLUGIN_NAMES {
        deliver(&built.join(PLUGIN), &machine.directory("cni").join(name))?;
    }
    within_limit(&bin.join(PLUGIN), PLUGIN_LIMIT)
}

/// The folder in which cargo leaves what is built for a machine.
fn built(machine: &Machine) -> Result<PathBuf> {
    let metadata = workspace::metadata(workspace::root())?;
    let directory = workspace::target_directory(&metadata)?;
    Ok(directory.join(machine.target()).join("release"))
}

/// A directory of `dist/` with what this machine runs.
pub(crate) fn directory(name: &str) -> PathBuf {
    Machine::OWN.directory(name)
}

fn build(machine: &Machine, package: &str, program: &str) -> Result<()> {
    let target = machine.target();
    let mut command = cargo([
        "build",
        "--release",
        "--target",
        &target,
        "-p",
        package,
        "--bin",
        program,
    ]);
    command.envs(machine.tools()?);
    run_command(&mut command)
}

/// Puts a program in its place and says how big it is.
fn deliver(built: &Path, place: &Path) -> Result<()> {
    let size = put(built, place)?;
    let shown = place.strip_prefix(workspace::root()).unwrap_or(place);
    say(format!("{size:>10} bytes  {}", shown.display()));
    Ok(())
}

/// Copies a program to its place, whole or not at all, unless it is there already.
fn put(built: &Path, place: &Path) -> Result<usize> {
    let bytes = fs::read(built).with_context(|| format!("read {}", built.display()))?;
    if !fs::read(place).is_ok_and(|there| there == bytes) {
        let unfinished = place.with_extension(format!("{}.unfinished", process::id()));
        let put = || {
            fs::create_dir_all(place.parent().unwrap_or(place))?;
            fs::copy(built, &unfinished)?;
            fs::rename(&unfinished, place)
        };
        put().with_context(|| format!("copy {} to {}", built.display(), place.display()))?;
    }
    Ok(bytes.len())
}

fn within_limit(program: &Path, limit: u64) -> Result<()> {
    let size = fs::metadata(program)
        .with_context(|| format!("look at {}", program.display()))?
        .len();
    if size > limit {
        bail!(
            "{} is {size} bytes, {} over its limit of {limit}; to see what grew, type: \
             cargo tree -p cni -e normal",
            program.display(),
            size - limit
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_program_is_replaced_and_an_equal_one_is_left_alone() {
        let scratch = Scratch::new("dist-put");
        let (built, place) = (
            scratch.path().join("built"),
            scratch.path().join("new/place"),
        );
        for content in ["one", "two"] {
            scratch.write("built", content);
            put(&built, &place).unwrap();
            assert_eq!(fs::read_to_string(&place).unwrap(), content);
        }
        let before = fs::metadata(&place).unwrap().modified().unwrap();
        put(&built, &place).unwrap();
        assert_eq!(fs::metadata(&place).unwrap().modified().unwrap(), before);
        assert_eq!(
            fs::read_dir(place.parent().unwrap()).unwrap().count(),
            1,
            "no unfinished copy stays"
        );
    }

    #[test]
    fn a_program_over_its_limit_is_refused_with_both_figures() {
        let scratch = Scratch::new("dist-limit");
        scratch.write("program", "12345");
        let program = scratch.path().join("program");
        within_limit(&program, 5).unwrap();
        let error = within_limit(&program, 4).unwrap_err().to_string();
        assert!(
            error.contains("is 5 bytes, 1 over its limit of 4"),
            "{error}"
        );
    }
}
