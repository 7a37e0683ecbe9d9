//! Reservations as the reference plugin `host-local` keeps them: a file for each address below `<dataDir>/<network>`.
//!
//! The file's name is the address, its content the container's id and the interface, `last_reserved_ip.<n>` says where to go
//! on in the n-th set of ranges, and `lock` is locked by whoever works there (containernetworking/plugins v1.9.1,
//! plugins/ipam/host-local/backend/disk). So a node can go from that plugin to this one and back with its pods alive. A file
//! appears whole: a kill leaves none that says nothing.

use crate::error::Error;
use model::attachment::Key;
use model::name::{ContainerId, IfName, NetworkName};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, fstat,
    futimens, linkat, mkdirat, openat, unlinkat,
};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Where the reference plugin keeps them if nobody says otherwise.
pub const DEFAULT: &str = "/var/lib/cni/networks";

/// Between id and interface.
const BREAK: &str = "\r\n";

/// Longest content that is read: a container id comes through the environment.
const LONGEST: usize = 128 * 1024;

/// The reservations of one network, locked.
#[derive(Debug)]
pub struct Reserved {
    folder: OwnedFd,
    lock: OwnedFd,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The address.
    pub ip: IpAddr,
    /// Id and interface, as they stand in the file; the oldest files have no interface.
    pub holder: String,
    /// When it was made, by the clock of files.
    pub since: SystemTime,
}

impl Reservation {
    /// Whether it is this attachment's.
    #[must_use]
    pub fn is_of(&self, container: &ContainerId, ifname: &IfName) -> bool {
        let holder = self.holder.trim();
        holder == text(container, ifname) || holder == container.as_str()
    }

    /// Whose it is; none if the file names no interface, or names what no attachment can be called.
    #[must_use]
    pub fn key(&self, network: &NetworkName) -> Option<Key> {
        let (container, ifname) = self.holder.trim().split_once(BREAK)?;
        Some(Key {
            network: network.clone(),
            container: ContainerId::new(container).ok()?,
            ifname: IfName::new(ifname).ok()?,
        })
    }
}

impl Reserved {
    /// Opens and locks those of `network`, and makes the folders if they are not there.
    ///
    /// # Errors
    /// A folder or the lock cannot be made or opened.
    pub fn open(data_dir: &Path, network: &NetworkName) -> Result<Self, Error> {
        let path = data_dir.join(network.as_str());
        let open = || {
            make(&path)?;
            Self::locked(folder(&path)?)
        };
        open().map_err(|errno| fail("open dataDir", &path, errno))
    }

    /// Opens and locks those of `network` if there are any.
    ///
    /// # Errors
    /// The folder cannot be opened, or not be locked.
    pub fn existing(data_dir: &Path, network: &NetworkName) -> Result<Option<Self>, Error> {
        let path = data_dir.join(network.as_str());
        match folder(&path).and_then(Self::locked) {
            Ok(reserved) => Ok(Some(reserved)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(fail("open dataDir", &path, errno)),
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn all(&self) -> Result<Vec<Reservation>, Error> {
        list(&self.folder)
    }

    /// Frees what this attachment has. Whether it had anything.
    ///
    /// # Errors
    /// A file cannot be read or removed.
    pub fn release_all(&self, key: &Key) -> Result<bool, Error> {
        let mut had = false;
        for own in self.all()? {
            if own.is_of(&key.container, &key.ifname) {
                self.release(own.ip)?;
                had = true;
            }
        }
        Ok(had)
    }

    /// What the clock of files says, by the lock's own time: the only clock that may be compared with
    /// [`Reservation::since`].
    ///
    /// # Errors
    /// The lock's time cannot be set.
    pub fn now(&self) -> Result<SystemTime, Error> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        let told = futimens(&self.lock, &times).and_then(|()| fstat(&self.lock));
        let told = told.map_err(|errno| fail("ask for the time of", Path::new("lock"), errno))?;
        Ok(modified(told.st_mtime))
    }

    /// Reserves `ip`; `false` if it is another's.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn reserve(
        &self,
        ip: IpAddr,
        container: &ContainerId,
        ifname: &IfName,
    ) -> Result<bool, Error> {
        let name = ip.to_string();
        let written = self.put(&name, text(container, ifname).as_bytes());
        match written {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(fail("reserve", Path::new(&name), errno)),
        }
    }

    /// Frees an address.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn release(&self, ip: IpAddr) -> Result<(), Error> {
        let name = ip.to_string();
        match unlinkat(&self.folder, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(fail("release", Path::new(&name), errno)),
        }
    }

    /// The address of the `set`-th set that was given last.
    #[must_use]
    pub fn last(&self, set: usize) -> Option<IpAddr> {
        let (text, _) = read(&self.folder, &last_name(set)).ok().flatten()?;
        text.trim().parse().ok()
    }

