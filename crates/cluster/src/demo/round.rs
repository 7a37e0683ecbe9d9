//! From a pod on each node to the five targets, by ICMP and by TCP.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use lab::walk::{self, Target};

use super::{HOST_PORT, node_address};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::lan;
use crate::pod::{self, Pod};

/// A pod, a target, and what came of it.
#[derive(Debug)]
pub(super) struct Connection {
    /// The node that the pod runs on.
    pub(super) from: String,
    pub(super) target: Target,
    /// The pod's own address.
    pub(super) own: IpAddr,
    pub(super) to: IpAddr,
    /// What went wrong, if no echo came back.
    icmp: Result<(), String>,
    /// Whom the target saw, or what went wrong.
    pub(super) tcp: Result<IpAddr, String>,
    /// Whom it should see.
    pub(super) expected: IpAddr,
}

/// Tries everything in every family of the cluster.
pub(super) fn run(cluster: &Cluster, pods: &[Pod]) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for node in cluster.nodes() {
        let here = |pod: &&Pod| pod.node == node.name();
        let from = pods.iter().find(here);
        let from = from.with_context(|| format!("no pod runs on {}", node.name()))?;
        for &own in &from.addresses {
            for target in Target::ALL {
                connections.push(try_one(cluster, pods, from, own, target)?);
            }
        }
    }
    Ok(connections)
}

fn try_one(
    cluster: &Cluster,
    pods: &[Pod],
    from: &Pod,
    own: IpAddr,
    target: Target,
) -> Result<Connection> {
    let other = cluster.nodes().into_iter();
    let other = other
        .map(|node| node.name().to_owned())
        .find(|name| *name != from.node)
        .context("the other node")?;
    let peer = |node: &str| {
        let found = pods
            .iter()
            .find(|pod| pod.node == node && pod.name != from.name);
        let found = found.with_context(|| format!("no other pod runs on {node}"))?;
        Ok::<_, anyhow::Error>((lan::like(&found.addresses, own)?, pod::PORT))
    };
    let (to, port) = match target {
        Target::OwnHost => (node_address(cluster, &from.node, own)?, HOST_PORT),
        Target::OtherHost => (node_address(cluster, &other, own)?, HOST_PORT),
        Target::SameHostPod => peer(&from.node)?,
        Target::OtherHostPod => peer(&other)?,
        Target::Outside => (
            lan::like(&lan::outside(cluster.shape().family)?, own)?,
            HOST_PORT,
        ),
    };
    // Only what leaves the cluster leaves it in the node's name.
    let expected = match target {
        Target::Outside => node_address(cluster, &from.node, own)?,
        Target::OwnHost | Target::OtherHost | Target::SameHostPod | Target::OtherHostPod => own,
    };
    let client = Client::Pod(cluster, from);
    let said = |error: anyhow::Error| format!("{error:#}");
    Ok(Connection {
        from: from.node.clone(),
        target,
        own,
        to,
        icmp: client.ping(to).map_err(said),
        tcp: client.seen_as(SocketAddr::new(to, port)).map_err(said),
        expected,
    })
}

impl Connection {
    /// In one or two words.
    pub(super) fn word(&self) -> &'static str {
        walk::word(&self.icmp, &self.tcp)
    }

    /// One that went well, for tests of what is made of it.
    #[cfg(test)]
    pub(super) fn reached(from: &str, target: Target, own: IpAddr) -> Self {
        Self {
            from: from.to_owned(),
            target,
            own,
            to: own,
            icmp: Ok(()),
            tcp: Ok(own),
            expected: own,
        }
    }

    /// What is not as it must be.
    pub(super) fn fault(&self) -> Option<String> {
        let Self { own, to, .. } = self;
        let what = format!("from {own} to {} at {to}", self.target.name());
        match (&self.icmp, &self.tcp) {
            (Err(why), _) => Some(format!("{what}: ICMP: {why}")),
            (_, Err(why)) => Some(format!("{what}: TCP: {why}")),
            (_, Ok(seen)) if *seen != self.expected => {
                let expected = self.expected;
                Some(format!(
                    "{what}: expected: it sees {expected}; found: it sees {seen}"
                ))
            }
            (Ok(()), Ok(_)) => None,
        }
    }
}
