//! The first build of Podwire that could be installed on a cluster, made again from its commit: to come from, and to go back
//! to.
//!
//! Its sources are taken out of the repository's history by `git archive`, built by their own `cargo xtask dist`, and made
//! an image with the commit's name. All is kept below the place by the commit, so that it is built once. Its manifest is its
//! own too: what an upgrade changes is more than an image.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::process::{feed_within, run, shown};
use crate::progress::say;
use crate::{Place, image, network};

/// Everything from nothing, beside a cluster.
const BUILDS_WITHIN: Duration = Duration::from_secs(3600);

const MANIFEST: &str = "deploy/podwire.yaml";

/// An earlier build, brought to all nodes.
#[derive(Debug)]
pub struct Older {
    /// Its commit.
    pub commit: String,
    /// What its pods run.
    pub image: String,
    /// Its manifest, with that image and the lines that a user changes.
    pub manifest: String,
}

/// Builds it unless it is there, and brings it to the nodes.
///
/// # Errors
/// When the repository has no such commit, or it does not build.
pub fn older(cluster: &Cluster) -> Result<Older> {
    let (commit, place) = (first()?, cluster.place());
    let name = format!("localhost/podwire:{}", &commit[..12.min(commit.len())]);
    let archive = archive(place, &commit, &name)?.display().to_string();
    for node in cluster.nodes() {
        let words = [
            "ctr", "-n", "k8s.io", "images", "import", "--local", &archive,
        ];
        node.run(&words)?;
    }
    let manifest = git(&["show", &format!("{commit}:{MANIFEST}")])?;
    let own = manifest
        .lines()
        .find_map(|line| line.trim().strip_prefix("image: "));
    let own = own.with_context(|| format!("{MANIFEST} of {commit} names no image"))?;
    Ok(Older {
        manifest: network::edited(&manifest, cluster)?.replace(own, &name),
        image: name,
        commit,
    })
}

/// The commit that brought the manifest.
fn first() -> Result<String> {
    let all = git(&["log", "--diff-filter=A", "--format=%H", "--", MANIFEST])?;
    let first = all
        .lines()
        .last()
        .context("no commit has brought the manifest")?;
    ensure!(
        git(&["rev-parse", "HEAD"])? != first,
        "the history begins with what is to be upgraded to; type: git fetch --unshallow"
    );
    Ok(first.to_owned())
}

/// Its image, below the folder of images, which nodes see, but not one that every node gets.
fn archive(place: &Place, commit: &str, name: &str) -> Result<PathBuf> {
    let archive = place.images().join("older").join(format!("{commit}.tar"));
    if archive.is_file() {
        return Ok(archive);
    }
    let folder = place.root().join("older").join(commit);
    let sources = folder.join("sources");
    for made in [&sources, &place.images().join("older")] {
        fs::create_dir_all(made).with_context(|| format!("make {}", made.display()))?;
    }
    let tar = folder.join("sources.tar");
    git(&["archive", "-o", &tar.display().to_string(), commit])?;
    run(Command::new("tar")
        .arg("-xf")
        .arg(&tar)
        .arg("-C")
        .arg(&sources))?;
    let mut dist = Command::new("nice");
    dist.args(["-n", "5", "cargo", "xtask", "dist"])
        .current_dir(&sources)
        .env("CARGO_TARGET_DIR", folder.join("target"));
    say(format!("$ cd {} && {}", sources.display(), shown(&dist)));
    feed_within(BUILDS_WITHIN, &mut dist, "")?;
    let unfinished = archive.with_extension("unfinished");
    image::named(name, &sources.join("dist/bin"), ARCH, &unfinished)?;
    fs::rename(&unfinished, &archive).with_context(|| format!("put {}", archive.display()))?;
    Ok(archive)
}

fn git(words: &[&str]) -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    run(Command::new("git").arg("-C").arg(root).args(words))
}
