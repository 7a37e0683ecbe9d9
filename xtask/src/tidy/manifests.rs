//! Every package obeys the lints of the workspace, and these forbid unsafe code.
//!
//! Cargo does not tell about lints, so the manifests are read as the lines that they are: a table's head, then its keys
//! until the next head. That is less than TOML, and all that these two rules need.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace;

/// Every manifest that escapes the lints.
pub(super) fn findings(root: &Path, metadata: &Value) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let workspace_manifest = root.join("Cargo.toml");
    if !has(
        &workspace_manifest,
        "[workspace.lints.rust]",
        "unsafe_code = \"forbid\"",
    )? {
        findings.push(
            "Cargo.toml: unsafe code is not forbidden; \
             put `unsafe_code = \"forbid\"` into [workspace.lints.rust]"
                .to_owned(),
        );
    }
    for package in workspace::packages(metadata) {
        let manifest = package["manifest_path"]
            .as_str()
            .context("cargo metadata names no manifest_path")?;
        let manifest = Path::new(manifest);
        if !has(manifest, "[lints]", "workspace = true")? {
            let shown = manifest.strip_prefix(root).unwrap_or(manifest);
            findings.push(format!(
                "{}: escapes the workspace's lints; add `[lints]` with `workspace = true`",
                shown.display()
            ));
        }
    }
    Ok(findings)
}

fn has(manifest: &Path, table: &str, key: &str) -> Result<bool> {
    let text =
        fs::read_to_string(manifest).with_context(|| format!("read {}", manifest.display()))?;
    let mut lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    let inside = lines.by_ref().any(|line| line == table);
    Ok(inside
        && lines
            .take_while(|line| !line.starts_with('['))
            .any(|line| line == key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scratch::Scratch;

    const ROOT: &str = "[workspace.lints.rust]\nunsafe_code = \"forbid\" # no exceptions\n";
    const MEMBER: &str = "[lints]\nworkspace = true\n";

    fn found(name: &str, root_manifest: &str, member: &str) -> Vec<String> {
        let scratch = Scratch::new(name);
        scratch.write("Cargo.toml", root_manifest);
        scratch.write("crates/member/Cargo.toml", member);
        let manifest = scratch.path().join("crates/member/Cargo.toml");
        let metadata = json!({ "packages": [{ "manifest_path": manifest }] });
        findings(scratch.path(), &metadata).unwrap()
    }

    #[test]
    fn a_package_under_the_workspaces_lints_is_fine() {
        assert!(found("lints-fine", ROOT, MEMBER).is_empty());
    }

    #[test]
    fn a_package_that_escapes_the_lints_is_named() {
        for (name, member) in [
            ("lints-none", "[package]\n"),
            ("lints-commented", "[lints]\n# workspace = true\n"),
            (
                "lints-elsewhere",
                "[lints]\n[dependencies]\nworkspace = true\n",
            ),
        ] {
            let found = found(name, ROOT, member);
            assert!(
                matches!(&found[..], [only] if only.starts_with("crates/member/Cargo.toml: escapes")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_workspace_that_only_denies_unsafe_code_is_named() {
        let found = found("lints-deny", &ROOT.replace("forbid", "deny"), MEMBER);
        assert!(
            matches!(&found[..], [only] if only.contains("unsafe code is not forbidden")),
            "{found:?}"
        );
    }
}
