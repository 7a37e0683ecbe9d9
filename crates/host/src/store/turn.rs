//! Whose turn it is to remove links of this network, and the group of links that goes at the next turn.
//!
//! One file, `removal`: its flock is the turn, which the kernel takes back from whoever is killed, and its content is the
//! number of the group. Like a hint the file may be lost, be overwritten or make no sense: then links go one by one.
//! Who waits has it open for reading and who has the turn for writing too, so that only the end of a turn is heard by those
//! who listen for a close after writing (inotify(7)).

use super::Store;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::{Errno, pread, pwrite};
use rustix::rand::{GetRandomFlags, getrandom};
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::time::Instant;

/// Its file's name.
const FILE: &str = "removal";
/// Length of the largest number; every one is padded to it, so that one write replaces the whole.
const LENGTH: usize = 10;

/// The place where removals of links wait for each other.
#[derive(Debug)]
pub(crate) struct Queue<'s> {
    folder: &'s OwnedFd,
    file: OwnedFd,
}

/// The right to remove. It ends when it is dropped, and then others hear it.
#[derive(Debug)]
pub(crate) struct Turn<'s> {
    queue: Queue<'s>,
    /// Dropped after the lock was given up. Without it nobody hears the end.
    _bell: Option<OwnedFd>,
}

/// Hears when a turn ends. Of somebody who is killed at his turn it may hear too soon, before the kernel has taken the turn
/// back: then only the deadline helps.
#[derive(Debug)]
pub(crate) struct Ear(OwnedFd);

impl Store {
    /// The place to wait in; none if the folder cannot be written.
    pub(crate) fn removals(&self) -> Option<Queue<'_>> {
        let folder = &self.folder;
        let file = match open(folder, OFlags::RDONLY) {
            Err(Errno::NOENT) => open(folder, OFlags::RDONLY | OFlags::CREATE),
            other => other,
        };
        let file = file.ok()?;
        Some(Queue { folder, file })
    }
}

impl<'s> Queue<'s> {
    /// The turn, if nobody has it.
    pub(crate) fn now(self) -> Result<Turn<'s>, Self> {
        match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Turn {
                _bell: open(self.folder, OFlags::RDWR).ok(),
                queue: self,
            }),
            Err(_) => Err(self),
        }
    }

    /// The group that goes at one of the next turns. Two that find none may choose one each, and both are good.
    pub(crate) fn group(&self) -> Option<NonZeroU32> {
        self.known().or_else(|| self.choose())
    }

    /// Begins to hear of turns that end; none if the kernel has no ear to give.
    pub(crate) fn listen(&self) -> Option<Ear> {
        let ear = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        inotify::add_watch(&ear, path, WatchFlags::CLOSE_WRITE).ok()?;
        Some(Ear(ear))
    }

    fn known(&self) -> Option<NonZeroU32> {
        let mut bytes = [0; LENGTH];
        let length = pread(&self.file, &mut bytes, 0).ok()?;
        let text = std::str::from_utf8(&bytes[..length]).ok()?;
        text.trim_end().parse().ok()
    }

    /// Another number, which nobody can have foreseen: whatever bears it is removed.
    fn choose(&self) -> Option<NonZeroU32> {
        let mut bytes = [0; 4];
        getrandom(&mut bytes, GetRandomFlags::empty()).ok()?;
        let group = NonZeroU32::new(u32::from_ne_bytes(bytes))?;
        let file = open(self.folder, OFlags::RDWR).ok()?;
        pwrite(file, format!("{group:<LENGTH$}").as_bytes(), 0).ok()?;
        Some(group)
    }
}

impl Turn<'_> {
    /// Retires a group: who comes from now on takes another one.
    pub(crate) fn retire(&self, group: NonZeroU32) {
        if self.queue.known() == Some(group) {
            // Not written is not retired, and the number is as good as before.
            let _kept = self.queue.choose();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // If it fails, the end of the process gives the turn up.
        let _given_up = flock(&self.queue.file, FlockOperation::Unlock);
    }
}

impl Ear {
    /// Waits until a turn may have ended; says no when the deadline is over.
    pub(crate) fn hear(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        // A signal is no end, but a reason to look.
        let heard =
            Timespec::try_from(left).is_ok_and(|left| poll(&mut ready, Some(&left)) != Ok(0));
        // What was heard is no news afterwards.
        let mut events = [MaybeUninit::uninit(); 512];
        let mut events = inotify::Reader::new(&self.0, &mut events);
        while heard && events.next().is_ok() {}
        heard && Instant::now() < deadline
    }
}

fn open(folder: &OwnedFd, how: OFlags) -> Result<OwnedFd, Errno> {
    let flags = how | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(folder, FILE, flags, Mode::RUSR | Mode::WUSR)
}
