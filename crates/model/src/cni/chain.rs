//! A list of plugins in which others have put theirs beside ours (CNI specification, "Network configuration format").
//!
//! Service meshes and port mappers chain their plugin to the one that they find, in its file. Of such a list only what is ours
//! is written anew; what it says else is nobody's business here.

use super::conf::{Kind, get, object, text};
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value};

/// The list that stands with our part of it as in `ours`; none if nothing in it is anybody else's, or nothing ours. If our part
/// is right already, it is the text that stands.
#[must_use]
pub fn renewed(stands: &str, ours: &str) -> Option<String> {
    let (there, ours) = (object(stands).ok()?, object(ours).ok()?);
    let [entry] = plugins(&ours)?.as_slice() else {
        return None;
    };
    let listed = plugins(&there)?;
    listed.iter().position(is_ours)?;
    let is_shared = listed.len() > 1 || there.keys().any(|key| !ours.contains_key(key));
    let mut list = there.clone();
    list.extend(ours.clone());
    list.insert("plugins".into(), chained(listed, entry).into());
    if !is_shared {
        return None;
    }
    if list == there {
        return Some(stands.into());
    }
    let text = serde_json::to_string_pretty(&list).ok()?;
    Some(text + "\n")
}

/// The plugins with our entry in the place of its first.
fn chained(listed: &[Value], ours: &Value) -> Vec<Value> {
    let mut entry = Some(ours.clone());
    let place = |plugin: &Value| {
        if is_ours(plugin) {
            entry.take()
        } else {
            Some(plugin.clone())
        }
    };
    listed.iter().filter_map(place).collect()
}

fn plugins(list: &Map<String, Value>) -> Option<&Vec<Value>> {
    get(list, "plugins").and_then(Value::as_array)
}

fn is_ours(plugin: &Value) -> bool {
    let name = plugin.as_object().and_then(|plugin| text(plugin, "type"));
    let kind = name.and_then(|name| Kind::named(name).ok());
    kind == Some(Kind::Podwire)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str =
        r#"{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"podwire","mtu":1500}]}"#;

    fn renew(stands: &str) -> Option<Value> {
        renewed(stands, OURS).map(|text| value(&text))
    }

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_others_have_chained_stays_in_its_place() {
        let stands = r#"{"cniVersion":"0.4.0","name":"b","disableCheck":true,"plugins":
            [{"type":"first"},{"type":"podwire","ranges":[]},{"type":"mesh","x":[1]},{"type":"podwire"}]}"#;
        let expected = r#"{"cniVersion":"1.0.0","name":"a","disableCheck":true,"plugins":
            [{"type":"first"},{"type":"podwire","mtu":1500},{"type":"mesh","x":[1]}]}"#;
        assert_eq!(renew(stands), Some(value(expected)));
    }

    #[test]
    fn a_key_of_others_alone_is_kept_too() {
        let stands = r#"{"name":"a","disableGC":true,"plugins":[{"type":"podwire"}]}"#;
        let list = renew(stands).unwrap();
        assert_eq!(list["disableGC"], true);
        assert_eq!(list["plugins"][0]["mtu"], 1500);
    }

    #[test]
    fn a_list_that_is_right_stays_as_it_was_written() {
        let stands = r#"{ "plugins": [ {"mtu":1500,"type":"podwire"}, {"type":"mesh"} ],
            "name": "a", "cniVersion": "1.0.0" }"#;
        assert_eq!(renewed(stands, OURS).as_deref(), Some(stands));
    }

    #[test]
    fn a_file_without_anything_of_others_or_of_ours_is_written_whole() {
        for stands in [
            OURS,
            r#"{"name":"b","plugins":[{"type":"podwire","mtu":9}]}"#,
            r#"{"name":"b","plugins":[{"type":"mesh"}]}"#,
            r#"{"name":"b","type":"podwire"}"#,
            "{",
            "",
        ] {
            assert_eq!(renewed(stands, OURS), None, "{stands}");
        }
    }
}
