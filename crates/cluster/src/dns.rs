//! The cluster's DNS: CoreDNS, as every distribution of Kubernetes brings it.
//!
//! It is installed with the network and nobody waits for it there: most tests need no names, and those that do ask
//! [`Cluster::names`]. Without kube-proxy nothing answers at a Service's address, so there is none then.

use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::lan;
use crate::shape::{Network, Proxy};

const MANIFEST: &str = include_str!("dns/coredns.yaml");
/// From a node's boot: its image has to be unpacked as well.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);

/// The archive of its image.
const IMAGE: &str = "coredns";

/// Applies the manifest, where names can be asked for at all.
pub(crate) fn install(cluster: &Cluster) -> Result<()> {
    let shape = cluster.shape();
    if shape.network == Network::Without || shape.proxy == Proxy::Without {
        return Ok(());
    }
    let quoted = |address: &str| format!("'{address}'");
    let addresses: Vec<_> = lan::dns(shape.family).into_iter().map(quoted).collect();
    let manifest = MANIFEST
        .replace("IMAGE", &cluster.place().image(IMAGE)?)
        .replace("FIRST", &addresses[0])
        .replace("ADDRESSES", &addresses.join(", "));
    cluster.apply(&manifest)
}

impl Cluster {
    /// Waits until all pods of the cluster's DNS are ready to answer.
    ///
    /// # Errors
    /// When they are not in time, or there is none.
    pub fn names(&self) -> Result<()> {
        self.until(ANSWERS_WITHIN, "the cluster's DNS is ready", || {
            let words = [
                "-n",
                "kube-system",
                "rollout",
                "status",
                "deployment/coredns",
                "--timeout=30s",
            ];
            self.kubectl(&words)
        })
        .map(drop)
    }
}
