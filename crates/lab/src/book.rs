//! What a laboratory owns: the list of its places and processes.
//!
//! Handles such as [`Node`](crate::Node) point here weakly or share what is listed here, so that
//! the laboratory alone decides when everything ends.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::place::Place;
use crate::process::Process;

/// How long the kernel may take to end a process after SIGKILL.
const KILL_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Book {
    places: Mutex<Vec<Arc<Place>>>,
    processes: Mutex<Vec<Process>>,
    ports: AtomicU32,
    closed: AtomicBool,
}

impl Book {
    pub(crate) fn enlist(&self, place: Arc<Place>) {
        lock(&self.places).push(Arc::clone(&place));
        if self.closed.load(Ordering::SeqCst) {
            place.close();
        }
    }

    pub(crate) fn record(&self, process: Process) {
        lock(&self.processes).push(process);
        // Entered first, looked second: either `close` finds it in the list, or it is found closed here.
        if self.closed.load(Ordering::SeqCst) {
            self.kill(|_| true);
        }
    }

    /// Drops a process that has ended, and its output.
    pub(crate) fn forget(&self, process: &Process) {
        lock(&self.processes).retain(|other| !other.is(process));
    }

    /// A number that no other switch port of this laboratory has had.
    pub(crate) fn next_port(&self) -> u32 {
        self.ports.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends the processes of one place, and forgets the place.
    pub(crate) fn strike(&self, place: &Arc<Place>) {
        self.kill(|process| process.place() == place.name());
        place.close();
        lock(&self.places).retain(|other| !Arc::ptr_eq(other, place));
    }

    /// Ends the processes that a place has started.
    pub(crate) fn kill_in(&self, place: &str) {
        self.kill(|process| process.place() == place);
    }

    /// Ends everything, also what is entered from now on. The namespaces go with their last descriptor.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.kill(|_| true);
        for place in lock(&self.places).drain(..) {
            place.close();
        }
    }

    pub(crate) fn explain(&self) -> String {
        let mut text = String::new();
        for place in lock(&self.places).iter() {
            if let Some(line) = place.enter_line() {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  {}: {line}", place.name());
            }
        }
        for process in lock(&self.processes).iter() {
            text.push_str(&process.explain());
        }
        text
    }

    fn kill(&self, which: impl Fn(&Process) -> bool) {
        // Cloned, because waiting under the lock would keep others from starting a process.
        let chosen: Vec<_> = lock(&self.processes)
            .iter()
            .filter(|process| which(process) && process.is_running())
            .cloned()
            .collect();
        for process in &chosen {
            // It may have ended in this very moment; the wait below is the proof either way.
            drop(process.kill(rustix::process::Signal::KILL));
        }
        for process in &chosen {
            drop(process.wait_within(KILL_WITHIN));
        }
    }
}

/// A panic elsewhere must not hide itself behind a poisoned lock here: the data is still whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
