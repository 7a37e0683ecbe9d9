//! Who is in charge of the node: the agent that holds the lock on `agent.lock` in the run folder.
//!
//! An flock(2) that the kernel frees when the process ends, however it ends. The file holds the agent's process id, for
//! people. Whoever only asks takes the lock shared and lets it go at once; askers do not disturb each other, and an agent
//! that starts meanwhile tries again.

use crate::error::Error;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The lock's file in the run folder.
pub const FILE: &str = "agent.lock";

/// The lock; held for the agent's life.
#[derive(Debug)]
pub struct Charge {
    _lock: File,
}

/// Whether the charge could be had.
#[derive(Debug)]
pub enum Claim {
    /// It is ours.
    Ours(Charge),
    /// Another process has it; its process id, where the file says it. None while somebody only asks.
    Taken(Option<u32>),
}

/// Takes charge of the node. The run folder is made if it is not there.
///
/// # Errors
/// The folder or the file cannot be made or written.
pub fn take(run: &Path) -> Result<Claim, Error> {
    let path = run.join(FILE);
    let fail = |operation: &str| {
        let operation = format!("{operation} {}", path.display());
        move |error| Error::io(operation, &error)
    };
    let mut folders = DirBuilder::new();
    folders.recursive(true).mode(0o700);
    folders.create(run).map_err(fail("make the folder of"))?;
    let mut options = OpenOptions::new();
    // For root only: whoever can open a file can lock it, and would be taken for the agent.
    options.mode(0o600);
    // Not truncated: until the lock is ours, what it says is another agent's.
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(&path).map_err(fail("open"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Claim::Taken(pid(&mut file))),
        Err(TryLockError::Error(error)) => return Err(fail("lock")(error)),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.write_all(pid.as_bytes()))
        .map_err(fail("write"))?;
    Ok(Claim::Ours(Charge { _lock: file }))
}

/// Whether an agent is in charge.
///
/// # Errors
/// The file is there and cannot be opened.
pub fn is_taken(run: &Path) -> Result<bool, Error> {
    let path = run.join(FILE);
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        other => other.map_err(|error| Error::io(format!("open {}", path.display()), &error))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => {
            Err(Error::io(format!("lock {}", path.display()), &error))
        }
    }
}

fn pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_in_charge_and_others_learn_who() {
        let run = std::env::temp_dir().join(format!("podwire-charge-{}", std::process::id()));
        assert!(!is_taken(&run).unwrap());
        let Claim::Ours(charge) = take(&run).unwrap() else {
            panic!("nobody else is there");
        };
        assert!(is_taken(&run).unwrap());
        assert!(
            matches!(take(&run).unwrap(), Claim::Taken(Some(pid)) if pid == std::process::id())
        );
        drop(charge);
        assert!(!is_taken(&run).unwrap());
        std::fs::remove_dir_all(&run).unwrap();
    }

    #[test]
    fn nobody_but_root_can_take_the_lock() {
        use std::os::unix::fs::MetadataExt as _;
        let above = std::env::temp_dir().join(format!("podwire-root-{}", std::process::id()));
        let run = above.join("run");
        let _charge = take(&run).unwrap();
        for (path, mode) in [(&above, 0o700), (&run, 0o700), (&run.join(FILE), 0o600)] {
            let found = std::fs::metadata(path).unwrap().mode() & 0o777;
            assert_eq!(found, mode, "{}", path.display());
        }
        std::fs::remove_dir_all(&above).unwrap();
    }
}
