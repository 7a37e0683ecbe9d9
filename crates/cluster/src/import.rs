//! Brings the images to the nodes' containerd, from outside: there is no registry that they could be pulled from.
//!
//! A node's disk remembers what it has, so that only what is new or changed is brought again. All nodes take them at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::machine::Machine;
use crate::wait::until;

/// Notes on the node's disk, one an archive.
const IMPORTED: &str = "/var/lib/containerd/imported";
/// The first one waits for containerd itself.
const TAKES_WITHIN: Duration = Duration::from_secs(60);

/// Brings every archive to every node that is on; gives the names of those that some node did not have.
pub(crate) fn import(cluster: &Cluster) -> Result<Vec<String>> {
    let folder = cluster.place().images();
    let mut archives = Vec::new();
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("read {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "tar") {
            archives.push(path);
        }
    }
    archives.sort();
    let nodes = cluster.nodes();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let archives = &archives;
        let take = |node: &Machine| {
            let node = node.clone();
            scope.spawn(move || take_all(&node, archives))
        };
        let takers: Vec<_> = nodes
            .iter()
            .filter(|node| node.is_on())
            .map(|node| take(node))
            .collect();
        takers.into_iter().map(|taker| taker.join()).collect()
    });
    let mut new = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(names) => new.extend(names?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    new.sort();
    new.dedup();
    Ok(new)
}

fn take_all(node: &Machine, archives: &[PathBuf]) -> Result<Vec<String>> {
    let mut new = Vec::new();
    for archive in archives {
        let name = archive.file_stem().unwrap_or_default().to_string_lossy();
        if take(node, archive, &name)? {
            new.push(name.into_owned());
        }
    }
    Ok(new)
}

fn take(node: &Machine, archive: &Path, name: &str) -> Result<bool> {
    let shown = archive.display().to_string();
    let about = fs::metadata(archive).with_context(|| format!("look at {shown}"))?;
    let content = format!("{} bytes of {:?}", about.len(), about.modified()?);
    let note = format!("{IMPORTED}/{name}");
    if node
        .run(&["cat", &note])
        .is_ok_and(|noted| noted == content)
    {
        return Ok(false);
    }
    until(
        TAKES_WITHIN,
        &format!("containerd takes the image {name}"),
        || {
            node.run(&[
                "ctr",
                "-n",
                "k8s.io",
                "images",
                "import",
                "--local",
                "--snapshotter",
                "overlayfs",
                &shown,
            ])
        },
    )?;
    node.run(&["mkdir", "-p", IMPORTED])?;
    node.feed(&["tee", &note], &content)?;
    Ok(true)
}
