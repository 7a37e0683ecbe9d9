//! The clock that orders processes, and the name of the kernel's current life.
//!
//! `CLOCK_BOOTTIME` is one clock for every process and every namespace without a time offset; it does not jump, and it goes
//! on during suspend. File times and the wall clock cannot order two processes: a file that is made after `clock_gettime`
//! may carry an earlier mtime.

use crate::error::Error;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the kernel started.
#[must_use]
pub fn boottime_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// The kernel's boot id: another id is another life.
///
/// # Errors
/// `/proc` is not there.
pub fn boot_id() -> Result<String, Error> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = || -> Result<String, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(CWD, PATH, flags, Mode::empty())?;
        let mut bytes = [0; 64];
        let length = read(&file, &mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..length]).trim().to_owned())
    };
    text().map_err(|errno| Error::new(format!("read {PATH}"), errno))
}
