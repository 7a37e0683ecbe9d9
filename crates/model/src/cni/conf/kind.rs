//! The types that one program answers to (CNI specification, key `type`).
//!
//! A runtime finds a type by its file's name, so the name that the program was called by stands in for an absent `type`.
//! What a type does with its configuration stands elsewhere.

use crate::cni::{CniError, Code};
use alloc::format;

/// What a configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Routed pods, addresses of both families.
    Podwire,
    /// Pods on a bridge, as the demo made it by hand.
    BashCni,
    /// The container's own loopback, and no address of ours.
    Loopback,
}

impl Kind {
    /// The type of this name.
    ///
    /// # Errors
    /// Code 7 if it is none of ours.
    pub fn named(name: &str) -> Result<Self, CniError> {
        match name {
            "podwire" | "podwire-cni" => Ok(Self::Podwire),
            "bash-cni" => Ok(Self::BashCni),
            "loopback" => Ok(Self::Loopback),
            other => Err(
                CniError::new(Code::Config, format!("type {other:?} is not served"))
                    .details("served types: podwire, bash-cni, loopback"),
            ),
        }
    }
}
