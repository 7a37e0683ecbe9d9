//! For which generation of the ruleset this network's node was last found in order, and in whose eyes.
//!
//! Like a hint it may be lost or overwritten: then somebody looks again. A generation belongs to one life of the kernel, and
//! so does the folder. The mark is the caller's name for what it holds to be in order: another configuration, or another
//! version of the program, has another one and looks for itself.

use super::Store;
use crate::error::Error;
use crate::nft::Nft;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{pread, pwrite};

/// Length of the text: a mark, a space, and the largest generation, each padded, so that one write replaces the whole.
const LENGTH: usize = 16 + 1 + 10;

/// Its file's name; it is forgotten with everything else when the kernel begins another life.
pub(super) const FILE: &str = "in-order";

impl Store {
    /// The generation that was last found in order, and the mark of whoever found it so.
    #[must_use]
    pub fn in_order(&self) -> Option<(u64, u32)> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(&self.folder, FILE, flags, Mode::empty()).ok()?;
        let mut bytes = [0; LENGTH];
        let length = pread(&file, &mut bytes, 0).ok()?;
        let text = std::str::from_utf8(&bytes[..length]).ok()?;
        let (mark, generation) = text.split_once(' ')?;
        let mark = u64::from_str_radix(mark, 16).ok()?;
        Some((mark, generation.trim_end().parse().ok()?))
    }

    /// Remembers that everything was in order at this generation.
    pub fn set_in_order(&self, mark: u64, generation: u32) {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if let Ok(file) = openat(&self.folder, FILE, flags, Mode::RUSR | Mode::WUSR) {
            // Not written is not remembered: the next call looks again.
            let text = format!("{mark:016x} {generation:<10}");
            let _unwritten = pwrite(&file, text.as_bytes(), 0);
        }
    }

    /// Remembers that the ruleset, if it was in order `before`, is so after one transaction of our own.
    ///
    /// # Errors
    /// The kernel does not tell the generation.
    pub fn own_work(&self, nft: &mut Nft, before: u32) -> Result<(), Error> {
        if let Some((mark, generation)) = self.in_order()
            && generation == before
            && Some(nft.generation()?) == before.checked_add(1)
        {
            self.set_in_order(mark, before + 1);
        }
        Ok(())
    }
}
