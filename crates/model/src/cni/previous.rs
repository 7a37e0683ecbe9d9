//! `prevResult`, handed on by a plugin of a chain, alone or with what that plugin has added.
//!
//! Follows the CNI specification, "ADD" and "Section 5: Result Types". A result of another version is converted as the reference
//! library does it: 0.1 and 0.2 know one address a family and no interfaces, 0.3 and 0.4 give each address a `version`, only
//! 1.x knows an interface's `mtu`, `socketPath` and `pciID`. Keys that nobody here knows are handed on.

use super::{CniError, Code, Version};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value, json};

/// What only 1.x says of an interface.
const NEW_OF_INTERFACES: [&str; 3] = ["mtu", "socketPath", "pciID"];

/// What a route of 0.1 and 0.2 says.
const OLD_OF_ROUTES: [&str; 2] = ["dst", "gw"];

/// A family in 0.1 and 0.2, and as the `version` of an address in 0.3 and 0.4.
const FAMILIES: [(&str, &str); 2] = [("ip4", "4"), ("ip6", "6")];

/// The result as the answer in this version. One that names no version is of that of the configuration.
///
/// # Errors
/// Code 7 if it is no result, one of a version that nobody knows, or one that the version cannot say.
pub fn hand_on(previous: &Value, version: Version) -> Result<Value, CniError> {
    let wrong = |what: String| CniError::new(Code::Config, format!("prevResult {what}"));
    let Some(object) = previous.as_object() else {
        return Err(wrong(format!("is no JSON object but {previous}")));
    };
    let mut object = object.clone();
    let mut of = version;
    // Some runtimes write the key a second time, spelled as their own struct is.
    while let Some(written) = take(&mut object, "cniVersion") {
        match written.as_str().filter(|text| !text.is_empty()) {
            Some(text) => {
                of = Version::parse(text).ok_or_else(|| {
                    wrong(format!("is of version {text}, which nobody here knows"))
                })?;
            }
            None if written.is_null() || written == "" => {}
            None => {
                return Err(wrong(format!(
                    "has the version {written}, which is no text"
                )));
            }
        }
    }
    if form(of) != form(version) {
        convert(&mut object, form(of), form(version))
            .ok_or_else(|| wrong(format!("has no address that version {version} can say")))?;
    }
    object.insert("cniVersion".into(), json!(version.as_str()));
    Ok(object.into())
}

/// The earlier result, in its answer's form already, with what this plugin adds: its interfaces and addresses come behind those
/// that are there.
#[must_use]
pub fn extend(earlier: Value, own: Value) -> Value {
    let (Value::Object(mut all), Value::Object(own)) = (earlier, own) else {
        return Value::Null;
    };
    let interfaces = take(&mut all, "interfaces").map_or_else(Vec::new, list);
    let before = interfaces.len();
    all.insert("interfaces".into(), interfaces.into());
    for (key, value) in own {
        match (key.as_str(), value) {
            ("interfaces" | "ips" | "routes", Value::Array(mut more)) => {
                let index = more
                    .iter_mut()
                    .filter_map(|entry| entry.get_mut("interface"));
                for index in index {
                    *index = json!(index.as_u64().unwrap_or(0) + before as u64);
                }
                let mut there = take(&mut all, &key).map_or_else(Vec::new, list);
                there.extend(more);
                all.insert(key, there.into());
            }
            // Of 0.1 and 0.2: a family has one address.
            (_, value) => {
                let there = take(&mut all, &key).unwrap_or(value);
                all.insert(key, there);
            }
        }
    }
    if before == 0 && all["interfaces"] == json!([]) {
        all.remove("interfaces");
    }
    all.into()
}

/// Versions of one form differ in keys that a reader may ignore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One block a family.
    Oldest,
    /// A list of addresses, each with the number of its family.
    Numbered,
    /// A list of addresses.
    Plain,
}

