//! Runs a program to its end, and says in the error what it said.
//!
//! Every program here is one of the machine's own or one that `build` made; its words are shown and never interpreted.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What it writes to standard output, if it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    feed(command, "")
}

/// The same, with something to read.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<String> {
    let shown = shown(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {shown}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program may end without reading; how it ended is told below.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child
        .wait_with_output()
        .with_context(|| format!("wait for {shown}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if !output.status.success() {
        bail!(
            "{shown}: {}\n{}{}",
            output.status,
            said(&output.stdout),
            said(&output.stderr)
        );
    }
    Ok(said(&output.stdout))
}

/// The command as it would be typed, without care for a shell's quotes.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}
