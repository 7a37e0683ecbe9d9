//! A record whose lock is ours: what may be done with one attachment.
//!
//! The lock is the open file's; it ends with [`Held`], or with the process. The other half of the protocol is here as well:
//! every lease is looked at before it is removed, because the lock of one record says nothing about another attachment,
//! whose ADD may have been given an address that this record still names.

use super::{Store, fail, names, record, record_path};
use crate::error::Error;
use model::attachment::{Attachment, Key, PodAddress};
use model::cni::Given;
use model::name::NetworkName;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use std::net::IpAddr;
use std::path::Path;

/// How often a lease may change hands between two looks before it counts as taken.
const LOOKS: usize = 8;

/// A record and its lock.
#[derive(Debug)]
pub struct Held<'s> {
    store: &'s Store,
    file: OwnedFd,
    name: String,
    key: Option<Key>,
    /// In a box, because who holds a record passes it on.
    record: Option<Box<Attachment>>,
}

/// Whose a lease is.
enum Holder {
    /// It is a link of our record.
    Ours,
    /// It carries our key on another file: what a record of ours left that was removed by something other than us.
    OurEarlier,
    Another,
    Nobody,
}

impl<'s> Held<'s> {
    /// `name` is the record's file name and gives the key where the record is broken.
    pub(super) fn new(
        store: &'s Store,
        file: OwnedFd,
        name: String,
        record: Option<Attachment>,
    ) -> Self {
        let key = record
            .as_ref()
            .map(|record| record.key.clone())
            .or_else(|| Key::of_file(store.network(), &name));
        Self {
            store,
            file,
            name,
            key,
            record: record.map(Box::new),
        }
    }

    /// For a caller that knows the key: a hash in the file's name does not give it back.
    pub(super) fn named(self, key: &Key) -> Self {
        let key = Some(key.clone());
        Self { key, ..self }
    }

    /// What the record says; `None` if it is broken (a full disk, a hand). [`Held::key`] and [`Held::release_all`] are
    /// enough to tear down what it stood for.
    #[must_use]
    pub fn record(&self) -> Option<&Attachment> {
        self.record.as_deref()
    }

    /// Whose record it is; `None` only where GC meets a broken record with a container id too long for a file's name.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// The network that it is of.
    #[must_use]
    pub fn network(&self) -> &NetworkName {
        self.store.network()
    }

    /// The record's file name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names other addresses: one write inside the file's first page, so that at every instant, also that of a kill, the
    /// record is whole and says the old addresses or the new ones. To be done before the lease is taken.
    ///
    /// # Errors
    /// The addresses do not fit [`record::HEAD`] bytes, the record is broken, or the write fails.
    pub fn rewrite_addresses(&mut self, addresses: Vec<PodAddress>) -> Result<(), Error> {
        let record = self.record.as_deref_mut().ok_or(Errno::INVAL);
        let write = |record: &mut Attachment| {
            record::write(&self.file, &record::head(&addresses)?)?;
            record.addresses = addresses;
            Ok(())
        };
        record
            .and_then(write)
            .map_err(|errno| fail("rewrite record", Path::new(&self.name), errno))
    }

    /// Writes down what another IPAM plugin gave: at every instant the record names all of it, or nothing.
    ///
    /// # Errors
    /// The record is broken, or the write fails.
    pub fn write_given(&mut self, given: Given) -> Result<(), Error> {
        let failed = |errno| fail("add to record", Path::new(&self.name), errno);
        let record = self.record.as_deref().ok_or(Errno::INVAL);
        let record = record.map_err(failed)?.clone();
        // What fails leaves the record as it was, for whoever takes back what it names.
        record::append(&self.file, &given).map_err(failed)?;
        self.record = Some(Box::new(record.with(given)));
        Ok(())
    }

    /// Lets programs that are started from now on hold the lock together with this one. A kill of this one then leaves the
    /// attachment locked until they have ended, so that nobody takes back what they are about to make.
    ///
    /// # Errors
    /// The open file cannot be handed on.
    pub fn share(&self) -> Result<(), Error> {
        fcntl_setfd(&self.file, FdFlags::empty())
            .map_err(|errno| fail("hand on lock of", Path::new(&self.name), errno))
    }

