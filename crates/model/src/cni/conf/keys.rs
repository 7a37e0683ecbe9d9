//! Keys of a JSON object, in whatever case they are written, and what of them asks for something.
//!
//! What is known and not served is refused by name: who declares a key has to act on it or to fail (CNI conventions).

use crate::cni::{CniError, Code};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value};

/// A key in any ASCII case: some runtimes write it as their own structs are called. The exact spelling wins.
pub(in crate::cni) fn get<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).or_else(|| {
        object
            .iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
    })
}

pub(in crate::cni) fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    get(object, key).and_then(Value::as_str)
}

/// Whether a value says nothing.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.iter().all(is_empty),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What is true or false, and false if it is not said.
pub(super) fn flag(object: &Map<String, Value>, key: &str, wrong: &mut Vec<String>) -> bool {
    match get(object, key) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(value)) => *value,
        Some(other) => {
            wrong.push(format!("{key}: {other} is neither true nor false"));
            false
        }
    }
}

/// Refuses the first of `keys` that asks for something; `place` is where they stand.
pub(super) fn refuse(
    object: &Map<String, Value>,
    keys: &[&str],
    place: &str,
) -> Result<(), CniError> {
    let is_set = |value: &&Value| {
        let off = value.as_bool() == Some(false) || value.as_f64() == Some(0.0);
        !off && !is_empty(value)
    };
    let mut found = keys
        .iter()
        .filter_map(|key| Some((key, get(object, key).filter(is_set)?)));
    let Some((key, value)) = found.next() else {
        return Ok(());
    };
    let msg = format!("{place}{key} = {value} is known and not served");
    Err(CniError::new(Code::Unsupported, msg).details("remove it from the configuration"))
}
