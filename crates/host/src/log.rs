//! A line for a log file, written so that nobody has to wait for it.
//!
//! What the line says is the caller's business. It is written in one piece behind what is there, so that processes that
//! write at once do not mix. The file's path comes from a configuration and may lead to anything, a pipe too (fifo(7)):
//! whoever waits there for a reader waits for ever.

use crate::error::Error;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, write};
use std::path::Path;

/// Appends `line`, which brings its own end, to the file, and makes the file if it is not there.
///
/// # Errors
/// The file cannot be opened, or takes less than the whole line at once.
pub fn append(path: &Path, line: &[u8]) -> Result<(), Error> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    let never_wait = OFlags::NONBLOCK | OFlags::NOCTTY;
    let append = || {
        let file = openat(CWD, path, flags | never_wait, Mode::from_raw_mode(0o644))?;
        match write(&file, line)? {
            length if length == line.len() => Ok(()),
            _ => Err(Errno::NOSPC),
        }
    };
    append().map_err(|errno| Error::new(format!("append to {}", path.display()), errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FileType, mknodat};

    #[test]
    fn lines_stand_behind_each_other_and_a_pipe_without_a_reader_is_not_waited_for() {
        let folder = std::env::temp_dir().join(format!("podwire-log-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let (file, pipe) = (folder.join("file"), folder.join("pipe"));
        append(&file, b"one\n").unwrap();
        append(&file, b"two\n").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"one\ntwo\n");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(
            append(&pipe, b"one\n").unwrap_err().errno(),
            Some(Errno::NXIO)
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
