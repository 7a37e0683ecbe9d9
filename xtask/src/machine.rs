//! The kinds of machine that Podwire is built for, and what it takes to build for another than this one.
//!
//! Rust brings the C library for musl and a linker of its own (`rust-lld`) with each target, so that only the agent's
//! cryptography needs something from outside: a C compiler for that machine, and the headers that it includes. Whether the result runs is not tried here.

use std::env;
use std::env::consts::ARCH;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::install::{self, Program};
use crate::shell::find_program;
use crate::workspace;

/// Links for every machine.
const LINKER: &str = "rust-lld";
/// Of Debian's musl-tools.
const MUSL_GCC: &str = "musl-gcc";
const GCC: &str = "gcc";

/// A kind of machine, as `uname -m` has it, and the C compiler for it.
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    compiler: &'static str,
    needed: &'static [Program],
}

/// How one builds for them elsewhere.
const MACHINES: [Machine; 2] = [
    Machine {
        name: "x86_64",
        compiler: "x86_64-linux-gnu-gcc",
        needed: &[
            of("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
            of(
                "/usr/x86_64-linux-gnu/include/stdint.h",
                "libc6-dev-amd64-cross",
            ),
        ],
    },
    Machine {
        name: "aarch64",
        compiler: "aarch64-linux-gnu-gcc",
        needed: &[
            of("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
            of(
                "/usr/aarch64-linux-gnu/include/stdint.h",
                "libc6-dev-arm64-cross",
            ),
        ],
    },
];

const fn of(name: &'static str, package: &'static str) -> Program {
    Program { name, package }
}

impl Machine {
    /// This one, whatever it is.
    pub(crate) const OWN: Self = Self {
        name: ARCH,
        compiler: GCC,
        needed: &[of(GCC, "gcc")],
    };

    /// The one after `--target`, or this one; a verb that takes nothing else.
    pub(crate) fn asked(verb: &str, arguments: &[String]) -> Result<Self> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let known = || MACHINES.into_iter().chain([Self::OWN]);
        let found = match words[..] {
            [] => Some(Self::OWN),
            ["--target", name] if name == ARCH => Some(Self::OWN),
            ["--target", name] => known().find(|machine| machine.name == name),
            _ => None,
        };
        if let Some(machine) = found {
            return Ok(machine);
        }
        let names = MACHINES.map(|machine| machine.name).join("|");
        bail!(
            "{verb} does not know {:?}; type: cargo xtask {verb} [--target {names}]",
            words.join(" ")
        )
    }

    /// Whether it is this one.
    pub(crate) fn is_own(&self) -> bool {
        self.name == ARCH
    }

    /// Cargo's name for static programs.
    pub(crate) fn target(&self) -> String {
        format!("{}-unknown-linux-musl", self.name)
    }

    /// A directory of `dist/`; those of other machines have a floor of their own.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let dist = workspace::root().join("dist");
        let floor = if self.is_own() { "" } else { self.name };
        dist.join(Path::new(floor)).join(name)
    }

    /// What cargo and the agent's cryptography (ring) want to be told, as variables; nothing that the user has set.
    pub(crate) fn tools(&self) -> Result<Vec<(String, String)>> {
        let target = self.target().replace('-', "_");
        let is_unset = |name: &String| env::var_os(name).is_none();
        let mut tools = Vec::new();
        let compiler = format!("CC_{target}");
        if is_unset(&compiler) {
            tools.push((compiler, self.c_compiler()?));
        }
        let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase());
        if !self.is_own() && is_unset(&linker) {
            tools.push((linker, LINKER.to_owned()));
        }
        Ok(tools)
    }

    /// It takes no function of a C library from it, so that the one that links all other programs will do.
    fn c_compiler(&self) -> Result<String> {
        if self.is_own() && find_program(MUSL_GCC).is_some() {
            return Ok(MUSL_GCC.to_owned());
        }
        install::programs(self.needed)?;
        Ok(self.compiler.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Result<Machine> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        Machine::asked("dist", &words)
    }

    #[test]
    fn without_a_word_it_is_this_machine() {
        assert!(asked(&[]).unwrap().is_own());
        assert!(asked(&["--target", ARCH]).unwrap().is_own());
    }

    #[test]
    fn another_machine_has_a_directory_of_its_own() {
        let other = if ARCH == "aarch64" {
            "x86_64"
        } else {
            "aarch64"
        };
        let machine = asked(&["--target", other]).unwrap();
        assert_eq!(machine.target(), format!("{other}-unknown-linux-musl"));
        assert!(
            machine
                .directory("bin")
                .ends_with(format!("dist/{other}/bin"))
        );
        assert!(Machine::OWN.directory("bin").ends_with("dist/bin"));
    }

    #[test]
    fn a_machine_that_nobody_built_for_is_answered_with_the_choices() {
        for words in [&["--target", "s390x"][..], &["--target"], &["aarch64"]] {
            let error = asked(words).err().unwrap().to_string();
            assert!(error.contains("[--target x86_64|aarch64]"), "{error}");
        }
    }
}
