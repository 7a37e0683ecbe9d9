//! What this node remembers of its pods: one record per attachment, one lease per address, on tmpfs.
//!
//! `attachments/<key>` is the record: it appears whole (`O_TMPFILE`, then `linkat`) before anything else of the attachment
//! and goes last. `leases/<address>` is a hard link of the record of its holder, so `linkat` is the lock for addresses, the
//! content names the owner, and the kernel refuses a lease for a record that is gone. `boot` holds the boot id of the life
//! that all this belongs to. The lock for one attachment is an flock on its record. Nothing here decides which address to
//! take, and nothing here touches the network.

mod held;
mod hint;
mod life;
mod list;
mod order;
mod record;
mod turn;

pub use held::Held;
pub use record::HEAD;
pub(crate) use turn::Queue;

use crate::clock;
use crate::error::Error;
use model::attachment::{Attachment, Key};
use model::name::NetworkName;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, openat, statat};
use rustix::io::{Errno, retry_on_intr};
use std::path::Path;

/// Where the state of all networks lies: tmpfs, so that a reboot forgets it together with the pods.
pub const ROOT: &str = "/run/podwire";

/// How often a name may change its meaning under our hands before we give up. Each time somebody else has finished an ADD
/// or a DEL of the same attachment, so this is never reached unless the folder itself is broken.
const ROUNDS: usize = 1000;

/// The state of one network.
#[derive(Debug)]
pub struct Store {
    network: NetworkName,
    folder: OwnedFd,
}

