//! Network namespaces by path, and doing something inside one.
//!
//! Follows network_namespaces(7) and setns(2). A namespace is entered by one thread, for the length of one call; what is
//! opened there (a netlink socket above all) belongs to it afterwards as well: `netns.enter(Rtnl::open)`.

use crate::Error;
use model::attachment::Standpoint;
use model::reclaim::Door;
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// `NSFS_MAGIC`: the file system that namespaces are files of.
const NSFS: u64 = 0x6e73_6673;
/// The calling thread's own namespaces.
const OWN: &str = "/proc/thread-self/ns";

/// Why a path leads to no network namespace that can be a pod's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetnsError {
    /// Nothing has this path (any more).
    #[error("{0} does not exist")]
    Gone(String),
    /// It is a file, but no network namespace; a path whose namespace was unmounted reads like this.
    #[error("{0} is no network namespace")]
    NotOne(String),
    /// It is the namespace that this process is in: the node's own.
    #[error("{0} is the network namespace of the node itself")]
    Own(String),
    /// It could not be looked at.
    #[error(transparent)]
    Other(#[from] Error),
}

/// An open network namespace, kept alive by being open.
#[derive(Debug)]
pub struct Netns {
    file: OwnedFd,
    /// The folder of the namespaces of the thread that opened it. Kept, because finding it again in `/proc` is slow.
    own: OwnedFd,
    /// The way back: where that thread was.
    home: OwnedFd,
    path: String,
    inode: u64,
    /// Inode of `home`.
    node: u64,
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Netns {
    /// Opens the network namespace at `path`. [`Netns::enter`] comes back to the namespace that the thread is in now.
    ///
    /// # Errors
    /// What the path leads to instead.
    pub fn open(path: &Path) -> Result<Self, NetnsError> {
        Ok(Self::open_and(path, || ())?.0)
    }

    /// Opens it and runs `f` inside it, as [`Netns::enter`] does: whether a path leads to a namespace of the network only
    /// entering it tells, and so it is entered once.
    ///
    /// # Errors
    /// As [`Netns::open`].
    pub fn open_and<T>(path: &Path, f: impl FnOnce() -> T) -> Result<(Self, T), NetnsError> {
        let name = path.display().to_string();
        // Without O_NONBLOCK, a path that leads to a pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(NetnsError::Gone(name)),
            // A socket's file.
            Err(Errno::NXIO) => return Err(NetnsError::NotOne(name)),
            Err(errno) => return Err(failed("open network namespace", &name, errno).into()),
        };
        let of = |errno| failed("look at network namespace", &name, errno);
        if u64::try_from(rustix::fs::fstatfs(&file).map_err(of)?.f_type) != Ok(NSFS) {
            return Err(NetnsError::NotOne(name));
        }
        let stat = rustix::fs::fstat(&file).map_err(of)?;
        let (own, home) = here()?;
        let node = rustix::fs::fstat(&home).map_err(of)?;
        if same(&stat, &node) {
            return Err(NetnsError::Own(name));
        }
        // Whether it is a namespace of the network, only entering it tells.
        match enter(file.as_fd()) {
            Ok(()) => {}
            Err(Errno::INVAL) => return Err(NetnsError::NotOne(name)),
            Err(errno) => return Err(failed("enter network namespace", &name, errno).into()),
        }
        let way_back = Home(Some(home.as_fd()));
        let result = f();
        way_back.back()?;
        let netns = Self {
            file,
            own,
            home,
            path: name,
            inode: stat.st_ino,
            node: node.st_ino,
        };
        Ok((netns, result))
    }

    /// Its inode: no other network namespace that lives has the same.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// From where the thread saw the machine that opened it. What cannot be looked at is 0, which no namespace has: whoever
    /// judges the pod by its path then takes himself to stand elsewhere.
    #[must_use]
    pub fn standpoint(&self) -> Standpoint {
        Standpoint {
            net: self.node,
            mnt: inode(&self.own, "mnt").unwrap_or_default(),
            pid: inode(&self.own, "pid").unwrap_or_default(),
        }
    }

    /// Runs `f` inside it. Only this thread is inside, and only for the length of the call: `f` should leave a socket or
    /// an open file behind and do the rest outside.
    ///
    /// # Errors
    /// It could not be entered (`f` did not run), or not be left: then the thread is in the wrong namespace, and the
    /// program should end.
    pub fn enter<T>(&self, f: impl FnOnce() -> T) -> Result<T, Error> {
        let home = Home(Some(self.home.as_fd()));
        enter(self.as_fd())
            .map_err(|errno| failed("enter network namespace", &self.path, errno))?;
        let result = f();
        home.back()?;
        Ok(result)
    }
}

/// From where this thread sees the machine.
///
/// # Errors
/// `/proc` is not there, or is that of other processes.
pub fn standpoint() -> Result<Standpoint, Error> {
    Ok(Standpoint {
        net: own("net")?,
        mnt: own("mnt")?,
        pid: own("pid")?,
    })
}

/// Inode of this thread's namespace of that kind.
fn own(kind: &str) -> Result<u64, Error> {
    let of = |errno| failed("look at namespace", &format!("{OWN}/{kind}"), errno);
    inode(&folder().map_err(of)?, kind).map_err(of)
}

fn inode(own: &OwnedFd, kind: &str) -> Result<u64, Errno> {
    Ok(rustix::fs::statat(own, kind, AtFlags::empty())?.st_ino)
}

fn folder() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(OWN, flags, Mode::empty())
}

/// What `path` leads to. Nothing is opened and no namespace is entered, so it needs no capability.
#[must_use]
pub fn door(path: &Path) -> Door {
    let look = || -> Result<Door, Errno> {
        if u64::try_from(rustix::fs::statfs(path)?.f_type) != Ok(NSFS) {
            return Ok(Door::Other);
        }
        Ok(Door::Namespace(rustix::fs::stat(path)?.st_ino))
    };
    match look() {
        Ok(door) => door,
        // A process that is just ending has no namespaces any more.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::SRCH) => Door::Gone,
        Err(_) => Door::Shut,
    }
}

/// The way back, taken also when the call inside panics.
struct Home<'a>(Option<BorrowedFd<'a>>);

impl Home<'_> {
    fn back(mut self) -> Result<(), Error> {
        self.0.take().map_or(Ok(()), leave)
    }
}

impl Drop for Home<'_> {
    fn drop(&mut self) {
        if let Some(home) = self.0 {
            let _panicking_already = leave(home);
        }
    }
}

/// The folder of this thread's namespaces, and that of the network.
fn here() -> Result<(OwnedFd, OwnedFd), Error> {
    let open = || {
        let own = folder()?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let home = rustix::fs::openat(&own, "net", flags, Mode::empty())?;
        Ok((own, home))
    };
    open().map_err(|errno| failed("open network namespace", &format!("{OWN}/net"), errno))
}

fn enter(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
}

fn leave(home: BorrowedFd<'_>) -> Result<(), Error> {
    enter(home).map_err(|errno| Error::new("return to the former network namespace", errno))
}

/// Inodes of nsfs are the kernel's only within one nsfs.
fn same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

fn failed(doing: &str, path: &str, errno: Errno) -> Error {
    Error::new(format!("{doing} {path}"), errno)
}
