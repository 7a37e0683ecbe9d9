//! `prevResult`, handed on by a plugin that has nothing to add to it.
//!
//! Follows the CNI specification, "ADD": such a plugin answers with the result that it got. Keys that nobody here knows are
//! handed on too. A result in another form than that of the configuration's version is refused, not converted: a runtime
//! converts before it calls.

use super::{CniError, Code, Version};
use alloc::format;
use alloc::string::String;
use serde_json::{Value, json};

/// The result as the answer in this version.
///
/// # Errors
/// Code 7 if it is no result, or one in the form of another version.
pub fn hand_on(previous: &Value, version: Version) -> Result<Value, CniError> {
    let wrong = |what: String| CniError::new(Code::Config, format!("prevResult {what}"));
    let Some(object) = previous.as_object() else {
        return Err(wrong(format!("is no JSON object but {previous}")));
    };
    let mut object = object.clone();
    // Some runtimes write the key a second time, spelled as their own struct is.
    let is_version = |key: &String| key.eq_ignore_ascii_case("cniVersion");
    let written = object.iter().filter(|(key, _)| is_version(key));
    for written in written.filter_map(|(_, value)| value.as_str()) {
        let known = Version::parse(written).filter(|_| !written.is_empty());
        if !written.is_empty() && known.is_none_or(|of| form(of) != form(version)) {
            let what = format!("is of version {written}, the configuration of {version}");
            return Err(wrong(what));
        }
    }
    object.retain(|key, _| !is_version(key));
    object.insert("cniVersion".into(), json!(version.as_str()));
    Ok(object.into())
}

/// Versions of one form differ in keys that a reader may ignore.
fn form(version: Version) -> u8 {
    match version {
        Version::V0_1_0 | Version::V0_2_0 => 0,
        Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => 1,
        Version::V1_0_0 | Version::V1_1_0 => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_handed_on_with_all_its_keys_and_one_version() {
        let previous =
            json!({"CNIVersion": "1.0.0", "cniVersion": "1.0.0", "ips": [], "theirs": 1});
        assert_eq!(
            hand_on(&previous, Version::V1_1_0).unwrap(),
            json!({"cniVersion": "1.1.0", "ips": [], "theirs": 1})
        );
        let nameless = json!({"ips": []});
        assert_eq!(
            hand_on(&nameless, Version::V0_4_0).unwrap(),
            json!({"cniVersion": "0.4.0", "ips": []})
        );
    }

    #[test]
    fn a_result_of_another_form_or_of_none_is_refused() {
        for (previous, version) in [
            (json!({"cniVersion": "0.4.0"}), Version::V1_0_0),
            (json!({"cniVersion": "0.2.0"}), Version::V0_3_1),
            (json!({"cniVersion": "2.0.0"}), Version::V1_1_0),
            (json!([]), Version::V1_1_0),
        ] {
            let error = hand_on(&previous, version).unwrap_err();
            assert_eq!(error.code, Code::Config, "{previous}");
        }
    }
}
