//! What the runtime gets: one JSON object on standard output, and an exit code.
//!
//! An error goes to standard output too: a runtime falls back to standard error only where standard output is empty. This is
//! the one place that prints.

use model::cni::{CniError, MARK, Version};
use serde_json::Value;
use std::io::Write as _;
use std::process::ExitCode;

/// The answer to a verb that succeeded.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One JSON object.
    Object(Value),
    /// Nothing at all: success is the exit code.
    Nothing,
}

/// Prints the outcome in the words of `version`.
pub(crate) fn print(outcome: &Result<Answer, CniError>, version: Version) -> ExitCode {
    let (object, code) = match outcome {
        Ok(Answer::Nothing) => return ExitCode::SUCCESS,
        Ok(Answer::Object(object)) => (object.clone(), ExitCode::SUCCESS),
        Err(error) => (error.to_json(version), ExitCode::FAILURE),
    };
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{object}").and_then(|()| out.flush()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What a person sees who types the program's name, and what tools read that look for its version.
pub(crate) fn about(called: &str) -> ExitCode {
    let versions = Version::ALL.map(Version::as_str).join(", ");
    let about = format!(
        "CNI {called} plugin v{}{MARK}{versions}\n",
        env!("CARGO_PKG_VERSION")
    );
    // Nobody is there to be told that standard error is closed.
    let written = std::io::stderr().write_all(about.as_bytes());
    if written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A failed operation of the kernel as the runtime gets it.
pub(crate) fn kernel(error: &host::Error) -> CniError {
    CniError::new(model::cni::Code::Kernel, error.to_string())
}

/// A failed operation on the state folder as the runtime gets it.
pub(crate) fn state(error: &host::Error) -> CniError {
    let hint =
        "is the state folder below /run/podwire writable, and has its file system space left?";
    CniError::new(model::cni::Code::Io, error.to_string()).details(hint)
}