    /// Takes `ip`; `false` if another attachment has it. An address that this key has already is ours again.
    ///
    /// # Errors
    /// The record has been removed behind our back (`ENOENT`), or the folder cannot be written.
    pub fn lease(&self, ip: IpAddr) -> Result<bool, Error> {
        let path = lease_path(ip);
        let failed = |errno| fail("lease", Path::new(&path), errno);
        for _ in 0..LOOKS {
            match record::link(&self.file, &self.store.folder, &path) {
                Ok(()) => return Ok(true),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
            match self.holder(&path).map_err(failed)? {
                Holder::Ours => return Ok(true),
                Holder::Another => return Ok(false),
                // Unlink, then link. Nobody else removes this lease in between: it carries our key, and our key's lock is
                // ours, so what we unlink is what we looked at. Between the two another attachment may take the address;
                // then the link says so, and nothing is lost, since no live record stood for the old lease. A rename over
                // it would close that gap, but a kill would leave its temporary name behind.
                Holder::OurEarlier => self.unlink(&path).map_err(failed)?,
                Holder::Nobody => {}
            }
        }
        Ok(false)
    }

    /// Gives `ip` back if this key has it; an address that is free or another's is left alone.
    ///
    /// # Errors
    /// The lease cannot be read or removed.
    pub fn release(&self, ip: IpAddr) -> Result<(), Error> {
        let path = lease_path(ip);
        let release = || match self.holder(&path)? {
            // Between the look and the unlink nobody changes it: only the lock that we have gives the right to.
            Holder::Ours | Holder::OurEarlier => self.unlink(&path),
            Holder::Another | Holder::Nobody => Ok(()),
        };
        release().map_err(|errno| fail("release", Path::new(&path), errno))
    }

    /// Gives back whatever this record holds: the addresses that it names, and, if the file has more names than it should
    /// (the record is broken, or a hand was at work), every lease that is a link of it.
    ///
    /// # Errors
    /// The first lease that cannot be read or removed, after all have been tried.
    pub fn release_all(&self) -> Result<(), Error> {
        let mut failure = Ok(());
        for address in self.record.iter().flat_map(|record| &record.addresses) {
            let released = self.release(address.ip);
            failure = failure.and(released);
        }
        let failed = |errno| fail("list leases of", Path::new(&self.name), errno);
        if fstat(&self.file).map_err(failed)?.st_nlink > 1 {
            for name in names(&self.store.folder, "leases").map_err(failed)? {
                if let Ok(ip) = name.parse() {
                    let released = self.release(ip);
                    failure = failure.and(released);
                }
            }
        }
        failure
    }

    /// Removes the record, as the last act, and frees the lock.
    ///
    /// # Errors
    /// The record cannot be removed.
    pub fn remove(self) -> Result<(), Error> {
        let path = record_path(&self.name);
        let remove = || {
            if record::is_named(&self.file, &self.store.folder, &path)? {
                self.unlink(&path)?;
            }
            Ok(())
        };
        remove().map_err(|errno| fail("remove record", Path::new(&self.name), errno))
    }

    fn holder(&self, path: &str) -> Result<Holder, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lease = match openat(&self.store.folder, path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Holder::Nobody),
            other => other?,
        };
        let (theirs, ours) = (fstat(&lease)?, fstat(&self.file)?);
        if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) {
            return Ok(Holder::Ours);
        }
        let owner = record::read(&lease)?.map(|record| record.key);
        if owner.is_some() && owner == self.key {
            Ok(Holder::OurEarlier)
        } else {
            Ok(Holder::Another)
        }
    }

    fn unlink(&self, path: &str) -> Result<(), Errno> {
        match unlinkat(&self.store.folder, path, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }
}

pub(super) fn lease_path(ip: IpAddr) -> String {
    format!("leases/{ip}")
}
