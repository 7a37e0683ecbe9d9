//! VERSION: which versions of the specification are served.
//!
//! Called with dummy values in all other variables, at every load of a configuration, and never fails for what stands on
//! standard input.

use crate::answer::Answer;
use model::cni::Version;
use serde_json::{Value, json};

pub(crate) fn version(input: &str) -> Answer {
    let asked = serde_json::from_str::<Value>(input).ok();
    let asked = asked
        .as_ref()
        .and_then(|object| object["cniVersion"].as_str())
        .filter(|text| !text.is_empty());
    Answer::Object(json!({
        "cniVersion": asked.unwrap_or(Version::V1_1_0.as_str()),
        "supportedVersions": Version::ALL.map(Version::as_str),
    }))
}
