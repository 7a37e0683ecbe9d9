//! Where the cluster comes from: a file or the Kubernetes API. Below this point nothing knows which.

mod file;
mod kube;

pub(crate) use self::kube::{Access, Settings, server};

use self::file::File;
use self::kube::Kube;
use crate::vitals::Vitals;
use anyhow::Result;
use host::Error;
use host::watch::Watch;
use model::cluster::Cluster;
use model::name::NodeName;
use model::status::Finding;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// Name of the CNI network where nobody gives one.
pub(crate) const NETWORK: &str = "podwire";

/// What tells of the cluster.
pub(crate) enum Source {
    /// A list of nodes that somebody keeps.
    File(File),
    /// The API server.
    Kube(Kube),
}

/// What reading the source again came to.
#[derive(Debug)]
pub(crate) enum Reading {
    /// It says what it said before.
    Same,
    /// It tells of another cluster.
    New(Cluster),
    /// The cluster stays; what is wrong with the source is new.
    Told,
}

impl Source {
    /// The nodes that a file lists.
    ///
    /// # Errors
    /// Everything that is wrong in the file, each on its line.
    pub(crate) fn file(path: &Path, own: &NodeName) -> Result<(Self, Cluster), Vec<String>> {
        let (file, cluster) = File::open(path, own)?;
        Ok((Self::File(file), cluster))
    }

    /// The nodes that the API server has; they are told later, and the server is told what becomes of `vitals`. What was told
    /// last is kept in the folder `run`.
    pub(crate) fn kube(
        access: Access,
        settings: Settings,
        vitals: &Arc<Vitals>,
        run: &Path,
    ) -> Self {
        Self::Kube(Kube::follow(access, settings, vitals, run))
    }

    /// Waits until the source may have something new.
    pub(crate) async fn touched(&mut self) -> Result<(), Error> {
        match self {
            Self::File(file) => file.touched().await,
            Self::Kube(kube) => {
                kube.touched().await;
                Ok(())
            }
        }
    }

    /// Reads it again.
    pub(crate) fn again(&mut self) -> Reading {
        match self {
            Self::File(file) => file.again(),
            Self::Kube(kube) => kube.again(),
        }
    }

    /// What is wrong with it, or in it.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        match self {
            Self::File(file) => file.findings().collect(),
            Self::Kube(kube) => kube.findings().to_vec(),
        }
    }

    /// Whether the cluster is known from an earlier run only: then nodes may be there of which it does not know.
    pub(crate) fn is_remembered(&self) -> bool {
        match self {
            Self::File(_) => false,
            Self::Kube(kube) => kube.is_remembered(),
        }
    }

    /// Lets it keep what is known for the next start; `now` is since the start of the agent.
    pub(crate) fn keep(&mut self, now: Duration) {
        match self {
            Self::File(_) => {}
            Self::Kube(kube) => kube.keep(now),
        }
    }
}

/// Waits until a watched folder has changed.
pub(crate) async fn touched(watch: &mut AsyncFd<Watch>) -> Result<(), Error> {
    loop {
        let waited = watch.readable_mut().await;
        let mut guard = waited.map_err(|error| Error::io("wait for inotify", &error))?;
        guard.clear_ready();
        if guard.get_inner_mut().drain()? {
            return Ok(());
        }
    }
}

/// Whether an address can be that of a node for the others.
fn is_node_address(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() || is_link_local)
}
