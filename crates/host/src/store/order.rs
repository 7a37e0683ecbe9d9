//! For which generation of the ruleset this network's node was last found in order.
//!
//! Like a hint it may be lost or overwritten: then somebody looks again. A generation belongs to one life of the kernel, and
//! so does the folder.

use super::Store;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{pread, pwrite};

/// Digits of the largest generation; the number is padded to it, so that one write replaces the whole.
const LENGTH: usize = 10;

/// Its file's name; it is forgotten with everything else when the kernel begins another life.
pub(super) const FILE: &str = "in-order";

impl Store {
    /// The generation that was found in order last, if anybody remembers.
    #[must_use]
    pub fn in_order(&self) -> Option<u32> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(&self.folder, FILE, flags, Mode::empty()).ok()?;
        let mut bytes = [0; LENGTH];
        let length = pread(&file, &mut bytes, 0).ok()?;
        std::str::from_utf8(&bytes[..length])
            .ok()?
            .trim_end()
            .parse()
            .ok()
    }

    /// Remembers that everything was in order at this generation.
    pub fn set_in_order(&self, generation: u32) {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if let Ok(file) = openat(&self.folder, FILE, flags, Mode::RUSR | Mode::WUSR) {
            // Not written is not remembered: the next call looks again.
            let _unwritten = pwrite(&file, format!("{generation:<LENGTH$}").as_bytes(), 0);
        }
    }
}
