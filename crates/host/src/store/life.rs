//! The life of the kernel that the state belongs to.
//!
//! Pods do not survive their kernel, so another boot id means that every record and every lease here is dead, also where
//! `/run` is not tmpfs. Who notices it takes the lock on `boot`, looks again, forgets and writes the id last: a kill on the
//! way leaves the old id and so the rest of the work to the next caller. In the usual case nothing is locked.

use super::names;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ftruncate, mkdirat, openat, unlinkat};
use rustix::io::{Errno, pread};
use std::path::Path;

/// Name of the file that holds the boot id.
pub(super) const BOOT: &str = "boot";

/// Leases go first: a lease implies a record, at every instant.
const FOLDERS: [&str; 3] = ["leases", "attachments", "hints"];

/// Makes the network's folder and those above it.
pub(super) fn make(path: &Path) -> Result<(), Errno> {
    match mkdirat(CWD, path, Mode::RWXU) {
        Err(Errno::NOENT) => make(path.parent().ok_or(Errno::NOENT)?)?,
        Err(Errno::EXIST) => return Ok(()),
        other => return other,
    }
    make_one(CWD, path)
}

/// Leaves the folder with what belongs to this life of the kernel, and only that.
pub(super) fn settle(folder: &OwnedFd, kernel: &str) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match openat(folder, BOOT, flags, Mode::empty()) {
        Ok(boot) if reads(&boot, kernel)? => Ok(()),
        Ok(_) | Err(Errno::NOENT) => begin(folder, kernel),
        Err(errno) => Err(errno),
    }
}

fn begin(folder: &OwnedFd, kernel: &str) -> Result<(), Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let boot = openat(folder, BOOT, flags, Mode::RUSR | Mode::WUSR)?;
    super::lock(&boot)?;
    if reads(&boot, kernel)? {
        return Ok(());
    }
    for below in FOLDERS {
        make_one(folder, Path::new(below))?;
        for name in names(folder, below)? {
            match unlinkat(folder, format!("{below}/{name}"), AtFlags::empty()) {
                // A folder in here is somebody else's, and in nobody's way.
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    // A generation of the ruleset means nothing in another life.
    match unlinkat(folder, super::order::FILE, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    ftruncate(&boot, 0)?;
    super::record::write(&boot, kernel.as_bytes())
}

fn reads(boot: &OwnedFd, kernel: &str) -> Result<bool, Errno> {
    let mut bytes = [0; 64];
    let length = pread(boot, &mut bytes, 0)?;
    Ok(&bytes[..length] == kernel.as_bytes())
}

fn make_one(folder: impl AsFd, name: &Path) -> Result<(), Errno> {
    match mkdirat(folder, name, Mode::RWXU) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}
