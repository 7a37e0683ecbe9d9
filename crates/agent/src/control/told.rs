//! What people are told: changes on one line, failures with what to do, findings once.

use host::Error;
use model::change::Change;
use model::status::Finding;
use std::collections::BTreeSet;
use tracing::{info, warn};

/// What has been told and still holds.
#[derive(Debug, Default)]
pub(super) struct Told {
    known: BTreeSet<String>,
}

impl Told {
    /// Logs findings that are new, and those that are over.
    pub(super) fn findings(&mut self, findings: &[Finding]) {
        let now: BTreeSet<String> = findings.iter().map(ToString::to_string).collect();
        for new in now.difference(&self.known) {
            warn!("{new}");
        }
        for over in self.known.difference(&now) {
            info!("no longer: {over}");
        }
        self.known = now;
    }
}

/// A change on one line.
pub(crate) fn line(change: &Change) -> String {
    let text = change.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// A failed operation as a finding.
pub(super) fn failure(error: &Error) -> Finding {
    let number = error.errno().map(|errno| errno.raw_os_error());
    let hint = match number {
        Some(EPERM | EACCES) => "podwired needs CAP_NET_ADMIN; it goes on trying",
        Some(EROFS) => {
            "mount /proc/sys/net or the folder writable; for sysctls name the mount by --proc-sys-net"
        }
        _ => "podwired goes on trying; podwired --dry-run shows what is still to do",
    };
    Finding {
        what: error.to_string(),
        hint: hint.into(),
    }
}

/// Numbers of errno(3) that say what to do.
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const EROFS: i32 = 30;

/// Somebody undoes what we do.
pub(super) fn strife() -> Finding {
    Finding {
        what: "another program keeps undoing what podwired does to this node".into(),
        hint: "podwired's log shows which change comes again and again; stop the program that takes it back".into(),
    }
}
