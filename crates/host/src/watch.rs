//! Says that something in a folder has changed: inotify(7).
//!
//! What it was is not told: whoever is woken looks at the folder itself, because events can be lost and names can be swapped
//! by symlink. A file that is written in place counts when its writer closes it, so that nobody reads half of it.

use crate::error::Error;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::path::Path;

/// Room for events; the kernel gives no more of them at once than fit, and at least one always does.
const ROOM: usize = 4096;

/// Folders that are watched.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
    /// Those of which only the folders in them count.
    outer: BTreeSet<i32>,
}

impl Watch {
    /// Watches nothing yet. Its descriptor does not block and becomes readable when there is something to [`drain`].
    ///
    /// [`drain`]: Watch::drain
    ///
    /// # Errors
    /// The user has no inotify instance left.
    pub fn open() -> Result<Self, Error> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(|errno| Error::new("open inotify", errno))?;
        Ok(Self {
            inotify,
            outer: BTreeSet::new(),
        })
    }

    /// Watches for everything that appears in the folder, vanishes, or is written. Again for the same folder is no harm.
    ///
    /// # Errors
    /// It is not there, or the user has no watch left.
    pub fn entries(&mut self, folder: &Path) -> Result<(), Error> {
        let written = WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB;
        let watch = self.add(folder, written)?;
        self.outer.remove(&watch);
        Ok(())
    }

    /// Watches for folders that appear in the folder or vanish; files in it do not count.
    ///
    /// # Errors
    /// It is not there, or the user has no watch left.
    pub fn folders(&mut self, folder: &Path) -> Result<(), Error> {
        let watch = self.add(folder, WatchFlags::empty())?;
        self.outer.insert(watch);
        Ok(())
    }

    /// Takes what has happened since the last time and says whether something did.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn drain(&mut self) -> Result<bool, Error> {
        let mut room = [MaybeUninit::uninit(); ROOM];
        let mut events = Reader::new(&self.inotify, &mut room);
        let mut seen = false;
        loop {
            match events.next() {
                Ok(event) => {
                    let of_folder = ReadFlags::ISDIR
                        | ReadFlags::DELETE_SELF
                        | ReadFlags::MOVE_SELF
                        | ReadFlags::QUEUE_OVERFLOW;
                    seen |=
                        !self.outer.contains(&event.wd()) || event.events().intersects(of_folder);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(seen),
                Err(errno) => return Err(Error::new("read inotify", errno)),
            }
        }
    }

    fn add(&self, folder: &Path, more: WatchFlags) -> Result<i32, Error> {
        let names =
            WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
        let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        inotify::add_watch(&self.inotify, folder, names | itself | more)
            .map_err(|errno| Error::new(format!("watch {}", folder.display()), errno))
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_appears_is_written_or_vanishes_is_seen_once() {
        let root = std::env::temp_dir().join(format!("podwire-watch-{}", std::process::id()));
        let inner = root.join("inner");
        fs::create_dir_all(&inner).unwrap();
        let mut watch = Watch::open().unwrap();
        watch.folders(&root).unwrap();
        watch.entries(&inner).unwrap();
        assert!(!watch.drain().unwrap());
        fs::write(root.join("status"), "a file in the outer folder").unwrap();
        assert!(!watch.drain().unwrap());
        fs::create_dir(root.join("another")).unwrap();
        assert!(watch.drain().unwrap());
        fs::write(inner.join("file"), "").unwrap();
        assert!(watch.drain().unwrap());
        assert!(!watch.drain().unwrap());
        fs::rename(inner.join("file"), inner.join("other")).unwrap();
        assert!(watch.drain().unwrap());
        fs::remove_dir_all(&root).unwrap();
        assert!(watch.drain().unwrap());
    }
}
