//! Who is measured, and how each is called: everybody by the same few lines, with a pipe on all three streams.

use std::io::{PipeReader, Read as _, Write as _, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lab::plugin::Attachment;
use lab::{Node, Pod};
use serde_json::Value;

/// A verb of the CNI contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Del,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
        }
    }
}

/// What is run.
#[derive(Debug)]
pub(crate) enum Program {
    /// A program that does nothing.
    Nothing(PathBuf),
    /// The kernel floor, with the prefix of each address: the last group is the pod's number.
    Floor(PathBuf, &'static str, &'static [(&'static str, u8)]),
    /// A CNI plugin and its configuration.
    Plugin(PathBuf, Value),
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Contender {
    /// The row's name.
    pub(crate) name: &'static str,
    /// The row that it is compared with.
    pub(crate) floor: Option<&'static str>,
    pub(crate) program: Program,
    pub(crate) node: Node,
}

/// What one call took, and what it said.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) took: Duration,
    pub(crate) answer: String,
}

impl Contender {
    /// Whether there is a DEL, and more than one can be called at once.
    pub(crate) fn makes_something(&self) -> bool {
        !matches!(self.program, Program::Nothing(_))
    }

    /// Calls it once for the pod with this number. To be run inside the node.
    pub(crate) fn call(&self, verb: Verb, pod: &Pod, number: usize) -> Result<Called> {
        let (mut command, input) = self.command(verb, pod, number);
        let answer = connect(&mut command, &input)?;
        let started = Instant::now();
        let status = command.spawn().and_then(|mut child| child.wait());
        let took = started.elapsed();
        // It holds the writing end.
        drop(command);
        let answer = read(answer)?;
        let status = status.with_context(|| format!("start {}", self.name))?;
        if !status.success() {
            bail!("{}, {}: {status}: {answer}", self.name, verb.name());
        }
        Ok(Called { took, answer })
    }

    /// The command and its standard input.
    pub(crate) fn command(&self, verb: Verb, pod: &Pod, number: usize) -> (Command, String) {
        match &self.program {
            Program::Nothing(path) => {
                let mut command = Command::new(path);
                command.arg("nothing").env_clear();
                (command, String::new())
            }
            Program::Floor(path, kind, prefixes) => {
                let mut command = Command::new(path);
                let verb = if verb == Verb::Add { "add" } else { "del" };
                command.args([verb, kind, pod.path(), &format!("pwfloor{number}")]);
                for (prefix, length) in *prefixes {
                    // Digits that read the same in both families.
                    command.arg(format!("{prefix}{}/{length}", number + 2));
                }
                command.env_clear();
                (command, String::new())
            }
            Program::Plugin(path, conf) => {
                let folder = path.parent().unwrap_or_else(|| Path::new("/"));
                let mut command = Command::new(path);
                command
                    .env_clear()
                    .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                    .env("CNI_PATH", folder)
                    .env("CNI_COMMAND", verb.name())
                    .envs(Attachment::of(pod).environment());
                (command, conf.to_string())
            }
        }
    }
}

/// Gives the command its streams; what it writes can be read from the result once the command is dropped.
pub(crate) fn connect(command: &mut Command, input: &str) -> Result<PipeReader> {
    let (stdin, mut feed) = pipe().context("make a pipe")?;
    feed.write_all(input.as_bytes()).context("fill a pipe")?;
    let (answer, stdout) = pipe().context("make a pipe")?;
    let stderr = stdout.try_clone().context("copy a pipe")?;
    command
        .stdin(Stdio::from(stdin))
        .stdout(stdout)
        .stderr(stderr);
    Ok(answer)
}

fn read(mut answer: PipeReader) -> Result<String> {
    let mut text = String::new();
    answer.read_to_string(&mut text).context("read an answer")?;
    Ok(text)
}
