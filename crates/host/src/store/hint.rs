//! Where the search for a free address goes on: after the address that was given last, so that a freed one rests longest.
//!
//! Only a hint, so nothing here fails, waits or locks: two processes may overwrite each other's, and what makes no sense
//! is as good as nothing.

use super::Store;
use crate::Error;
use model::addr::PodRange;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{pread, pwrite};
use std::net::IpAddr;

/// Longest text of an IPv6 address; every hint is padded to it, so that one write replaces the whole.
const LENGTH: usize = 39;

impl Store {
    /// The address of `range` that was given last, if anybody remembers.
    #[must_use]
    pub fn hint(&self, range: &PodRange) -> Option<IpAddr> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(&self.folder, path(range), flags, Mode::empty()).ok()?;
        let mut bytes = [0; LENGTH];
        let length = pread(&file, &mut bytes, 0).ok()?;
        let text = std::str::from_utf8(&bytes[..length]).ok()?;
        text.trim_end().parse().ok().filter(|&ip| range.offers(ip))
    }

    /// The ranges of which an address was ever given.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn ranges(&self) -> Result<Vec<PodRange>, Error> {
        let names = self.names_in("hints")?;
        let ranges = names.iter().map(|name| name.replace('_', "/"));
        Ok(ranges
            .filter_map(|text| PodRange::parse(&text).ok())
            .collect())
    }

    /// Remembers that `ip` was given last.
    pub fn set_hint(&self, range: &PodRange, ip: IpAddr) {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if let Ok(file) = openat(&self.folder, path(range), flags, Mode::RUSR | Mode::WUSR) {
            // Not written is not remembered: the next search begins elsewhere.
            let _unwritten = pwrite(&file, format!("{ip:<LENGTH$}").as_bytes(), 0);
        }
    }
}

/// Parts of a range, whatever their bounds are, share a hint.
fn path(range: &PodRange) -> String {
    format!("hints/{}", range.net().to_string().replace('/', "_"))
}
