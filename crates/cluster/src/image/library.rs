//! Which libraries a program of the machine needs, as the machine's own loader finds them.
//!
//! `ldd` runs the loader on the program, so it is asked about Debian's programs only. What a program opens later by name
//! (plugins) is not seen; none of those that go into an image does so.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Where Debian keeps system programs; an ordinary user's PATH lacks these.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The file of a program.
pub(super) fn program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| {
            format!(
                "there is no {name} on PATH to put into an image; type: cargo xtask cluster build"
            )
        })
}

/// The loader's own file included; nothing for a static program.
pub(super) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let content = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    // `ldd` fails for one, as it does when something is wrong.
    if is_static(&content) {
        return Ok(Vec::new());
    }
    process::run(Command::new("ldd").arg(program).env("LC_ALL", "C"))
        .and_then(|said| paths(&said))
        .with_context(|| format!("find the libraries of {}", program.display()))
}

/// Whether a 64-bit ELF file names no loader (elf(5): no program header of type `PT_INTERP`).
fn is_static(elf: &[u8]) -> bool {
    const PT_INTERP: u64 = 3;
    let number = |at: u64, size: usize| {
        let at = usize::try_from(at).ok()?;
        let bytes = elf.get(at..at.checked_add(size)?)?;
        let value = bytes.iter().rev();
        Some(value.fold(0, |value, &byte| value << 8 | u64::from(byte)))
    };
    let headers = || Some((number(32, 8)?, number(54, 2)?, number(56, 2)?));
    let Some((start, size, count)) = headers() else {
        return true;
    };
    (0..count).all(|index| number(start + index * size, 4) != Some(PT_INTERP))
}

fn paths(said: &str) -> Result<Vec<PathBuf>> {
    if let Some(lacking) = said.lines().find(|line| line.ends_with("not found")) {
        bail!("a library is missing: {}", lacking.trim());
    }
    let words = said.split_whitespace();
    Ok(words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_and_what_it_found_are_taken_and_the_kernels_own_is_not() {
        let said = "\tlinux-vdso.so.1 (0x00007ffd7a1f2000)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1e2a000000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f1e2a3c5000)\n";
        let found = paths(said).unwrap();
        let expected = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn a_program_that_names_a_loader_is_not_static() {
        // This very test: Rust's programs for glibc are not.
        assert!(!is_static(&fs::read(env::current_exe().unwrap()).unwrap()));
        assert!(is_static(b"#!/bin/sh"));
    }

    #[test]
    fn a_library_that_is_missing_is_named() {
        let error = paths("\tlibfoo.so.1 => not found\n").unwrap_err();
        assert!(error.to_string().contains("libfoo.so.1"), "{error}");
    }
}
