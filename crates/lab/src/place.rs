//! A place where code and programs run: the namespaces of a node, a pod or a segment.
//!
//! The place is held open by descriptors. Work enters it on a thread of its own, so that the
//! caller's thread never changes namespace, and any number of works run in it at once.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, Weak};

use anyhow::{Context, Result, anyhow};

use crate::book::{Book, lock};
use crate::namespace;
use crate::process::Command;

/// A network namespace, for nodes and pods together with a mount namespace.
pub struct Place {
    name: String,
    doors: Mutex<Option<Doors>>,
    book: Weak<Book>,
}

/// What keeps the namespaces alive.
#[derive(Clone)]
pub(crate) struct Doors {
    pub(crate) network: Arc<OwnedFd>,
    pub(crate) mounts: Option<Arc<OwnedFd>>,
}

impl Place {
    pub(crate) fn new(book: &Arc<Book>, name: &str, doors: Doors) -> Arc<Self> {
        let place = Arc::new(Self {
            name: name.to_owned(),
            doors: Mutex::new(Some(doors)),
            book: Arc::downgrade(book),
        });
        book.enlist(Arc::clone(&place));
        place
    }

    /// The name that it was given; a pod's is `node/pod`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the work inside, on a thread of its own, and returns what it returns.
    ///
    /// # Panics
    /// When the work panics, with its panic; and when the place is gone.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match self.inside(work) {
            Ok(value) => value,
            Err(error) => std::panic::panic_any(format!("{error:#}")),
        }
    }

    /// Runs work that can fail inside, and says in the error where it was.
    pub fn attempt<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.inside(work)
            .flatten()
            .with_context(|| format!("in {}", self.name))
    }

    /// Prepares a program to run inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command<'_> {
        Command::new(self, program.as_ref())
    }

    /// The shell command with which a person enters the place while the laboratory lives.
    pub fn enter_line(&self) -> Option<String> {
        let doors = self.doors().ok()?;
        let pid = std::process::id();
        let mut line = "nsenter".to_owned();
        if in_user_namespace() {
            line.push_str(&format!(
                " --user=/proc/{pid}/ns/user --preserve-credentials"
            ));
        }
        line.push_str(&format!(
            " --net=/proc/{pid}/fd/{}",
            doors.network.as_raw_fd()
        ));
        if let Some(mounts) = &doors.mounts {
            line.push_str(&format!(" --mount=/proc/{pid}/fd/{}", mounts.as_raw_fd()));
        }
        Some(line)
    }

    pub(crate) fn doors(&self) -> Result<Doors> {
        lock(&self.doors).clone().ok_or_else(|| {
            anyhow!(
                "{} is gone: it was destroyed, or its laboratory ended",
                self.name
            )
        })
    }

    /// Puts other namespaces behind the same name, as a reboot does.
    pub(crate) fn replace(&self, doors: Doors) {
        *lock(&self.doors) = Some(doors);
    }

    pub(crate) fn close(&self) {
        *lock(&self.doors) = None;
    }

    pub(crate) fn book(&self) -> Result<Arc<Book>> {
        self.book
            .upgrade()
            .ok_or_else(|| anyhow!("the laboratory of {} has ended", self.name))
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let doors = self.doors()?;
        namespace::apart(&self.name, move || -> Result<T> {
            namespace::enter(
                doors.network.as_fd(),
                doors.mounts.as_ref().map(|mounts| mounts.as_fd()),
            )?;
            // Only the place itself keeps the namespaces, not work that lasts longer than it.
            drop(doors);
            Ok(work())
        })?
        .with_context(|| format!("enter {}", self.name))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The first user namespace maps every id to itself; in any other one nsenter must enter it too.
fn in_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"])
}
