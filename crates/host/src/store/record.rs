//! A record as a file: one JSON document whose head can be rewritten in place.
//!
//! The document begins with the addresses, and white space pads this head to [`HEAD`] bytes. Another address is therefore
//! one `pwrite` inside the file's first page that moves nothing else, and a kill leaves the old head or the new one. Hard
//! links of the record (its leases) show the same content, whichever it is. What another IPAM plugin gave comes behind the
//! document, as a second one: half of that counts as none.

use model::attachment::{Attachment, PodAddress};
use model::cni::Given;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, linkat, openat, statat};
use rustix::io::{Errno, pread, pwrite};

/// Bytes of a record that the addresses may take: eight of IPv6 with their ranges fit.
pub const HEAD: usize = 1024;

/// Largest file that is read as a record. A container id comes through the environment, where the kernel takes 128 KiB.
const LARGEST: usize = 512 * 1024;

/// How often a reader without the lock looks again when it meets a head that is just being rewritten. A kill never leaves
/// half a head, but a concurrent read may see one: 1575 of 372,857 reads on tmpfs while another process did nothing but
/// rewrite. What lies behind the head, the key above all, never changes.
const LOOKS: usize = 8;

/// The record as the bytes of its file.
pub(super) fn encode(record: &Attachment) -> Result<Vec<u8>, Errno> {
    let whole = serde_json::to_vec(record).map_err(|_| Errno::INVAL)?;
    let addresses = head(&record.addresses)?;
    let rest = whole
        .strip_prefix(addresses.trim_ascii_end())
        .ok_or(Errno::INVAL)?;
    Ok([&addresses, rest].concat())
}

/// The head of a record with these addresses, exactly [`HEAD`] bytes.
pub(super) fn head(addresses: &[PodAddress]) -> Result<Vec<u8>, Errno> {
    let mut head = br#"{"addresses":"#.to_vec();
    head.extend(serde_json::to_vec(addresses).map_err(|_| Errno::INVAL)?);
    if head.len() > HEAD {
        return Err(Errno::MSGSIZE);
    }
    head.resize(HEAD, b' ');
    Ok(head)
}

/// Puts behind the record what another plugin gave.
pub(super) fn append(file: &OwnedFd, given: &Given) -> Result<(), Errno> {
    let bytes = serde_json::to_vec(given).map_err(|_| Errno::INVAL)?;
    let end = u64::try_from(fstat(file)?.st_size).map_err(|_| Errno::INVAL)?;
    write_at(file, end, &bytes)
}

/// A file without a name that holds `bytes`: it is on disk whole before anybody can see it.
pub(super) fn unnamed(folder: &OwnedFd, bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = openat(folder, "attachments", flags, Mode::RUSR | Mode::WUSR)?;
    write(&file, bytes)?;
    Ok(file)
}

/// Writes `bytes` at the start of the file.
pub(super) fn write(file: &OwnedFd, bytes: &[u8]) -> Result<(), Errno> {
    write_at(file, 0, bytes)
}

fn write_at(file: &OwnedFd, start: u64, bytes: &[u8]) -> Result<(), Errno> {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        match pwrite(file, rest, start + done as u64) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(length) => done += length,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Gives the open file one more name. The short way wants `CAP_DAC_READ_SEARCH` and says `NOENT` without it (Linux 6.10 and
/// later let the opener do without); the way over `/proc` is slower and always open.
///
/// Fails with `EXIST` if the name is taken and with `NOENT` if the file had a name and has none any more.
pub(super) fn link(file: &OwnedFd, folder: &OwnedFd, name: &str) -> Result<(), Errno> {
    match linkat(file, "", folder, name, AtFlags::EMPTY_PATH) {
        Err(Errno::NOENT) => {
            let open = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(CWD, open, folder, name, AtFlags::SYMLINK_FOLLOW)
        }
        other => other,
    }
}

/// Whether `name` means the open file.
pub(super) fn is_named(file: &OwnedFd, folder: &OwnedFd, name: &str) -> Result<bool, Errno> {
    let ours = fstat(file)?;
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Reads a record; `None` if the file holds none. Whole records appear by `linkat`, so that is an accident of the disk or
/// of a hand.
pub(super) fn read(file: &OwnedFd) -> Result<Option<Attachment>, Errno> {
    let size = usize::try_from(fstat(file)?.st_size).unwrap_or(usize::MAX);
    if !(HEAD..=LARGEST).contains(&size) {
        return Ok(None);
    }
    let mut bytes = vec![0; size];
    for _ in 0..LOOKS {
        let mut done = 0;
        while done < size {
            match pread(file, &mut bytes[done..], done as u64) {
                Ok(0) => return Ok(None),
                Ok(length) => done += length,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        let record = Attachment::read(&bytes);
        if record.is_some() {
            return Ok(record);
        }
    }
    Ok(None)
}
