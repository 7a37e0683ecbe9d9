//! What went wrong with the machine: operation and object, the error number, and the kernel's own words.
//!
//! Code asks for the number ([`Error::is_gone`] and the like); text is for people and never matched. The kernel's words are
//! those of the extended acknowledgement (netlink documentation, "Extended ACK"), where the kernel has any.

use rustix::io::Errno;
use std::fmt;
use std::io;

/// `ERESTART`: to a batch that names a generation of the ruleset, the answer that the ruleset has moved on.
const ERESTART: i32 = 85;

/// One failed operation; prints as `add route 10.1.2.0/24 via 192.168.0.2 dev eth0: Network is unreachable (kernel:
/// Nexthop has invalid gateway)`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::error_impl_error,
    reason = "the crate has this one error; it is read as `host::Error`"
)]
pub struct Error {
    operation: String,
    errno: Option<Errno>,
    /// The kernel's words; where there is no number, the reason.
    words: String,
}

impl Error {
    /// The kernel refused `operation` with this number.
    #[must_use]
    pub fn new(operation: impl Into<String>, errno: Errno) -> Self {
        Self {
            operation: operation.into(),
            errno: Some(errno),
            words: String::new(),
        }
    }

    /// `operation` failed for a reason that is no error number.
    #[must_use]
    pub fn because(operation: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            operation: operation.into(),
            errno: None,
            words: reason.into(),
        }
    }

    /// `operation` failed in the standard library.
    #[must_use]
    pub fn io(operation: impl Into<String>, error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(errno) => Self::new(operation, errno),
            None => Self::because(operation, error.to_string()),
        }
    }

    /// With the kernel's own words.
    #[must_use]
    pub fn kernel(mut self, words: impl Into<String>) -> Self {
        self.words = words.into();
        self
    }

    /// As the error of a larger operation; what failed within it stands where the kernel's words would.
    #[must_use]
    pub fn within(self, operation: impl Into<String>) -> Self {
        let words = if self.words.is_empty() {
            self.operation
        } else {
            format!("{}: {}", self.operation, self.words)
        };
        Self {
            operation: operation.into(),
            errno: self.errno,
            words,
        }
    }

    /// What was tried.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// The error number, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// The thing is not there (any more).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.errno.is_some_and(|errno| {
            [
                Errno::NOENT,
                Errno::SRCH,
                Errno::NODEV,
                Errno::ADDRNOTAVAIL,
                Errno::NXIO,
            ]
            .contains(&errno)
        })
    }

    /// The thing is there already.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.errno == Some(Errno::EXIST)
    }

    /// Another thing has the place; nf_tables tells apart whether it is the same or another one.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.is_there() || self.errno == Some(Errno::BUSY)
    }

    /// The kernel has nothing of the kind.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        let none = [Errno::PROTONOSUPPORT, Errno::OPNOTSUPP, Errno::AFNOSUPPORT];
        self.errno.is_some_and(|errno| none.contains(&errno))
    }

    /// The ruleset is another one than that which was read.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.errno
            .is_some_and(|errno| errno.raw_os_error() == ERESTART)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(errno) = self.errno else {
            return write!(f, "{}: {}", self.operation, self.words);
        };
        write!(f, "{}: {}", self.operation, text(errno))?;
        if self.words.is_empty() {
            Ok(())
        } else {
            write!(f, " (kernel: {})", self.words)
        }
    }
}

impl std::error::Error for Error {}

/// The C library's text, without the number that Rust puts behind it.
fn text(errno: Errno) -> String {
    let mut text = io::Error::from(errno).to_string();
    if let Some(tail) = text.rfind(" (os error ") {
        text.truncate(tail);
    }
    text
}

/// What became of a list of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The changes that failed, by their place in the list.
    pub failed: Vec<(usize, Error)>,
}

impl Report {
    /// The first failure, for those who stop there.
    ///
    /// # Errors
    /// The first change that failed.
    pub fn ok(self) -> Result<(), Error> {
        match self.failed.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_tried_and_why_it_failed() {
        let error = Error::new("add route 10.1.2.0/24 via 192.168.0.2", Errno::NETUNREACH);
        assert_eq!(
            error.to_string(),
            "add route 10.1.2.0/24 via 192.168.0.2: Network unreachable"
                .replace("Network unreachable", &text(Errno::NETUNREACH))
        );
        assert!(
            error
                .kernel("Nexthop has invalid gateway")
                .to_string()
                .ends_with(" (kernel: Nexthop has invalid gateway)")
        );
    }

    #[test]
    fn the_number_decides_what_an_error_means() {
        assert!(Error::new("x", Errno::NODEV).is_gone());
        assert!(Error::new("x", Errno::EXIST).is_there());
        assert!(Error::new("x", Errno::from_raw_os_error(ERESTART)).is_stale());
        assert!(!Error::because("x", "No such file or directory").is_gone());
    }
}
