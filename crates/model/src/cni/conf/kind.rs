//! The types that one program answers to (CNI specification, key `type`).
//!
//! A runtime finds a type by its file's name, so the name that the program was called by stands in for an absent `type`.
//! What a type does with its configuration stands elsewhere.

use super::{get, object, text};
use crate::cni::{CniError, Code};
use alloc::collections::BTreeSet;
use alloc::format;
use core::fmt;
use serde_json::Value;

/// What a configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Routed pods, addresses of both families.
    Podwire,
    /// Pods on a bridge, as the demo made it by hand.
    BashCni,
    /// The container's own loopback, and no address of ours.
    Loopback,
}

impl Kind {
    /// The types of ours that a file for the runtime asks for: one plugin's, or a list's.
    #[must_use]
    pub fn all_in(file: &str) -> BTreeSet<Self> {
        let Ok(object) = object(file) else {
            return BTreeSet::new();
        };
        let plugins = get(&object, "plugins").and_then(Value::as_array);
        let listed = plugins.into_iter().flatten().filter_map(Value::as_object);
        let names = listed.chain([&object]).filter_map(|it| text(it, "type"));
        names.filter_map(|name| Self::named(name).ok()).collect()
    }

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

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Podwire => "podwire",
            Self::BashCni => "bash-cni",
            Self::Loopback => "loopback",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_asks_for_the_types_of_its_plugins() {
        let kinds = |text| Kind::all_in(text).into_iter().collect::<std::vec::Vec<_>>();
        assert_eq!(kinds(r#"{"type":"bash-cni"}"#), [Kind::BashCni]);
        assert_eq!(
            kinds(r#"{"plugins":[{"type":"podwire"},{"type":"mesh"},{"type":"loopback"}]}"#),
            [Kind::Podwire, Kind::Loopback]
        );
        assert_eq!(kinds(r#"{"plugins":7,"type":"bridge"}"#), []);
        assert_eq!(kinds("podwire"), []);
    }
}
