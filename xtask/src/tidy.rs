//! The project's own rules, those that no compiler or linter knows.
//!
//! `edges` holds who may depend on whom, `manifests` that every package obeys the workspace's lints, `sources` what a
//! file must look like, `contract` that the tests exist which docs/contract.md names. Each rule returns sentences, all of
//! them at once; none repairs anything. The rules and their reasons are written for people in CONTRIBUTING.md.

mod contract;
mod edges;
mod manifests;
mod sources;
mod views;

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

/// All that is wrong with the workspace in `root`, which `metadata` describes.
pub(crate) fn findings(root: &Path, metadata: &Value) -> Result<Vec<String>> {
    let mut findings = edges::findings(metadata);
    findings.extend(manifests::findings(root, metadata)?);
    findings.extend(sources::findings(root)?);
    findings.extend(contract::findings(root)?);
    Ok(findings)
}
