//! The cluster as it was told last, kept for a start while the API server is away.
//!
//! A file in the run folder, so a node that was rebooted has none; where that folder outlives a reboot, the boot id in the file
//! says so. Written by rename, only if the cluster has changed, and not at every change: while a cluster grows there are many.
//! It may therefore be a few seconds old, and nobody must be taken for gone because it does not know him.

use super::known::now;
use anyhow::{Context as _, Result, ensure};
use model::cluster::Cluster;
use model::name::NodeName;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{debug, warn};

/// The file in the run folder.
const FILE: &str = "cluster.json";

/// Least time between two writes.
const REST: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
struct Kept<C> {
    /// The life of the kernel in which it was told.
    boot: String,
    /// Whose agent was told; a machine may be given another name.
    node: NodeName,
    /// Wall clock, for people.
    at: String,
    cluster: C,
}

/// The file, and what of the cluster is not in it yet.
#[derive(Debug)]
pub(super) struct Last {
    path: PathBuf,
    own: NodeName,
    written: Option<Duration>,
    is_behind: bool,
}

impl Last {
    /// The file in this folder.
    pub(super) fn below(run: &Path, own: &NodeName) -> Self {
        Self {
            path: run.join(FILE),
            own: own.clone(),
            written: None,
            is_behind: false,
        }
    }

    /// What was told last in this life of the kernel, and when.
    pub(super) fn read(&self) -> Option<(Cluster, String)> {
        let text = match fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            other => other.with_context(|| format!("read {}", self.path.display())),
        };
        match text.and_then(|text| self.judge(&text)) {
            Ok(kept) => Some((kept.cluster, kept.at)),
            Err(error) => {
                warn!("{}: {error:#}; it is not used", self.path.display());
                None
            }
        }
    }

    /// The cluster is another one now.
    pub(super) fn changed(&mut self) {
        self.is_behind = true;
    }

    /// Writes it if it is not in the file yet and the last write is long enough ago. To be called from time to time; `now`
    /// is since the start of the agent.
    pub(super) fn keep(&mut self, now: Duration, cluster: &Cluster) {
        if !self.is_behind || self.written.is_some_and(|at| now < at + REST) {
            return;
        }
        self.written = Some(now);
        match self.write(cluster) {
            Ok(()) => {
                self.is_behind = false;
                debug!("{} is written", self.path.display());
            }
            Err(error) => debug!("write {}: {error:#}", self.path.display()),
        }
    }

    fn judge(&self, text: &[u8]) -> Result<Kept<Cluster>> {
        let kept: Kept<Cluster> = serde_json::from_slice(text)?;
        ensure!(
            kept.boot == host::clock::boot_id()?,
            "it is of another boot"
        );
        ensure!(kept.node == self.own, "it is of node {}", kept.node);
        Ok(kept)
    }

    fn write(&self, cluster: &Cluster) -> Result<()> {
        let kept = Kept {
            boot: host::clock::boot_id()?,
            node: self.own.clone(),
            at: now(),
            cluster,
        };
        let unfinished = self.path.with_extension("unfinished");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = BufWriter::new(options.open(&unfinished)?);
        serde_json::to_writer(&mut file, &kept)?;
        file.flush()?;
        fs::rename(&unfinished, &self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::cluster::Node;
    use model::name::NetworkName;
    use std::collections::BTreeMap;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("podwire-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn last(&self, own: &str) -> Last {
            Last::below(&self.0, &NodeName::new(own).unwrap())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn cluster(names: &[&str]) -> Cluster {
        let node = |name: &&str| {
            let node = Node {
                addresses: vec!["10.128.0.2".parse().unwrap()],
                ranges: Vec::new(),
            };
            (NodeName::new(name).unwrap(), node)
        };
        Cluster {
            network: NetworkName::new("podwire").unwrap(),
            prefixes: vec!["10.244.0.0/16".parse().unwrap()],
            nodes: names.iter().map(node).collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn what_was_told_last_is_read_again_and_not_written_at_every_change() {
        let folder = Folder::new("last");
        let mut last = folder.last("a");
        assert_eq!(last.read(), None);
        last.keep(Duration::ZERO, &cluster(&["a"]));
        assert_eq!(last.read(), None, "nothing has changed");
        let nodes = || folder.last("a").read().map(|(cluster, _)| cluster);
        last.changed();
        last.keep(Duration::ZERO, &cluster(&["a"]));
        assert_eq!(nodes(), Some(cluster(&["a"])));
        last.changed();
        last.keep(Duration::ZERO, &cluster(&["a", "b"]));
        assert_eq!(nodes(), Some(cluster(&["a"])), "it is too soon");
        last.keep(REST, &cluster(&["a", "b"]));
        assert_eq!(nodes(), Some(cluster(&["a", "b"])));
        let files = fs::read_dir(&folder.0).unwrap().count();
        assert_eq!(files, 1);
    }

    #[test]
    fn what_another_boot_or_another_node_was_told_is_not_used() {
        let folder = Folder::new("other");
        let mut last = folder.last("a");
        last.changed();
        last.keep(Duration::ZERO, &cluster(&["a"]));
        assert!(folder.last("a").read().is_some());
        assert_eq!(folder.last("b").read(), None);
        let path = folder.0.join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        let boot = host::clock::boot_id().unwrap();
        for bad in [
            text.replace(&boot, "another"),
            text.replace('}', ""),
            String::new(),
        ] {
            fs::write(&path, bad).unwrap();
            assert_eq!(folder.last("a").read(), None);
        }
    }
}
