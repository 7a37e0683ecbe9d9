//! Programs that run in a place: started, fed, heard, waited for with a deadline, and killed.
//!
//! A process is known by its pidfd, so a signal never reaches another one that got its number.
//! What it says is kept in memory by one thread per stream. See pidfd_open(2).

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::book::lock;
use crate::capture::{Capture, Stream};
use crate::container::Container;
use crate::place::Place;

/// How many lines of each stream an explanation shows.
const EXPLAINED_LINES: usize = 40;

/// A program to be run in a place; built as [`std::process::Command`] is.
#[derive(Debug)]
#[must_use = "nothing runs before `spawn` or `output_within`"]
pub struct Command<'a> {
    place: &'a Place,
    command: std::process::Command,
    title: String,
    stdin: Option<Vec<u8>>,
    container: Option<Container>,
}

/// What a program that has ended leaves.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// From before its start until its end was known.
    pub took: Duration,
}

/// A running or ended program; a handle, cheap to clone. The [`Lab`](crate::Lab) owns the process.
#[derive(Debug, Clone)]
pub struct Process {
    running: Arc<Running>,
}

/// A point in what a process has said: see [`Process::mark`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark(pub(crate) [usize; 2]);

#[derive(Debug)]
struct Running {
    place: String,
    title: String,
    pid: Pid,
    pidfd: OwnedFd,
    started: Instant,
    child: Mutex<Child>,
    capture: Arc<Capture>,
}

