//! Runs other programs, and shows each as the line that a person would type.
//!
//! It is also the only place that writes to the terminal: on stderr, so that stdout belongs to the program that a verb
//! runs in the end (the demo's table, the benchmark's figures). It does not interpret what programs print.

use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Where Debian keeps `nft` and `ip`; an ordinary user's PATH lacks these.
const SYSTEM_PROGRAMS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Writes one line for the person who waits. Nobody listening is no reason to fail.
pub(crate) fn say(line: impl Display) {
    let _nobody_listens = writeln!(io::stderr().lock(), "{line}");
}

/// A cargo command in the workspace's root, by the same cargo that runs us.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace::root());
    command
}

/// Shows the command, runs it, and fails if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    say(format!("$ {}", as_typed(command)));
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("{} failed: {status}", as_typed(command));
    }
    Ok(())
}

/// Shows the command and becomes it: its exit code is ours, and Ctrl-C reaches it without anybody in between.
pub(crate) fn become_command(command: &mut Command) -> Result<()> {
    say(format!("$ {}", as_typed(command)));
    let error = command.exec();
    Err(error).with_context(|| cannot_start(command))
}

/// Runs a command that only answers a question, unseen.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| cannot_start(command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} failed: {}: {}",
            as_typed(command),
            output.status,
            said.trim()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{}: the answer is no text", as_typed(command)))
}

/// Whether the command runs and succeeds; what it prints is of no interest.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// The file that a program's name stands for, also in the directories of system programs.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    search_path()
        .into_iter()
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// The directories of PATH and, behind them, those of system programs.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = env::split_paths(&path).collect();
    for directory in SYSTEM_PROGRAMS.map(PathBuf::from) {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    directories
}

/// The command as a line for a shell, with the environment that it is given.
pub(crate) fn as_typed(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        words.push(format!(
            "{}={}",
            name.to_string_lossy(),
            quoted(value.unwrap_or_default())
        ));
    }
    let program = command.get_program();
    // The full path of the toolchain's own cargo says nothing that `cargo` does not.
    let is_cargo = Path::new(program).file_name() == Some(OsStr::new("cargo"));
    words.push(if is_cargo {
        "cargo".to_owned()
    } else {
        quoted(program)
    });
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start {}", command.get_program().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_line_that_a_shell_reads_back() {
        let mut command = Command::new("/opt/toolchain/bin/cargo");
        command
            .args(["doc", "it's", ""])
            .env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            as_typed(&command),
            r"RUSTDOCFLAGS='-D warnings' cargo doc 'it'\''s' ''"
        );
    }

    #[test]
    fn a_failing_command_is_named_in_the_error() {
        let error =
            output(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"])).unwrap_err();
        assert!(
            format!("{error:#}").contains("exit status: 3: no such thing"),
            "{error:#}"
        );
    }
}
