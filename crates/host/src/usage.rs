//! What the calling process uses of the machine.
//!
//! Follows proc_pid_status(5), proc_pid_fd(5), clock_gettime(2) and getrlimit(2). Only of the process itself: nothing is
//! asked about others.

use crate::Error;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::time::Duration;

const STATUS: &str = "/proc/self/status";
const DESCRIPTORS: &str = "/proc/self/fd";

/// What is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is really there, in bytes.
    pub resident: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// How many of them may be open; none: any number.
    pub most_descriptors: Option<u64>,
    /// Time on a processor, of all threads.
    pub cpu: Duration,
}

/// What this process uses.
///
/// # Errors
/// `/proc` is not there.
pub fn own() -> Result<Usage, Error> {
    let status =
        fs::read_to_string(STATUS).map_err(|error| Error::io(format!("read {STATUS}"), &error))?;
    let descriptors = fs::read_dir(DESCRIPTORS)
        .map_err(|error| Error::io(format!("list {DESCRIPTORS}"), &error))?
        .count();
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Ok(Usage {
        resident: number(&status, "VmRSS:") * 1024,
        threads: number(&status, "Threads:"),
        // The one that the list itself is read through is none.
        descriptors: descriptors.saturating_sub(1) as u64,
        most_descriptors: getrlimit(Resource::Nofile).current,
        cpu: Duration::try_from(spent).unwrap_or_default(),
    })
}

/// The number behind a key of `/proc/self/status`; 0 where the kernel does not tell.
fn number(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let word = line.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_memory_time_a_thread_and_its_streams() {
        let usage = own().unwrap();
        assert!(usage.resident > 64 << 10, "{usage:?}");
        assert!(usage.threads >= 1 && usage.descriptors >= 3, "{usage:?}");
        assert!(usage.cpu > Duration::ZERO, "{usage:?}");
        // Other tests of this process open a few at the same time.
        let files: Vec<_> = (0..200).map(|_| fs::File::open(STATUS).unwrap()).collect();
        let with = own().unwrap().descriptors;
        drop(files);
        let without = own().unwrap().descriptors;
        assert!(with.abs_diff(without + 200) < 100, "{with}, {without}");
    }
}
