//! Runs a program to its end, and says in the error what it said.
//!
//! Every program here is one of the machine's own or one that `build` made; its words are shown and never interpreted. Each
//! has a deadline: past it the program is killed, and what it has started on a machine goes with the machine.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// More than kubectl is ever told to wait, and than anything else takes on a busy machine.
const WITHIN: Duration = Duration::from_secs(300);

/// What goes on says so within milliseconds, on a machine that has nothing else to do.
const SPEAKS_WITHIN: Duration = Duration::from_secs(60);

/// How a program ended that did not succeed.
#[derive(Debug)]
struct Failed {
    shown: String,
    status: ExitStatus,
    said: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n{}", self.shown, self.status, self.said)
    }
}

impl std::error::Error for Failed {}

/// What it writes to standard output, if it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    feed(command, "")
}

/// The same, with something to read.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<String> {
    feed_within(WITHIN, command, input)
}

/// The same, with a deadline of its own.
pub(crate) fn feed_within(within: Duration, command: &mut Command, input: &str) -> Result<String> {
    let shown = shown(command);
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {shown}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_owned();
        // A program may end without reading; how it ended is told below.
        thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    }
    let (stdout, stderr) = (heard(child.stdout.take()), heard(child.stderr.take()));
    let status = ended(&mut child, &shown, within)?;
    let said = |heard: &Receiver<Vec<u8>>| -> Result<String> {
        let bytes = heard.recv_timeout(within.saturating_sub(began.elapsed()));
        let bytes = bytes.map_err(|_| {
            anyhow!("{shown}: it has ended, and what it started holds its output after {within:?}")
        })?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    let (stdout, stderr) = (said(&stdout)?, said(&stderr)?);
    if !status.success() {
        let said = format!("{stdout}{stderr}");
        bail!(Failed {
            shown,
            status,
            said
        });
    }
    Ok(stdout)
}

/// Waits for its end, or kills it.
pub(crate) fn ended(child: &mut Child, shown: &str, within: Duration) -> Result<ExitStatus> {
    let what = || format!("wait for {shown}");
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).with_context(what)?;
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    let span = Timespec::try_from(within).with_context(what)?;
    if poll(&mut fds, Some(&span)).with_context(what)? == 0 {
        child.kill().with_context(|| format!("kill {shown}"))?;
        child.wait().with_context(what)?;
        bail!("{shown}: it has not ended within {within:?}, and was killed");
    }
    child.wait().with_context(what)
}

/// What a program that goes on says first, or nothing if it ends without a word.
pub(crate) fn first_line(output: &mut BufReader<ChildStdout>, shown: &str) -> Result<String> {
    let what = || format!("hear of {shown}");
    let span = Timespec::try_from(SPEAKS_WITHIN).with_context(what)?;
    let mut fds = [PollFd::new(output.get_ref(), PollFlags::IN)];
    ensure!(
        poll(&mut fds, Some(&span)).with_context(what)? > 0,
        "{shown}: it has said nothing within {SPEAKS_WITHIN:?}"
    );
    let mut line = String::new();
    output.read_line(&mut line).with_context(what)?;
    Ok(line)
}

/// With which code a program ended, if that is the reason of the error.
pub(crate) fn code(error: &anyhow::Error) -> Option<i32> {
    error.downcast_ref::<Failed>()?.status.code()
}

/// The command as it would be typed, without care for a shell's quotes.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// All that it will have written, read by a thread that lives as long as somebody can write.
fn heard(output: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (teller, heard) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is told.
        drop(output.map(|mut output| output.read_to_end(&mut bytes)));
        // Past the deadline nobody listens.
        drop(teller.send(bytes));
    });
    heard
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn more_than_a_pipe_holds_goes_in_and_comes_out() {
        let much = "x".repeat(1 << 20);
        assert_eq!(feed(&mut Command::new("cat"), &much).unwrap(), much);
    }

    #[test]
    fn a_failure_has_its_code_and_what_was_said_also_behind_a_context() {
        let error = run(&mut sh("echo one; echo two >&2; exit 7")).unwrap_err();
        let error = error.context("on a machine").context("in a test");
        assert_eq!(code(&error), Some(7));
        let text = format!("{error:#}");
        assert!(text.contains("one") && text.contains("two"), "{text}");
        assert_eq!(code(&anyhow!("another")), None);
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_and_named() {
        let began = Instant::now();
        let error =
            feed_within(Duration::from_millis(50), &mut sh("exec sleep 600"), "").unwrap_err();
        assert!(began.elapsed() < WITHIN, "it was waited for");
        let text = error.to_string();
        assert!(
            text.contains("sh -c exec sleep 600") && text.contains("killed"),
            "{text}"
        );
    }

    #[test]
    fn output_that_somebody_else_holds_is_not_waited_for_longer() {
        let error = feed_within(Duration::from_secs(3), &mut sh("sleep 30 &"), "").unwrap_err();
        assert!(error.to_string().contains("holds its output"), "{error}");
    }
}