    /// Remembers which one was given last. Not remembered means that the search begins elsewhere.
    pub fn set_last(&self, set: usize, ip: IpAddr) {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if let Ok(file) = openat(&self.folder, last_name(set), flags, Mode::RUSR | Mode::WUSR) {
            let _unwritten = pwrite(&file, ip.to_string().as_bytes(), 0);
        }
    }

    /// Under the lock: the reference plugin makes a file and writes it in two steps, and has the lock meanwhile.
    fn locked(folder: OwnedFd) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = openat(&folder, "lock", flags, Mode::RUSR | Mode::WUSR)?;
        retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::LockExclusive))?;
        Ok(Self { folder, lock })
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match openat(&self.folder, ".", flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => {
                write(&file, bytes)?;
                let open = format!("/proc/self/fd/{}", file.as_raw_fd());
                linkat(CWD, open, &self.folder, name, AtFlags::SYMLINK_FOLLOW)
            }
            // A file system that has no files without names.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let file = openat(&self.folder, name, flags, Mode::RUSR | Mode::WUSR)?;
                write(&file, bytes)
            }
            Err(errno) => Err(errno),
        }
    }
}

/// Frees what `key` has in this folder, if there is one. Whether it had anything.
///
/// # Errors
/// The folder cannot be locked or read, or a file not be removed.
pub fn release(data_dir: &Path, key: &Key) -> Result<bool, Error> {
    let there = Reserved::existing(data_dir, &key.network)?;
    there.map_or(Ok(false), |there| there.release_all(key))
}

/// All of `network` at a glance, for whoever only counts: no lock is taken, and nothing is made.
///
/// # Errors
/// The folder or a file cannot be read.
pub fn look(data_dir: &Path, network: &NetworkName) -> Result<Vec<Reservation>, Error> {
    let path = data_dir.join(network.as_str());
    match folder(&path) {
        Ok(folder) => list(&folder),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(Vec::new()),
        Err(errno) => Err(fail("open dataDir", &path, errno)),
    }
}

/// The addresses alone, by the files' names: no file is opened.
///
/// # Errors
/// The folder cannot be read.
pub fn taken(data_dir: &Path, network: &NetworkName) -> Result<BTreeSet<IpAddr>, Error> {
    let path = data_dir.join(network.as_str());
    match folder(&path).and_then(|folder| addresses(&folder)) {
        Ok(found) => Ok(found.into_iter().collect()),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(BTreeSet::new()),
        Err(errno) => Err(fail("list reservations in", &path, errno)),
    }
}

fn list(folder: &OwnedFd) -> Result<Vec<Reservation>, Error> {
    let mut all = Vec::new();
    for ip in addresses(folder)
        .map_err(|errno| fail("list reservations in", Path::new("dataDir"), errno))?
    {
        let name = ip.to_string();
        let found = read(folder, &name)
            .map_err(|errno| fail("read reservation", Path::new(&name), errno))?;
        all.extend(found.map(|(holder, since)| Reservation { ip, holder, since }));
    }
    Ok(all)
}

fn addresses(folder: &OwnedFd) -> Result<Vec<IpAddr>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut found = Vec::new();
    for entry in Dir::new(openat(folder, ".", flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_str().ok();
        found.extend(name.and_then(|name| name.parse::<IpAddr>().ok()));
    }
    found.sort();
    Ok(found)
}

/// Content and age of a file; none if it is gone.
fn read(folder: &OwnedFd, name: &str) -> Result<Option<(String, SystemTime)>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = match openat(folder, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let stat = fstat(&file)?;
    let size = usize::try_from(stat.st_size)
        .unwrap_or_default()
        .min(LONGEST);
    let mut bytes = vec![0; size];
    let length = retry_on_intr(|| pread(&file, &mut bytes, 0))?;
    bytes.truncate(length);
    let since = modified(stat.st_mtime);
    Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), since)))
}

fn modified(seconds: i64) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// What a file of this attachment says.
fn text(container: &ContainerId, ifname: &IfName) -> String {
    format!("{container}{BREAK}{ifname}")
}

fn last_name(set: usize) -> String {
    format!("last_reserved_ip.{set}")
}

fn write(file: &OwnedFd, bytes: &[u8]) -> Result<(), Errno> {
    let length = retry_on_intr(|| pwrite(file, bytes, 0))?;
    if length == bytes.len() {
        Ok(())
    } else {
        Err(Errno::NOSPC)
    }
}

fn folder(path: &Path) -> Result<OwnedFd, Errno> {
    openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Readable by all, as the reference plugin makes them.
fn make(path: &Path) -> Result<(), Errno> {
    let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
    match mkdirat(CWD, path, mode) {
        Err(Errno::NOENT) => make(path.parent().ok_or(Errno::NOENT)?)?,
        Err(Errno::EXIST) => return Ok(()),
        other => return other,
    }
    match mkdirat(CWD, path, mode) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn fail(operation: &str, object: &Path, errno: Errno) -> Error {
    Error::new(format!("{operation} {}", object.display()), errno)
}
