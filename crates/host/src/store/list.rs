//! The whole state of a network at a glance: for GC, status, the search in an almost full range, and error texts.
//!
//! Nothing here takes a record's lock (but the search for orphans, without waiting): what it shows may be over by the
//! time it is read.

use super::held::lease_path;
use super::{Store, fail, names, record, record_path};
use crate::error::Error;
use model::addr::PodRange;
use model::attachment::{Attachment, Key};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, statat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

impl Store {
    /// The file names of all records, in order: what [`Store::try_hold`] takes, and what `Key::file` of a valid
    /// attachment is compared with.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn attachments(&self) -> Result<Vec<String>, Error> {
        let mut names = self.names_in("attachments")?;
        names.sort();
        Ok(names)
    }

    /// Whether the attachment has a record, whatever it says and whoever works on it.
    ///
    /// # Errors
    /// The folder cannot be looked at.
    pub fn has(&self, key: &Key) -> Result<bool, Error> {
        let path = format!("attachments/{}", key.file());
        match statat(&self.folder, &path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(fail("look for record", Path::new(&path), errno)),
        }
    }

    /// The record with this file name, read without its lock; `None` if it is gone or broken.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn peek(&self, name: &str) -> Result<Option<Attachment>, Error> {
        self.read_at(&record_path(name))
    }

    /// All addresses that are taken.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn leases(&self) -> Result<BTreeSet<IpAddr>, Error> {
        let names = self.names_in("leases")?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Addresses that this node's other networks have taken. A node has one set of routes, so an address cannot be two
    /// pods' even if two networks were given one range; that happens while a node moves from one type to another.
    ///
    /// # Errors
    /// The folders cannot be read.
    pub fn leased_elsewhere(&self) -> Result<BTreeSet<IpAddr>, Error> {
        let read = || -> Result<BTreeSet<IpAddr>, Errno> {
            let mut taken = BTreeSet::new();
            // The usual node has one network: a folder counts its subfolders, each of which names it as `..`.
            if statat(&self.folder, "..", AtFlags::empty())?.st_nlink == 3 {
                return Ok(taken);
            }
            let root = openat(
                &self.folder,
                "..",
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            let own = self.network.as_str();
            for network in names(&root, ".")?.iter().filter(|name| *name != own) {
                match names(&root, &format!("{network}/leases")) {
                    Ok(leases) => {
                        taken.extend(leases.iter().filter_map(|name| name.parse::<IpAddr>().ok()));
                    }
                    Err(Errno::NOENT | Errno::NOTDIR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Ok(taken)
        };
        read().map_err(|errno| fail("list leases of", Path::new("other networks"), errno))
    }

    /// Who has `ip`; `None` if nobody, or if the record is broken.
    ///
    /// # Errors
    /// The lease is there and cannot be read.
    pub fn owner(&self, ip: IpAddr) -> Result<Option<Attachment>, Error> {
        self.read_at(&lease_path(ip))
    }

    /// The attachment that has had an address of `ranges` for longest: the first to suspect when none is left.
    ///
    /// # Errors
    /// The leases cannot be read.
    pub fn oldest(&self, ranges: &[&PodRange]) -> Result<Option<Attachment>, Error> {
        let mut oldest: Option<Attachment> = None;
        let within = |ip: &IpAddr| ranges.iter().any(|range| range.offers(*ip));
        for ip in self.leases()?.into_iter().filter(within) {
            if let Some(owner) = self.owner(ip)?
                && oldest.as_ref().is_none_or(|held| owner.born < held.born)
            {
                oldest = Some(owner);
            }
        }
        Ok(oldest)
    }

    /// Removes leases whose record is gone and returns their addresses, and what could not be looked at or removed, for GC.
    /// The order of ADD and DEL never leaves one; a hand in `attachments/` does.
    ///
    /// # Errors
    /// The leases cannot be listed.
    pub fn reclaim_orphans(&self) -> Result<(Vec<IpAddr>, Vec<Error>), Error> {
        let lock = FlockOperation::NonBlockingLockExclusive;
        self.each_orphan(lock, |path| unlinkat(&self.folder, path, AtFlags::empty()))
    }

    /// The addresses that [`Store::reclaim_orphans`] would free.
    ///
    /// # Errors
    /// The leases cannot be read.
    pub fn orphans(&self) -> Result<Vec<IpAddr>, Error> {
        let (orphans, failed) =
            self.each_orphan(FlockOperation::NonBlockingLockShared, |_| Ok(()))?;
        failed.into_iter().next().map_or(Ok(orphans), Err)
    }

    /// A lease is a link of its record, so its lock is the record's lock, and a record has its name before its first lease.
    /// A lease that nobody works on and whose record's name means another file, or none, is therefore dead for good.
    fn each_orphan(
        &self,
        lock: FlockOperation,
        done: impl Fn(&str) -> Result<(), Errno>,
    ) -> Result<(Vec<IpAddr>, Vec<Error>), Error> {
        let records = self.attachments()?;
        let (mut orphans, mut failed) = (Vec::new(), Vec::new());
        for ip in self.leases()? {
            let path = lease_path(ip);
            let orphan = || -> Result<bool, Errno> {
                let Some(lease) = self.open_readable(&path)? else {
                    return Ok(false);
                };
                match flock(&lease, lock) {
                    Err(Errno::WOULDBLOCK) => return Ok(false),
                    other => other?,
                }
                if self.has_record(&lease, &records)?
                    || !record::is_named(&lease, &self.folder, &path)?
                {
                    return Ok(false);
                }
                done(&path)?;
                Ok(true)
            };
            match orphan() {
                Ok(true) => orphans.push(ip),
                Ok(false) => {}
                Err(errno) => failed.push(fail("reclaim", Path::new(&path), errno)),
            }
        }
        Ok((orphans, failed))
    }

    /// Whether the lease's file is a record. What it says gives the record's name; only if it says nothing, all are
    /// compared: those of the list are enough, since a record that is younger than the list has another file.
    fn has_record(&self, lease: &OwnedFd, records: &[String]) -> Result<bool, Errno> {
        if let Some(record) = record::read(lease)? {
            return record::is_named(lease, &self.folder, &record_path(&record.key.file()));
        }
        for name in records {
            if record::is_named(lease, &self.folder, &record_path(name))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_at(&self, path: &str) -> Result<Option<Attachment>, Error> {
        let read = || match self.open_readable(path)? {
            Some(file) => record::read(&file),
            None => Ok(None),
        };
        read().map_err(|errno| fail("read", Path::new(path), errno))
    }

    fn open_readable(&self, path: &str) -> Result<Option<OwnedFd>, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match openat(&self.folder, path, flags, Mode::empty()) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn names_in(&self, below: &str) -> Result<Vec<String>, Error> {
        names(&self.folder, below).map_err(|errno| fail("list", Path::new(below), errno))
    }
}
