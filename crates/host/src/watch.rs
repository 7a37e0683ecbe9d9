//! Says that something in a folder has changed, or a file: inotify(7).
//!
//! What it was is not told: whoever is woken looks at the folder itself, because events can be lost and names can be swapped
//! by symlink. A file that is written in place counts when its writer closes it, so that nobody reads half of it.

use crate::error::Error;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

/// Room for events; the kernel gives no more of them at once than fit, and at least one always does.
const ROOM: usize = 4096;

/// Folders that are watched.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
    /// Those of which only the folders in them count.
    outer: BTreeSet<i32>,
    /// The one of which only a file in it counts, and that only if it says something else.
    file: Option<(i32, Spoken)>,
}

/// A file, and what it said when it was last read or written here.
#[derive(Debug)]
struct Spoken {
    path: PathBuf,
    said: Option<String>,
}

impl Spoken {
    /// Whether it says something else. One that cannot be read counts as one that is not there.
    fn is_news(&mut self) -> bool {
        let says = fs::read_to_string(&self.path).ok();
        let is_news = says != self.said;
        self.said = says;
        is_news
    }
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
            file: None,
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

    /// Watches for one file to say something else than now. Again for the same one is no harm.
    ///
    /// # Errors
    /// Its folder is not there, or the user has no watch left.
    pub fn file(&mut self, path: &Path) -> Result<(), Error> {
        let folder = path.parent().unwrap_or_else(|| Path::new("/"));
        let watch = self.add(folder, WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB)?;
        self.outer.remove(&watch);
        match &mut self.file {
            Some((known, _)) if *known == watch => {}
            Some((known, spoken)) if spoken.path == path => *known = watch,
            Some(_) | None => {
                let path = path.to_owned();
                let mut spoken = Spoken { path, said: None };
                spoken.is_news();
                self.file = Some((watch, spoken));
            }
        }
        Ok(())
    }

    /// From now on it is no news that the file says this.
    pub fn expect(&mut self, text: &str) {
        if let Some((_, spoken)) = &mut self.file {
            spoken.said = Some(text.to_owned());
        }
    }

    /// Takes what has happened since the last time and says whether something did.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn drain(&mut self) -> Result<bool, Error> {
        let mut room = [MaybeUninit::uninit(); ROOM];
        let mut events = Reader::new(&self.inotify, &mut room);
        let (mut seen, mut of_file) = (false, false);
        loop {
            match events.next() {
                Ok(event) => {
                    let of_folder = ReadFlags::ISDIR
                        | ReadFlags::DELETE_SELF
                        | ReadFlags::MOVE_SELF
                        | ReadFlags::QUEUE_OVERFLOW;
                    let is_file = matches!(self.file, Some((watch, _)) if watch == event.wd());
                    of_file |= is_file;
                    let is_plain = is_file || self.outer.contains(&event.wd());
                    seen |= !is_plain || event.events().intersects(of_folder);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let file = self.file.as_mut().filter(|_| of_file);
                    return Ok(file.is_some_and(|(_, spoken)| spoken.is_news()) | seen);
                }
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

    #[test]
    fn a_file_is_news_when_it_says_something_else_and_was_not_expected_to() {
        let root = std::env::temp_dir().join(format!("podwire-file-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let file = root.join("own");
        let mut watch = Watch::open().unwrap();
        watch.file(&file).unwrap();
        fs::write(&file, "one").unwrap();
        assert!(watch.drain().unwrap());
        fs::write(root.join("other"), "somebody else's").unwrap();
        fs::write(&file, "one").unwrap();
        assert!(!watch.drain().unwrap());
        watch.expect("two");
        watch.file(&file).unwrap();
        fs::write(root.join("unfinished"), "two").unwrap();
        fs::rename(root.join("unfinished"), &file).unwrap();
        assert!(!watch.drain().unwrap());
        fs::write(&file, "three").unwrap();
        assert!(watch.drain().unwrap());
        fs::remove_file(&file).unwrap();
        assert!(watch.drain().unwrap());
        fs::remove_dir_all(&root).unwrap();
        assert!(watch.drain().unwrap());
    }

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
