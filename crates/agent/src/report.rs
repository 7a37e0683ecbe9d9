//! The status file: what `podwire status` shows of the agent.
//!
//! By rename, so that a reader never sees half of it, and only when there is something new to say.

use anyhow::{Context, Result};
use model::status::{FILE, Status};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The report is written at least this often, so that its time shows that somebody writes it.
const FRESH: Duration = Duration::from_secs(30);

/// The file and what it says.
pub(crate) struct Report {
    path: PathBuf,
    last: Option<Status>,
}

impl Report {
    /// The report in this folder, with nothing said yet.
    pub(crate) fn below(run: &Path) -> Self {
        Self {
            path: run.join(FILE),
            last: None,
        }
    }

    /// Says it, if it is new or the last time is too long ago.
    pub(crate) fn put(&mut self, mut status: Status) -> Result<()> {
        status.at = now();
        if let Some(last) = &self.last {
            let same = Status {
                at: last.at,
                ..status.clone()
            };
            if same == *last && status.at.saturating_sub(last.at) < FRESH.as_secs() {
                return Ok(());
            }
        }
        self.write(&status)
            .with_context(|| format!("write {}", self.path.display()))?;
        self.last = Some(status);
        Ok(())
    }

    fn write(&self, status: &Status) -> Result<()> {
        let mut text = serde_json::to_string(status)?;
        text.push('\n');
        let unfinished = self.path.with_extension("unfinished");
        std::fs::write(&unfinished, text)?;
        std::fs::rename(&unfinished, &self.path)?;
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "people are told")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
