//! What the person who waits is told: a line on standard error at a time.
//!
//! Standard output stays free for what a verb answers. Nothing here says how anything went: that is what errors are for.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line. Nobody listening is no reason to fail.
pub fn say(line: impl Display) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}
