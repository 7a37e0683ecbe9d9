//! Sysctls of the network, below `/proc/sys/net` of the thread's network namespace.
//!
//! Follows proc_sys_net(5) and the kernel documentation "Networking sysctls". In a container `/proc/sys` is read-only even
//! with CAP_NET_ADMIN, hence the root can be another mount of `/proc/sys/net`. A value that is right already is not
//! written: writing some of them (forwarding) has effects of its own.

mod former;

pub use former::former;

use crate::Error;
use model::net::Sysctl;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, pread, pwrite};
use std::path::{Path, PathBuf};

/// More than any sysctl that is asked for holds: they are numbers.
const LONGEST: usize = 256;

/// Where the kernel itself shows them.
pub const ROOT: &str = "/proc/sys/net";

/// The sysctls below one root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctls {
    root: PathBuf,
}

impl Default for Sysctls {
    fn default() -> Self {
        Self::below(Path::new(ROOT))
    }
}

impl Sysctls {
    /// Those below `root`, a mount of `/proc/sys/net`.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The value of `key`, such as `ipv4/ip_forward`; none if the kernel does not have it.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(&self, key: &str) -> Result<Option<String>, Error> {
        match self.open(key, OFlags::RDONLY).and_then(|file| value(&file)) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::new(format!("read sysctl net/{key}"), errno)),
        }
    }

    /// Gives a sysctl of the node its value, as [`Sysctls::write`] does, and notes below `notes` what it was before. What has no
    /// state folder, or will be gone together with its link, needs no note.
    ///
    /// # Errors
    /// It is not there or cannot be written.
    pub fn change(&self, sysctl: &Sysctl, notes: Option<&Path>) -> Result<bool, Error> {
        if let Some(run) = notes {
            // What is not noted is not put back some day; that is no reason to leave pods without a way now.
            drop(self.note(sysctl, run));
        }
        self.write(sysctl)
    }

    /// Gives a sysctl its value, unless it has it; says whether it was written.
    ///
    /// # Errors
    /// It is not there or cannot be written.
    pub fn write(&self, sysctl: &Sysctl) -> Result<bool, Error> {
        self.set(sysctl)
            .map_err(|errno| Error::new(format!("set {sysctl}"), errno))
    }

    fn set(&self, sysctl: &Sysctl) -> Result<bool, Errno> {
        let file = match self.open(&sysctl.key, OFlags::RDWR) {
            // What cannot be written may be right all the same.
            Err(refused @ (Errno::ROFS | Errno::ACCESS | Errno::PERM)) => {
                let right = self
                    .open(&sysctl.key, OFlags::RDONLY)
                    .and_then(|file| value(&file))
                    .is_ok_and(|value| value == sysctl.value);
                return if right { Ok(false) } else { Err(refused) };
            }
            other => other?,
        };
        if value(&file)? == sysctl.value {
            return Ok(false);
        }
        // In one piece, at the start: the kernel takes no value in parts.
        pwrite(&file, sysctl.value.as_bytes(), 0).map(|_| true)
    }

    fn open(&self, key: &str, access: OFlags) -> Result<OwnedFd, Errno> {
        openat(
            CWD,
            self.root.join(key),
            access | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }
}

fn value(file: &OwnedFd) -> Result<String, Errno> {
    let mut bytes = [0; LONGEST];
    let length = pread(file, &mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..length])
        .trim_end()
        .to_owned())
}
