//! The error object that a runtime reads from standard output.
//!
//! Codes below 100 are the specification's; 100 and above are a plugin's own.

use super::Version;
use alloc::string::String;
use serde_json::{Value, json};

/// The specification's error codes, as far as they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The configuration's version is not served, or lacks the verb.
    IncompatibleVersion = 1,
    /// A field is understood but not served; the message holds its name and value.
    Unsupported = 2,
    /// A variable of the environment is missing or wrong; the message names it.
    Environment = 4,
    /// Input or output failed.
    Io = 5,
    /// The input is no JSON.
    Decode = 6,
    /// The configuration is wrong.
    Config = 7,
    /// The network namespace is none, or is the host's.
    Netns = 8,
    /// It may work later: the range has no address left.
    TryAgain = 11,
    /// The plugin cannot serve an ADD now.
    Unavailable = 50,
    /// The kernel refused.
    Kernel = 100,
    /// CHECK found a difference.
    Different = 101,
    /// An interface or address that is not ours is in the way.
    InTheWay = 102,
    /// Another attachment has the host port.
    PortTaken = 103,
    /// The plugin that was asked for addresses failed.
    Delegate = 104,
}

/// An error as the runtime gets it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{msg}{}{details}", if details.is_empty() { "" } else { ": " })]
pub struct CniError {
    /// Its number.
    pub code: Code,
    /// One sentence: what failed, on which object.
    pub msg: String,
    /// The cause and what to do; may be empty.
    pub details: String,
}

impl CniError {
    /// An error without details.
    #[must_use]
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self {
            code,
            msg: msg.into(),
            details: String::new(),
        }
    }

    /// The same error with its cause, or with what to do.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The error object in the words of a version.
    #[must_use]
    pub fn to_json(&self, version: Version) -> Value {
        let mut object =
            json!({ "cniVersion": version.as_str(), "code": self.code as u32, "msg": self.msg });
        if !self.details.is_empty() {
            object["details"] = json!(self.details);
        }
        object
    }
}
