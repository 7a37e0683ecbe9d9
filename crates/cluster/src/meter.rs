//! What the agent on a node uses: memory, time of a processor, bytes from the API server.
//!
//! Read from outside, from the node's /proc and its sockets: the agent is not asked and does not know. See
//! proc_pid_status(5), the kernel's document sched-stats, and ss(8).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::machine::Machine;
use crate::wait;

const AGENT: &str = "podwired";

/// How often the sockets are looked at: what one has received is gone when it is closed.
const LOOKS: Duration = Duration::from_millis(500);

/// In bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// What is in memory of it, its program's file included.
    pub resident: u64,
    /// Of that, what is its alone and no file's.
    pub anonymous: u64,
    /// The most that `resident` has been.
    pub peak: u64,
}

/// What was used within a time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// The time.
    pub span: Duration,
    /// Of a processor.
    pub processor: Duration,
    /// From the API server, after decryption nearly the same.
    pub received: u64,
}

impl Usage {
    /// Part of one processor.
    pub fn load(&self) -> f64 {
        self.processor.as_secs_f64() / self.span.as_secs_f64()
    }

    /// Bytes a second.
    pub fn rate(&self) -> f64 {
        // Far below 2^52.
        #[expect(
            clippy::cast_precision_loss,
            reason = "a count of bytes of some minutes"
        )]
        let received = self.received as f64;
        received / self.span.as_secs_f64()
    }
}

/// The agent of one node, in its present life.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    node: Machine,
    number: u32,
    proc: PathBuf,
}

impl Meter {
    pub(crate) fn of(node: &Machine) -> Result<Self> {
        let numbers = node.pids_of(AGENT)?;
        ensure!(
            numbers.len() == 1,
            "{} of {AGENT} run on {}",
            numbers.len(),
            node.name()
        );
        let proc = PathBuf::from(format!("/proc/{}/root/proc/{}", node.pid()?, numbers[0]));
        Ok(Self {
            node: node.clone(),
            number: numbers[0],
            proc,
        })
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        parse_status(&self.read("status")?)
    }

    /// What is used while something is done.
    pub(crate) fn during(&self, work: impl FnOnce() -> Result<()> + Send) -> Result<Usage> {
        let began = Instant::now();
        let processor = self.processor()?;
        let mut sockets = Sockets::default();
        sockets.look(&self.sockets()?);
        sockets.received = 0;
        std::thread::scope(|scope| -> Result<()> {
            let worker = scope.spawn(work);
            while !worker.is_finished() {
                wait::rest(LOOKS)?;
                sockets.look(&self.sockets()?);
            }
            match worker.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })?;
        sockets.look(&self.sockets()?);
        Ok(Usage {
            span: began.elapsed(),
            processor: self.processor()?.saturating_sub(processor),
            received: sockets.received,
        })
    }

    /// Of all its threads, of which none ends before it does.
    pub(crate) fn processor(&self) -> Result<Duration> {
        let threads = self.proc.join("task");
        let entries =
            fs::read_dir(&threads).with_context(|| format!("read {}", threads.display()))?;
        let mut sum = 0;
        for entry in entries {
            let path = entry.context("read a thread")?.path().join("schedstat");
            let text =
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let nanoseconds: Option<u64> = text.split(' ').next().and_then(|n| n.parse().ok());
            sum += nanoseconds.with_context(|| format!("{} says {text:?}", path.display()))?;
        }
        Ok(Duration::from_nanos(sum))
    }

    fn sockets(&self) -> Result<String> {
        let said = self.node.run(&["ss", "-tinpHO"])?;
        let ours = format!("pid={},", self.number);
        let lines: Vec<_> = said.lines().filter(|line| line.contains(&ours)).collect();
        Ok(lines.join("\n"))
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.proc.join(file);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }
}

/// Memory in the unit of the budgets.
pub(crate) fn mib(bytes: u64) -> String {
    let tenths = bytes * 10 / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn parse_status(status: &str) -> Result<Memory> {
    let value = |key: &str| {
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        number
            .map(|kibibytes| kibibytes * 1024)
            .with_context(|| format!("no {key} in a status"))
    };
    Ok(Memory {
        resident: value("VmRSS")?,
        anonymous: value("RssAnon")?,
        peak: value("VmHWM")?,
    })
}

/// What was received, over connections that come and go.
#[derive(Debug, Default)]
struct Sockets {
    seen: BTreeMap<String, u64>,
    received: u64,
}

impl Sockets {
    fn look(&mut self, said: &str) {
        let mut seen = BTreeMap::new();
        for line in said.lines() {
            let Some(own) = line.split_whitespace().nth(3) else {
                continue;
            };
            let count = line
                .split_whitespace()
                .find_map(|word| word.strip_prefix("bytes_received:")?.parse().ok())
                .unwrap_or(0);
            let before = self.seen.get(own).copied().unwrap_or(0);
            self.received += u64::saturating_sub(count, before);
            seen.insert(own.to_owned(), count);
        }
        self.seen = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let memory = parse_status("VmHWM:\t 9000 kB\nVmRSS:\t 7000 kB\nRssAnon:\t 3000 kB\n");
        let memory = memory.unwrap();
        assert_eq!(
            [memory.resident, memory.anonymous, memory.peak],
            [7000, 3000, 9000].map(|k| k * 1024)
        );
    }

    #[test]
    fn a_connection_that_is_new_counts_from_its_beginning() {
        let line = |port: u16, count: u64| {
            format!(
                "ESTAB 0 0 10.0.0.1:{port} 10.0.0.2:6443 users:((\"x\",pid=5,fd=9)) cubic bytes_received:{count} segs_in:4\n"
            )
        };
        let mut sockets = Sockets::default();
        sockets.look(&line(1, 1000));
        sockets.received = 0;
        sockets.look(&(line(1, 1200) + &line(2, 50)));
        sockets.look(&line(2, 80));
        assert_eq!(sockets.received, 280);
    }
}
