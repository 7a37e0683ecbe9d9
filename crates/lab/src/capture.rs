//! What a process has said, kept in memory, and waiting for more of it.
//!
//! It holds at most [`LIMIT`] bytes a stream and counts the rest, so that a program that runs wild
//! does not take the test's memory with it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::book::lock;
use crate::process::Mark;

/// Bytes kept of one stream.
const LIMIT: usize = 8 << 20;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    Stdout = 0,
    Stderr = 1,
}

#[derive(Debug, Default)]
pub(crate) struct Capture {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    bytes: [Vec<u8>; 2],
    dropped: [usize; 2],
    open: usize,
}

impl Capture {
    pub(crate) fn opened(&self) {
        lock(&self.said).open += 1;
    }

    pub(crate) fn closed(&self) {
        lock(&self.said).open -= 1;
        self.changed.notify_all();
    }

    pub(crate) fn heard(&self, stream: Stream, bytes: &[u8]) {
        let mut said = lock(&self.said);
        let index = stream as usize;
        let room = LIMIT - said.bytes[index].len();
        let (kept, dropped) = bytes.split_at(room.min(bytes.len()));
        said.bytes[index].extend_from_slice(kept);
        said.dropped[index] += dropped.len();
        drop(said);
        self.changed.notify_all();
    }

    pub(crate) fn text(&self, stream: Stream) -> String {
        let said = lock(&self.said);
        let index = stream as usize;
        let mut text = String::from_utf8_lossy(&said.bytes[index]).into_owned();
        if said.dropped[index] > 0 {
            text.push_str(&format!("\n… {} bytes more\n", said.dropped[index]));
        }
        text
    }

    pub(crate) fn mark(&self) -> Mark {
        let said = lock(&self.said);
        Mark([said.bytes[0].len(), said.bytes[1].len()])
    }

    /// The first whole line with this text behind the mark; none when the deadline or the end comes.
    pub(crate) fn wait_for_line(&self, mark: Mark, text: &str, until: Instant) -> Option<String> {
        let mut line = None;
        self.wait(until, |said| {
            line = said.line(mark, text);
            line.is_some() || said.open == 0
        });
        line
    }

    /// Waits until both streams are closed; false when the deadline comes first.
    pub(crate) fn wait_for_end(&self, until: Instant) -> bool {
        self.wait(until, |said| said.open == 0)
    }

    fn wait(&self, until: Instant, mut arrived: impl FnMut(&Said) -> bool) -> bool {
        let mut said = lock(&self.said);
        loop {
            if arrived(&said) {
                return true;
            }
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return false;
            }
            said = self
                .changed
                .wait_timeout(said, rest)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Said {
    fn line(&self, mark: Mark, text: &str) -> Option<String> {
        self.bytes.iter().zip(mark.0).find_map(|(bytes, start)| {
            let new = bytes.get(start..)?;
            // Without its line feed the last line may still grow, unless nobody writes any more.
            let whole = if self.open == 0 {
                new.len()
            } else {
                new.iter().rposition(|&byte| byte == b'\n')?
            };
            String::from_utf8_lossy(&new[..whole])
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned)
        })
    }
}
