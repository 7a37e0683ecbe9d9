//! The chart, by Helm itself: it renders the manifest, and what it installs is a network.

use anyhow::{Context, Result, ensure};
use cluster::helm::{chart, helm};

use super::{Uninstall, agents_are_gone, bare, nodes_are_ready, nothing_is_left, traces};
use crate::up::all_reach_all;

const MANIFEST: &str = include_str!("../../../../../deploy/podwire.yaml");
const HERE: [&str; 2] = ["--namespace", "kube-system"];

#[test]
fn helm_finds_no_fault_with_the_chart_renders_the_manifest_and_installs_a_network() -> Result<()> {
    let cluster = bare()?;
    let chart = chart().display().to_string();
    let told = helm(&cluster, &["lint", "--strict", &chart])?;
    ensure!(told.contains("0 chart(s) failed"), "{told}");
    let rendered = helm(
        &cluster,
        &[&["template", "podwire", &chart], &HERE[..]].concat(),
    )?;
    ensure!(
        content(&rendered) == content(MANIFEST),
        "helm template differs from deploy/podwire.yaml in more than comments:\n{rendered}"
    );

    let before = traces(&cluster)?;
    let manifest = cluster.manifest()?;
    let mut set = Vec::new();
    for value in ["prefixes", "apiserver"] {
        let flag = format!("--{value}=");
        let line = manifest.lines().find_map(|line| line.split_once(&flag));
        let (_, text) = line.with_context(|| format!("no {flag}"))?;
        // A comma would begin another value.
        let text = text.trim_end_matches('\'').replace(',', "\\,");
        set.extend(["--set-string".to_owned(), format!("{value}={text}")]);
    }
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    for verb in ["install", "upgrade"] {
        let words = [&[verb, "podwire", &chart, "--wait"], &HERE[..], &set].concat();
        helm(&cluster, &words)?;
        nodes_are_ready(&cluster)?;
        all_reach_all(&cluster, 2)?;
    }
    helm(
        &cluster,
        &[&["uninstall", "podwire", "--wait"], &HERE[..]].concat(),
    )?;
    agents_are_gone(&cluster)?;
    let uninstall = Uninstall::begin(&cluster)?;
    uninstall.is_through()?;
    drop(uninstall);
    nothing_is_left(&cluster, &before)
}

/// Without comments, which Helm adds and keeps as it likes, and without empty lines.
fn content(yaml: &str) -> Vec<&str> {
    let lines = yaml.lines().map(str::trim_end);
    lines
        .filter(|line| !line.is_empty() && !line.trim_start().starts_with('#'))
        .collect()
}