fn form(version: Version) -> Form {
    match version {
        Version::V0_1_0 | Version::V0_2_0 => Form::Oldest,
        Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => Form::Numbered,
        Version::V1_0_0 | Version::V1_1_0 => Form::Plain,
    }
}

fn convert(object: &mut Map<String, Value>, from: Form, to: Form) -> Option<()> {
    if from == Form::Oldest {
        rise(object);
    }
    match to {
        Form::Oldest => fall(object)?,
        Form::Numbered => {
            each(object, "ips", |ip| {
                let family = family(ip.get("address")).map(|(_, number)| number);
                ip.extend(family.map(|number| ("version".into(), json!(number))));
            });
            each(object, "interfaces", |interface| {
                for key in NEW_OF_INTERFACES {
                    take(interface, key);
                }
            });
        }
        Form::Plain => each(object, "ips", |ip| {
            take(ip, "version");
        }),
    }
    Some(())
}

/// From one block a family to lists.
fn rise(object: &mut Map<String, Value>) {
    let (mut ips, mut routes) = (Vec::new(), Vec::new());
    for (key, _) in FAMILIES {
        let Some(Value::Object(mut block)) = take(object, key) else {
            continue;
        };
        let address = take(&mut block, "ip").unwrap_or_default();
        let mut ip = Map::from_iter([("address".into(), address)]);
        ip.extend(take(&mut block, "gateway").map(|gateway| ("gateway".into(), gateway)));
        routes.extend(take(&mut block, "routes").map_or_else(Vec::new, list));
        ips.push(Value::Object(ip));
    }
    object.insert("ips".into(), ips.into());
    object.insert("routes".into(), routes.into());
}

/// From lists to one block a family: its first address, and its routes.
fn fall(object: &mut Map<String, Value>) -> Option<()> {
    take(object, "interfaces");
    let ips = take(object, "ips").map_or_else(Vec::new, list);
    let routes = take(object, "routes").map_or_else(Vec::new, list);
    let mut said = None;
    for of in FAMILIES {
        let first = ips.iter().filter_map(Value::as_object);
        let mut first = first.filter(|ip| family(find(ip, "address")) == Some(of));
        let Some(ip) = first.next() else {
            continue;
        };
        let own = routes.iter().filter_map(Value::as_object);
        let own = own.filter(|route| family(find(route, "dst")) == Some(of));
        let own: Vec<Value> = own.map(|route| only(route, &OLD_OF_ROUTES)).collect();
        let mut block = json!({"ip": find(ip, "address"), "routes": own});
        if let Some(gateway) = find(ip, "gateway") {
            block["gateway"] = gateway.clone();
        }
        object.insert(of.0.into(), block);
        said = Some(());
    }
    said
}

/// The family of an address or a prefix.
fn family(text: Option<&Value>) -> Option<(&'static str, &'static str)> {
    let text = text?.as_str()?;
    let of = usize::from(text.contains(':'));
    FAMILIES.get(of).copied()
}

fn only(object: &Map<String, Value>, keys: &[&str]) -> Value {
    let found = keys
        .iter()
        .filter_map(|key| Some(((*key).into(), find(object, key)?.clone())));
    Value::Object(found.collect())
}

fn each(
    object: &mut Map<String, Value>,
    key: &str,
    mut change: impl FnMut(&mut Map<String, Value>),
) {
    let Some(mut entries) = take(object, key).map(list) else {
        return;
    };
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        change(entry);
    }
    object.insert(key.into(), entries.into());
}

fn list(value: Value) -> Vec<Value> {
    if let Value::Array(list) = value {
        list
    } else {
        Vec::new()
    }
}

/// The value of a key in any ASCII case.
fn find<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    super::conf::get(object, key).filter(|value| !value.is_null())
}

/// Takes a key out, in any ASCII case.
fn take(object: &mut Map<String, Value>, key: &str) -> Option<Value> {
    let written = object.keys().find(|k| k.eq_ignore_ascii_case(key))?.clone();
    object.remove(&written)
}

#[cfg(test)]
mod tests;
