//! Sysctls of the network, below `/proc/sys/net` of the thread's network namespace.
//!
//! Follows proc_sys_net(5) and the kernel documentation "Networking sysctls". In a container `/proc/sys` is read-only even
//! with CAP_NET_ADMIN, hence the root can be another mount of `/proc/sys/net`. A value that is right already is not
//! written: writing some of them (forwarding) has effects of its own.

use crate::Error;
use model::net::Sysctl;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

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
        match std::fs::read_to_string(self.root.join(key)) {
            Ok(text) => Ok(Some(text.trim_end().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("read sysctl net/{key}"), &error)),
        }
    }

    /// Gives a sysctl its value, unless it has it; says whether it was written.
    ///
    /// # Errors
    /// It is not there or cannot be written.
    pub fn write(&self, sysctl: &Sysctl) -> Result<bool, Error> {
        if self.read(&sysctl.key)?.as_ref() == Some(&sysctl.value) {
            return Ok(false);
        }
        std::fs::write(self.root.join(&sysctl.key), &sysctl.value)
            .map(|()| true)
            .map_err(|error| Error::io(format!("set {sysctl}"), &error))
    }
}
