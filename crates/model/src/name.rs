//! Names that cross a room, each checked once, at the door.
//!
//! The rules are those of the CNI specification (container id, network name, interface name) and of the kernel
//! (`IFNAMSIZ`: 15 bytes and a terminator). What does not satisfy them never becomes a value, so nothing below checks again.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// A name that does not satisfy the rules of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no characters.
    #[error("it is empty")]
    Empty,
    /// The name is longer than its kind allows; the number is the limit in bytes.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// The name has a character that its kind does not allow.
    #[error("it holds {0:?}, which is not allowed there")]
    Character(char),
    /// `.` and `..` are names of directories.
    #[error("`.` and `..` are no names")]
    Dots,
}

macro_rules! name {
    ($(#[$meta:meta])* $kind:ident, $check:path) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $kind(String);

        impl $kind {
            /// Checks `text` and keeps it.
            ///
            /// # Errors
            /// The first rule that `text` breaks.
            pub fn new(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $kind {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$kind> for String {
            fn from(name: $kind) -> Self {
                name.0
            }
        }
    };
}

name!(
    /// An interface's name: 1 to 15 bytes, neither `.` nor `..`, without `/`, `:` and white space; and without `%`, which
    /// the kernel takes for a pattern (`br%d` makes `br0`, then `br1`).
    IfName,
    interface
);
name!(
    /// A container id, free in length: a letter or digit, then letters, digits, `_`, `.`, `-`.
    ContainerId,
    identifier
);
name!(
    /// A CNI network's name, same characters as a container id; it is also a folder's name, hence at most 200 bytes.
    NetworkName,
    folder
);
name!(
    /// A node's name, as Kubernetes or `nodes.toml` gives it.
    NodeName,
    folder
);

impl IfName {
    /// The loopback of every network namespace.
    #[must_use]
    pub fn lo() -> Self {
        Self("lo".to_owned())
    }
}

/// The pod that an attachment belongs to, as the runtime named it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodRef {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID; for a static pod the hash of its file. May be empty.
    pub uid: String,
}

fn interface(text: &str) -> Result<(), NameError> {
    length(text, 15)?;
    if text == "." || text == ".." {
        return Err(NameError::Dots);
    }
    match text
        .chars()
        .find(|c| "/:%".contains(*c) || c.is_whitespace() || c.is_control())
    {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(()),
    }
}

fn folder(text: &str) -> Result<(), NameError> {
    length(text, 200)?;
    identifier(text)
}

fn identifier(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::Character(first));
    }
    match text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !"_.-".contains(*c))
    {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(()),
    }
}

fn length(text: &str, limit: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        n if n > limit => Err(NameError::TooLong(limit)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_name_has_at_most_fifteen_bytes() {
        assert!(IfName::new("abcdefghijklmno").is_ok());
        assert_eq!(IfName::new("abcdefghijklmnop"), Err(NameError::TooLong(15)));
        assert_eq!(IfName::new("ééééééé1"), Ok(IfName("ééééééé1".into())));
        assert_eq!(IfName::new("éééééééé"), Err(NameError::TooLong(15)));
    }

    #[test]
    fn an_interface_name_is_no_path_and_has_no_space() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "a\u{2003}b",
            "a\tb",
            "a%d",
        ] {
            assert!(IfName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_container_id_is_free_in_length_but_not_in_characters() {
        assert!(ContainerId::new(&"a".repeat(5000)).is_ok());
        for bad in ["", "-a", ".a", "a/b", "a b", "ä"] {
            assert!(ContainerId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_network_name_fits_a_folder_name() {
        assert!(NetworkName::new("my.net-1_x").is_ok());
        assert_eq!(
            NetworkName::new(&"n".repeat(201)),
            Err(NameError::TooLong(200))
        );
    }
}
