//! Where things are: the workspace's root, its packages, cargo's target directory.
//!
//! All facts come from `cargo metadata --no-deps`, which needs neither a network nor a registry. It does not know the
//! resolved graph: who may depend on whom is judged by `tidy` from what the manifests themselves say.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell::{cargo, output};

/// The directory of the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// What cargo knows about the workspace in `root`.
pub(crate) fn metadata(root: &Path) -> Result<Value> {
    let mut command = cargo([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
    ]);
    let json = output(command.current_dir(root))?;
    serde_json::from_str(&json).context("cargo metadata: the answer is no JSON")
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory(metadata: &Value) -> Result<PathBuf> {
    let directory = metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target_directory")?;
    Ok(PathBuf::from(directory))
}

/// The packages of the workspace.
pub(crate) fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}
