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
    /// Pods on a bridge, as other people's configurations ask for one.
    Bridge,
    /// Host ports for other people's interfaces.
    Portmap,
    /// Addresses for other people's plugins, which call it by this name.
    HostLocal,
}

impl Kind {
    /// The type that a call is for. An IPAM plugin is called with the configuration of whoever calls it, so only its own name
    /// says who it is.
    ///
    /// # Errors
    /// As [`Kind::named`].
    pub fn of_call(called: &str, written: Option<&str>) -> Result<Self, CniError> {
        match Self::named(called) {
            Ok(kind @ Self::HostLocal) => Ok(kind),
            Ok(Self::Podwire | Self::BashCni | Self::Loopback | Self::Bridge | Self::Portmap)
            | Err(_) => Self::named(written.unwrap_or(called)),
        }
    }

    /// The types of ours that a file for the runtime asks for: one plugin's, or a list's. Those that other people's plugins
    /// have by the same name are left out: a file does not say whose it means.
    #[must_use]
    pub fn all_in(file: &str) -> BTreeSet<Self> {
        let Ok(object) = object(file) else {
            return BTreeSet::new();
        };
        let plugins = get(&object, "plugins").and_then(Value::as_array);
        let listed = plugins.into_iter().flatten().filter_map(Value::as_object);
        let names = listed.chain([&object]).filter_map(|it| text(it, "type"));
        let kinds = names.filter_map(|name| Self::named(name).ok());
        let theirs = [Self::Bridge, Self::HostLocal, Self::Portmap];
        kinds.filter(|kind| !theirs.contains(kind)).collect()
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
            "bridge" => Ok(Self::Bridge),
            "portmap" => Ok(Self::Portmap),
            "host-local" => Ok(Self::HostLocal),
            other => Err(
                CniError::new(Code::Config, format!("type {other:?} is not served")).details(
                    "served types: podwire, bash-cni, loopback, bridge, host-local, portmap",
                ),
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
            Self::Bridge => "bridge",
            Self::Portmap => "portmap",
            Self::HostLocal => "host-local",
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
            kinds(
                r#"{"plugins":[{"type":"podwire"},{"type":"mesh","ipam":{"type":"host-local"}},{"type":"loopback"}]}"#
            ),
            [Kind::Podwire, Kind::Loopback]
        );
        assert_eq!(kinds(r#"{"plugins":7,"type":"bridge"}"#), []);
        assert_eq!(kinds("podwire"), []);
    }
}
