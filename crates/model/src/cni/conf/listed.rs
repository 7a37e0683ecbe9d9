//! The attachments that GC is told to leave: `cni.dev/valid-attachments`, and the name that it had before.
//!
//! Follows the CNI specification 1.1.0, "GC". A list that cannot be read is an error, never an empty one: that would remove
//! every pod.

use super::super::{CniError, Code};
use super::{get, text};
use crate::name::{ContainerId, IfName};
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value};

/// The list; none if the key is absent.
pub(super) fn read(
    object: &Map<String, Value>,
) -> Result<Option<Vec<(ContainerId, IfName)>>, CniError> {
    let list =
        get(object, "cni.dev/valid-attachments").or_else(|| get(object, "cni.dev/attachments"));
    let Some(list) = list.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let bad = || {
        CniError::new(
            Code::Config,
            "cni.dev/valid-attachments is no list of containerID and ifname",
        )
    };
    let mut valid = Vec::new();
    for entry in list.as_array().ok_or_else(bad)? {
        let entry = entry.as_object().ok_or_else(bad)?;
        let container =
            ContainerId::new(text(entry, "containerID").ok_or_else(bad)?).map_err(|_| bad())?;
        let ifname = IfName::new(text(entry, "ifname").ok_or_else(bad)?).map_err(|_| bad())?;
        valid.push((container, ifname));
    }
    Ok(Some(valid))
}
