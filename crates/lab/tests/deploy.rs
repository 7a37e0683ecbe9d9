//! What `deploy/` holds, as a cluster or systemd would take it: read from the files themselves, so that they cannot drift.

mod chart;
mod container;
mod manifest;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// A file of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

fn text(name: &str) -> Result<String> {
    fs::read_to_string(path(name)).with_context(|| format!("read {name}"))
}

fn yaml(text: &str) -> Result<Vec<Value>> {
    serde_saphyr::from_multiple(text).context("it is no YAML")
}

/// The object of this kind in `deploy/podwire.yaml`.
fn object(kind: &str) -> Result<Value> {
    let all = yaml(&text("deploy/podwire.yaml")?)?;
    let found = all.into_iter().find(|object| object["kind"] == kind);
    found.with_context(|| format!("deploy/podwire.yaml has no {kind}"))
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().into_iter().flatten().collect()
}

/// The strings of a list.
fn words(value: &Value) -> Vec<&str> {
    list(value).into_iter().filter_map(Value::as_str).collect()
}