impl<'a> Command<'a> {
    pub(crate) fn new(place: &'a Place, program: &OsStr) -> Self {
        Self {
            place,
            command: std::process::Command::new(program),
            title: program.to_string_lossy().into_owned(),
            stdin: None,
            container: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        let argument = argument.as_ref();
        // Writing to a String cannot fail.
        let _ = write!(self.title, " {}", argument.display());
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Sets one environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it with no environment but what [`Command::env`] sets afterwards.
    pub fn env_clear(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// What it reads from standard input; without this, nothing.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs it in a container.
    pub(crate) fn inside(mut self, container: Container) -> Self {
        self.container = Some(container);
        self
    }

    /// Starts it.
    pub fn spawn(mut self) -> Result<Process> {
        self.command
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let book = self.place.book()?;
        let started = Instant::now();
        let command = &mut self.command;
        let mut child = self
            .place
            .attempt(|| {
                // The thread ends with this, and nobody else is in the container then but the program.
                if let Some(container) = &self.container {
                    container.enter()?;
                }
                Ok(command.spawn()?)
            })
            .with_context(|| format!("start {}", self.title))?;
        let pid = Pid::from_child(&child);
        // The child is not reaped before `child` is waited for, so the number is still its own.
        let pidfd = pidfd_open(pid, PidfdFlags::empty())
            .with_context(|| format!("open process {}", self.title))?;
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A program may end without reading its input; that is not an error of the laboratory.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let capture = Arc::new(Capture::default());
        if let Some(stream) = child.stdout.take() {
            listen(&capture, Stream::Stdout, stream);
        }
        if let Some(stream) = child.stderr.take() {
            listen(&capture, Stream::Stderr, stream);
        }
        let process = Process {
            running: Arc::new(Running {
                place: self.place.name().to_owned(),
                title: self.title,
                pid,
                pidfd,
                started,
                child: Mutex::new(child),
                capture,
            }),
        };
        book.record(process.clone());
        Ok(process)
    }

    /// Runs it to its end; past the deadline it is killed and that is the error.
    pub fn output_within(self, within: Duration) -> Result<Output> {
        let deadline = Instant::now() + within;
        let book = self.place.book()?;
        let process = self.spawn()?;
        let outcome = process.output_until(deadline);
        match &outcome {
            // The caller has all that it said; only what did not end as it should is explained.
            Ok(_) => book.forget(&process),
            Err(_) => drop(process.kill(Signal::KILL)),
        }
        outcome
    }
}

impl Process {
    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.running.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// The name of the place that it runs in.
    pub fn place(&self) -> &str {
        &self.running.place
    }

    /// Sends it a signal.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(&self.running.pidfd, signal)
            .with_context(|| format!("send signal {} to {}", signal.as_raw(), self.running.title))
    }

    /// Tells whether it has not ended yet.
    pub fn is_running(&self) -> bool {
        matches!(self.ended_until(Instant::now()), Ok(false))
    }

    /// Waits for its end.
    pub fn wait_within(&self, within: Duration) -> Result<ExitStatus> {
        self.wait_until(Instant::now() + within)
    }

    /// Waits for its end and for the end of its output.
    pub fn finish_within(&self, within: Duration) -> Result<Output> {
        self.output_until(Instant::now() + within)
    }

    /// Waits until it has written a line with this text, now or before, on either stream.
    pub fn wait_for_line(&self, text: &str, within: Duration) -> Result<String> {
        self.wait_for_line_after(Mark::default(), text, within)
    }

    /// Waits until it has written a line with this text after the mark.
    pub fn wait_for_line_after(&self, mark: Mark, text: &str, within: Duration) -> Result<String> {
        let deadline = Instant::now() + within;
        let capture = &self.running.capture;
        match capture.wait_for_line(mark, text, deadline) {
            Some(line) => Ok(line),
            None => bail!(
                "no line with \"{text}\" within {within:?}\n{}",
                self.explain()
            ),
        }
    }

    /// What it has said until now.
    pub fn mark(&self) -> Mark {
        self.running.capture.mark()
    }

    /// What it has written to standard output until now.
    pub fn stdout(&self) -> String {
        self.running.capture.text(Stream::Stdout)
    }

    /// What it has written to standard error until now.
    pub fn stderr(&self) -> String {
        self.running.capture.text(Stream::Stderr)
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.running, &other.running)
    }

    /// Command, state and the last lines of both streams.
    pub(crate) fn explain(&self) -> String {
        let Running { place, title, .. } = &*self.running;
        let state = match self.wait_until(Instant::now()) {
            Ok(status) => ended(status),
            Err(_) => format!("running as {}", self.pid()),
        };
        let mut text = format!("  {place}: `{title}`: {state}\n");
        for (name, content) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            let lines: Vec<_> = content.lines().collect();
            let last = lines.len().saturating_sub(EXPLAINED_LINES);
            for line in &lines[last..] {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "    {name}: {line}");
            }
        }
        text
    }

    fn output_until(&self, deadline: Instant) -> Result<Output> {
        let status = self.wait_until(deadline)?;
        let took = self.running.started.elapsed();
        if !self.running.capture.wait_for_end(deadline) {
            bail!(
                "`{}` has ended, but something holds its output open",
                self.running.title
            );
        }
        Ok(Output {
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
            took,
        })
    }

    fn wait_until(&self, deadline: Instant) -> Result<ExitStatus> {
        let title = &self.running.title;
        if !self.ended_until(deadline)? {
            bail!("`{title}` in {} has not ended in time", self.running.place);
        }
        lock(&self.running.child)
            .wait()
            .with_context(|| format!("wait for {title}"))
    }

    fn ended_until(&self, deadline: Instant) -> Result<bool> {
        wait_readable(&self.running.pidfd, deadline)
            .with_context(|| format!("wait for {}", self.running.title))
    }
}

impl Output {
    /// This output if the program ended with 0, else an error with all that it said.
    pub fn ok(self) -> Result<Self> {
        if !self.status.success() {
            bail!("{}\n{}{}", ended(self.status), self.stdout, self.stderr);
        }
        Ok(self)
    }
}

/// Waits until the descriptor is readable; false when the deadline comes first.
pub(crate) fn wait_readable(fd: impl std::os::fd::AsFd, deadline: Instant) -> Result<bool> {
    wait_for(fd, PollFlags::IN, deadline)
}

/// Waits for an event on the descriptor; false when the deadline comes first.
pub(crate) fn wait_for(
    fd: impl std::os::fd::AsFd,
    events: PollFlags,
    deadline: Instant,
) -> Result<bool> {
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(rest).context("a deadline")?;
        let mut fds = [PollFd::new(&fd, events)];
        match poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            outcome => return Ok(outcome.context("poll")? > 0),
        }
    }
}

fn listen(capture: &Arc<Capture>, stream: Stream, mut from: impl Read + Send + 'static) {
    capture.opened();
    let capture = Arc::clone(capture);
    std::thread::spawn(move || {
        let mut buffer = [0; 8 << 10];
        loop {
            match from.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return capture.closed(),
                Ok(length) => capture.heard(stream, &buffer[..length]),
            }
        }
    });
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