/// What an ADD finds.
#[derive(Debug)]
pub enum Claim<'s> {
    /// The record is new and ours.
    New(Held<'s>),
    /// There was a record of this attachment; it is locked now, and what it says is what an earlier ADD left. It may be
    /// broken: then tear down what the key names, release, remove and claim again.
    Again(Held<'s>),
}

/// What one look at a record shows, without waiting.
#[derive(Debug)]
pub enum Attempt<'s> {
    /// Nobody works on it; the lock is ours now.
    Free(Held<'s>),
    /// Somebody works on it, hence it is alive.
    Busy,
    /// There is no such record.
    Gone,
}

/// What a record shows to somebody who only looks.
#[derive(Debug)]
pub enum Glance {
    /// Nobody works on it, and this is what it says; none if it is broken.
    Says(Option<Box<Attachment>>),
    /// Somebody works on it, hence it is alive.
    Busy,
    /// There is no such record.
    Gone,
}

impl Store {
    /// Opens the state of `network` and makes the folders if they are not there. What another life of the kernel left is
    /// forgotten first.
    ///
    /// # Errors
    /// The folder cannot be made, read or cleaned.
    pub fn open(root: &Path, network: &NetworkName) -> Result<Self, Error> {
        let path = root.join(network.as_str());
        let folder = match folder(&path) {
            Err(Errno::NOENT) => life::make(&path).and_then(|()| folder(&path)),
            other => other,
        }
        .map_err(|errno| fail("open state folder", &path, errno))?;
        Self::settled(folder, network, &path)
    }

    /// Opens the state of `network` if there is any, and makes nothing.
    ///
    /// # Errors
    /// The folder cannot be read, or not be cleaned of what another life of the kernel left.
    pub fn existing(root: &Path, network: &NetworkName) -> Result<Option<Self>, Error> {
        let path = root.join(network.as_str());
        let folder = match folder(&path) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(|errno| fail("open state folder", &path, errno))?,
        };
        // The boot id is written before the first record can be: without it there is none, and on a full disk the file may
        // be there without what it is for.
        match statat(&folder, life::BOOT, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            Ok(boot) if boot.st_size == 0 => Ok(None),
            Err(errno) => Err(fail("look at boot id in", &path, errno)),
            Ok(_) => Self::settled(folder, network, &path).map(Some),
        }
    }

    /// The state of every network below `root`, in order.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn all(root: &Path) -> Result<Vec<Self>, Error> {
        let mut stores = Vec::new();
        for network in Self::networks(root)? {
            // It may have ended meanwhile.
            stores.extend(Self::existing(root, &network)?);
        }
        Ok(stores)
    }

    /// The networks that have state below `root`, in order; none if `root` is not there.
    ///
    /// # Errors
    /// `root` cannot be read.
    pub fn networks(root: &Path) -> Result<Vec<NetworkName>, Error> {
        let read = || -> Result<Vec<NetworkName>, Errno> {
            let root = folder(root)?;
            let mut networks: Vec<_> = names(&root, ".")?
                .iter()
                .filter_map(|name| NetworkName::new(name).ok())
                .filter(|name| {
                    let boot = format!("{name}/{}", life::BOOT);
                    statat(&root, boot, AtFlags::SYMLINK_NOFOLLOW).is_ok()
                })
                .collect();
            networks.sort();
            Ok(networks)
        };
        match read() {
            Err(Errno::NOENT) => Ok(Vec::new()),
            other => other.map_err(|errno| fail("list networks in", root, errno)),
        }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &NetworkName {
        &self.network
    }

    /// Starts an ADD: writes the record and takes its lock, or waits for the record that is there. `attachment.born` is
    /// read by the caller before.
    ///
    /// # Errors
    /// The record does not fit (see [`HEAD`]), cannot be written, or its file belongs to another container (two long
    /// container ids with one hash).
    pub fn claim(&self, attachment: &Attachment) -> Result<Claim<'_>, Error> {
        let key = &attachment.key;
        let name = key.file();
        let failed = |errno| Self::failed("write record", &name, errno);
        let bytes = record::encode(attachment).map_err(failed)?;
        let file = record::unnamed(&self.folder, &bytes).map_err(failed)?;
        // The lock comes before the name: whoever finds the name finds it locked.
        lock(&file).map_err(failed)?;
        for _ in 0..ROUNDS {
            match record::link(&file, &self.folder, &record_path(&name)) {
                Ok(()) => {
                    let held = Held::new(self, file, name, Some(attachment.clone()));
                    return Ok(Claim::New(held));
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
            match self.wait(&name)? {
                Some(held) if held.key().is_some_and(|owner| owner != key) => {
                    return Err(failed(Errno::EXIST));
                }
                Some(held) => return Ok(Claim::Again(held.named(key))),
                // A DEL was quicker: the name is free again.
                None => {}
            }
        }
        Err(failed(Errno::BUSY))
    }

    /// Waits for the record of `key` and takes its lock: the start of DEL and CHECK. `None` if there is no record of it.
    ///
    /// A broken record is held as well: its [`Held::record`] is `None`, and the key says what to remove.
    ///
    /// # Errors
    /// The record cannot be opened or read.
    pub fn hold(&self, key: &Key) -> Result<Option<Held<'_>>, Error> {
        let held = self.wait(&key.file())?;
        Ok(held
            .filter(|held| held.key().is_none_or(|owner| owner == key))
            .map(|held| held.named(key)))
    }

    /// Takes the lock of the record with this file name (see [`Key::file`] and [`Store::attachments`]) if nobody has it:
    /// GC's way.
    ///
    /// # Errors
    /// The record cannot be opened or read.
    pub fn try_hold(&self, name: &str) -> Result<Attempt<'_>, Error> {
        self.attempt(name, FlockOperation::NonBlockingLockExclusive)
    }

    /// What the record with this file name says while nobody works on it. Any number may look at once and are not in each
    /// other's way; whoever waits for the record waits for a moment.
    ///
    /// # Errors
    /// The record cannot be opened or read.
    pub fn glance(&self, name: &str) -> Result<Glance, Error> {
        let attempt = self.attempt(name, FlockOperation::NonBlockingLockShared)?;
        Ok(match attempt {
            Attempt::Free(held) => Glance::Says(held.record().cloned().map(Box::new)),
            Attempt::Busy => Glance::Busy,
            Attempt::Gone => Glance::Gone,
        })
    }

    fn attempt(&self, name: &str, lock: FlockOperation) -> Result<Attempt<'_>, Error> {
        for _ in 0..ROUNDS {
            let failed = |errno| Self::failed("try to lock record", name, errno);
            let Some(file) = self.open_record(name).map_err(failed)? else {
                return Ok(Attempt::Gone);
            };
            match rustix::fs::flock(&file, lock) {
                Err(Errno::WOULDBLOCK) => return Ok(Attempt::Busy),
                other => other.map_err(failed)?,
            }
            if let Some(held) = self.confirm(file, name).map_err(failed)? {
                return Ok(Attempt::Free(held));
            }
        }
        Ok(Attempt::Busy)
    }

    /// Waits for the record with this file name.
    fn wait(&self, name: &str) -> Result<Option<Held<'_>>, Error> {
        let failed = |errno| Self::failed("lock record", name, errno);
        for _ in 0..ROUNDS {
            let Some(file) = self.open_record(name).map_err(failed)? else {
                return Ok(None);
            };
            lock(&file).map_err(failed)?;
            if let Some(held) = self.confirm(file, name).map_err(failed)? {
                return Ok(Some(held));
            }
        }
        Err(failed(Errno::BUSY))
    }

    fn open_record(&self, name: &str) -> Result<Option<OwnedFd>, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match openat(&self.folder, record_path(name), flags, Mode::empty()) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The lock counts only while the name still means the file that it was taken on: whoever had it before us may have
    /// removed the record, and a later ADD may have put another one there.
    fn confirm(&self, file: OwnedFd, name: &str) -> Result<Option<Held<'_>>, Errno> {
        if !record::is_named(&file, &self.folder, &record_path(name))? {
            return Ok(None);
        }
        let record = record::read(&file)?
            .filter(|record| record.key.file() == name && record.key.network == self.network);
        Ok(Some(Held::new(self, file, name.to_owned(), record)))
    }

    fn settled(folder: OwnedFd, network: &NetworkName, path: &Path) -> Result<Self, Error> {
        let kernel = clock::boot_id()?;
        life::settle(&folder, &kernel)
            .map_err(|errno| fail("put state folder in order", path, errno))?;
        let network = network.clone();
        Ok(Self { network, folder })
    }

    fn failed(operation: &str, name: &str, errno: Errno) -> Error {
        fail(operation, Path::new(name), errno)
    }
}

fn record_path(name: &str) -> String {
    format!("attachments/{name}")
}

fn lock(file: &OwnedFd) -> Result<(), Errno> {
    retry_on_intr(|| rustix::fs::flock(file, FlockOperation::LockExclusive))
}

fn folder(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

/// The names in `folder/below`, as far as they are UTF-8: ours all are.
fn names(folder: &OwnedFd, below: &str) -> Result<Vec<String>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::new(openat(folder, below, flags, Mode::empty())?)? {
        if let Ok(name) = entry?.file_name().to_str()
            && name != "."
            && name != ".."
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn fail(operation: &str, object: &Path, errno: Errno) -> Error {
    Error::new(format!("{operation} {}", object.display()), errno)
}
