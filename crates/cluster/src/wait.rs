//! Waiting for what nobody announces: asked again and again until it is so, with a deadline.
//!
//! The API server's objects could be watched, but a cluster that comes up answers at first not at all, and most questions
//! here are about several objects or about a program's answer. What a single object becomes is better left to
//! `kubectl wait`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{Timespec, poll};

/// Between two questions.
const REST: Duration = Duration::from_millis(100);

/// What the question gives, as soon as it gives no error.
///
/// # Errors
/// Past the deadline, with the last answer.
pub fn until<T>(
    within: Duration,
    what: &str,
    mut question: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let answer = question();
        if answer.is_ok() || Instant::now() >= deadline {
            return answer.with_context(|| format!("{what}: not so within {within:?}"));
        }
        rest(REST)?;
    }
}

/// Waits where there is nothing to wait for: between two questions, or for a time that is itself what is measured or endured.
///
/// # Errors
/// When the kernel knows no time of that length.
pub fn rest(span: Duration) -> Result<()> {
    let span = Timespec::try_from(span).context("a rest of that length")?;
    poll(&mut [], Some(&span)).context("rest").map(drop)
}
