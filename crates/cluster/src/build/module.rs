//! A module of our own around one of others, so that its packages can be built in the versions that it asks for.
//!
//! `go install module@version` would not do: Kubernetes' go.mod has `replace` lines, which hold in the main module only, and
//! so must be said again in ours (go.dev/ref/mod, "replace directive"). What else goes into go.mod and go.sum is Go's doing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::go::Go;
use super::part::Part;
use crate::{Place, version};

/// Where our module for a part lies.
pub(super) fn folder(place: &Place, part: &Part) -> PathBuf {
    place.root().join("build").join(part.name)
}

/// Writes it.
pub(super) fn write(place: &Place, go: &Go, part: &Part) -> Result<()> {
    let folder = folder(place, part);
    let mut text = head();
    text.push_str(&format!("\nrequire {} {}\n", part.module, part.version));
    if part.is_kubernetes() {
        text.push_str(&staging(&manifest(go, &folder, part)?));
    }
    put(&folder, "go.mod", &text)?;
    part.main
        .map_or(Ok(()), |main| put(&folder, "main.go", main))
}

/// The first lines of every go.mod of ours.
pub(super) fn head() -> String {
    format!("module cluster\n\ngo {}\n", version::GO)
}

/// Writes a file into a folder, which is made.
pub(super) fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    let file = folder.join(name);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, text))
        .with_context(|| format!("write {}", file.display()))
}

/// The go.mod of the part's module.
fn manifest(go: &Go, folder: &Path, part: &Part) -> Result<String> {
    put(folder, "go.mod", &head())?;
    let module = format!("{}@{}", part.module, part.version);
    let answer = go.ask(folder, &["mod", "download", "-json", &module])?;
    let answer: Value = serde_json::from_str(&answer)
        .with_context(|| format!("go mod download {module}: the answer is no JSON"))?;
    let path = answer["GoMod"].as_str().unwrap_or_default();
    let text = fs::read_to_string(path)
        .with_context(|| format!("read the go.mod of {module}, {path:?}"))?;
    ensure!(text.contains(STAGING), "{path} names no staging modules");
    Ok(text)
}

const STAGING: &str = " => ./staging/";

/// Kubernetes takes these modules from its own tree; each is published as well, with the same numbers behind `v0.`.
fn staging(manifest: &str) -> String {
    let minor = version::KUBERNETES
        .split_once('.')
        .map_or("", |(_, rest)| rest);
    let lines = || manifest.lines().map(str::trim);
    let required = |module: &str| {
        let head = format!("{module} ");
        lines().any(|line| line.starts_with(&head) && !line.contains(STAGING))
    };
    lines()
        .filter_map(|line| Some(line.split_once(STAGING)?.0))
        .map(|module| module.trim_start_matches("replace "))
        // The others exist for their readers only.
        .filter(|module| required(module))
        .map(|module| format!("\nreplace {module} => {module} v0.{minor}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staging_module_that_kubernetes_requires_is_taken_as_it_was_published() {
        let manifest = "require (\n\tk8s.io/api v0.0.0\n\tk8s.io/klog/v2 v2.140.0\n)\n\
                        replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\
                        \tk8s.io/sample-controller => ./staging/src/k8s.io/sample-controller\n)\n";
        let (_, minor) = version::KUBERNETES.split_once('.').unwrap();
        assert_eq!(
            staging(manifest),
            format!("\nreplace k8s.io/api => k8s.io/api v0.{minor}\n")
        );
    }
}
