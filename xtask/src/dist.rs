//! `cargo xtask dist`: the static release binaries.
//!
//! `dist/bin/` holds the three programs, `dist/cni/` the plugin under every name that it answers to, `dist/lab/` the
//! benchmark's floor. Packages are built one at a time, because cargo would give each the features that any other one
//! asks for, and then the plugin's bytes would depend on the agent. Files are replaced by rename: a running one stays whole.

use std::env;
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, bail};

use crate::install::{self, Program};
use crate::shell::{cargo, find_program, run as run_command, say};
use crate::workspace;

/// The plugin's names: each is a `type` that a CNI configuration may ask for.
const PLUGIN_NAMES: [&str; 2] = ["podwire", "bash-cni"];
const PLUGIN: &str = "podwire-cni";
/// A runtime starts the plugin for every pod: its size is start-up time.
const PLUGIN_LIMIT: u64 = 1_600_000;

/// Package and program.
const PROGRAMS: [(&str, &str); 3] = [("cni", PLUGIN), ("agent", "podwired"), ("ctl", "podwire")];
/// Of Debian's musl-tools.
const MUSL_GCC: &str = "musl-gcc";
const GCC: Program = Program {
    name: "gcc",
    package: "gcc",
};
/// What the benchmark measures against: the same kernel objects, and nothing else.
const FLOOR: (&str, &str) = ("lab", "floor");

/// Builds everything and says where it is.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let Some(unknown) = arguments.first() {
        bail!("dist takes no arguments, got {unknown:?}; type: cargo xtask dist");
    }
    programs()?;
    let (target, built) = target()?;
    let (package, floor) = FLOOR;
    build(&target, package, floor)?;
    deliver(&built.join(floor), &directory("lab").join(floor))
}

/// Builds what a node gets: all that the demo and the tests need.
pub(crate) fn programs() -> Result<()> {
    let (target, built) = target()?;
    install::rust_target(&target)?;
    for (package, program) in PROGRAMS {
        build(&target, package, program)?;
        deliver(&built.join(program), &directory("bin").join(program))?;
    }
    for name in PLUGIN_NAMES {
        deliver(&built.join(PLUGIN), &directory("cni").join(name))?;
    }
    within_limit(&directory("bin").join(PLUGIN), PLUGIN_LIMIT)
}

/// What is built for, and the folder in which cargo leaves it.
fn target() -> Result<(String, PathBuf)> {
    let target = format!("{ARCH}-unknown-linux-musl");
    let metadata = workspace::metadata(workspace::root())?;
    let built = workspace::target_directory(&metadata)?
        .join(&target)
        .join("release");
    Ok((target, built))
}

/// A directory of `dist/`.
pub(crate) fn directory(name: &str) -> PathBuf {
    workspace::root().join("dist").join(name)
}

fn build(target: &str, package: &str, program: &str) -> Result<()> {
    let mut command = cargo([
        "build",
        "--release",
        "--target",
        target,
        "-p",
        package,
        "--bin",
        program,
    ]);
    if let Some((name, compiler)) = c_compiler(target)? {
        command.env(name, compiler);
    }
    run_command(&mut command)
}

/// The C compiler for the agent's cryptography (ring), as its build script wants to be told; none where the user has done
/// so. It takes no header and no function of a C library from it, so that the one that links all other programs will do.
fn c_compiler(target: &str) -> Result<Option<(String, String)>> {
    let name = format!("CC_{}", target.replace('-', "_"));
    if env::var_os(&name).is_some() {
        return Ok(None);
    }
    if find_program(MUSL_GCC).is_some() {
        return Ok(Some((name, MUSL_GCC.to_owned())));
    }
    install::programs(&[GCC])?;
    Ok(Some((name, GCC.name.to_owned())))
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
