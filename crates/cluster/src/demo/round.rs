//! From a pod on each node to the five targets, by ICMP and by TCP.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};

use super::{HOST_PORT, among, node_address};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::lan;
use crate::pod::{self, Pod};

/// What a pod should reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    OwnHost,
    OtherHost,
    SameHostPod,
    OtherHostPod,
    Outside,
}

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

impl Target {
    /// The five, in the demo's order.
    pub(super) const ALL: [Self; 5] = [
        Self::OwnHost,
        Self::OtherHost,
        Self::SameHostPod,
        Self::OtherHostPod,
        Self::Outside,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OwnHost => "own host",
            Self::OtherHost => "other host",
            Self::SameHostPod => "pod on the same host",
            Self::OtherHostPod => "pod on the other host",
            Self::Outside => "outside",
        }
    }
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
        Ok::<_, anyhow::Error>((among(&found.addresses, own)?, pod::PORT))
    };
    let (to, port) = match target {
        Target::OwnHost => (node_address(cluster, &from.node, own)?, HOST_PORT),
        Target::OtherHost => (node_address(cluster, &other, own)?, HOST_PORT),
        Target::SameHostPod => peer(&from.node)?,
        Target::OtherHostPod => peer(&other)?,
        Target::Outside => (
            among(&lan::outside(cluster.shape().family)?, own)?,
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
        match (&self.icmp, &self.tcp) {
            (Ok(()), Ok(_)) => "reached",
            (Ok(()), Err(_)) => "ICMP only",
            (Err(_), Ok(_)) => "TCP only",
            (Err(_), Err(_)) => "no answer",
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
