//! The way to the other nodes' pods.
//!
//! Per peer and range: straight to the node's address where that is on a link of ours. A peer behind a gateway has no path
//! yet, and that is said; a tunnel takes its place in [`Path`] and here.

use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;
use model::addr::{Family, PodRange};
use model::cluster::{Cluster, Node};
use model::name::NodeName;
use model::net::{Route, Target};
use model::state::HostState;
use model::status::{Finding, Path, Peer, Way};

/// Routes to all peers, and what is reported of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mesh {
    /// The routes that should be there.
    pub routes: Vec<Route>,
    /// The peers and their ways.
    pub peers: Vec<Peer>,
    /// Nodes' addresses that a pod's packet reaches with its own source.
    pub direct: Vec<IpAddr>,
    /// What is in the way.
    pub findings: Vec<Finding>,
}

/// The mesh as seen from the node `own`.
#[must_use]
pub fn mesh(cluster: &Cluster, own: &NodeName, have: &HostState) -> Mesh {
    let mut mesh = Mesh::default();
    let Some(me) = cluster.nodes.get(own) else {
        return mesh;
    };
    for (name, peer) in cluster.nodes.iter().filter(|(name, _)| *name != own) {
        let mut ways = Vec::new();
        for range in &peer.ranges {
            let path = match path(name, peer, *range, have) {
                Ok((via, target)) => {
                    mesh.routes.push(Route {
                        dst: range.net(),
                        target,
                        src: source(me, range.family()),
                    });
                    mesh.direct.push(via);
                    way(via, have)
                }
                Err(finding) => {
                    mesh.findings.push(finding);
                    Path::None
                }
            };
            ways.push(Way {
                range: *range,
                path,
            });
        }
        mesh.peers.push(Peer {
            name: name.clone(),
            ways,
        });
    }
    mesh
}

/// The node's own address towards pods of a family: the first one of its range.
fn source(me: &Node, family: Family) -> Option<IpAddr> {
    me.ranges
        .iter()
        .find(|range| range.family() == family)
        .map(PodRange::gateway)
}

fn path(
    name: &NodeName,
    peer: &Node,
    range: PodRange,
    have: &HostState,
) -> Result<(IpAddr, Target), Finding> {
    let via = peer.address(range.family()).ok_or_else(|| Finding {
        what: format!("node {name} has no address of the family of its range {range}"),
        hint: "give the node an address of that family, or take the range away".into(),
    })?;
    let lookup = have.lookups.get(&via).ok_or_else(|| Finding {
        what: format!("no route leads to node {name} at {via}"),
        hint: format!("see: ip route get {via}"),
    })?;
    // The kernel takes no route over itself.
    if lookup.dev.as_str() == "lo" {
        return Err(Finding {
            what: format!("address {via} of node {name} is this node's own"),
            hint: format!("give each node an address of its own; see: ip address show to {via}"),
        });
    }
    match lookup.gateway {
        None => Ok((via, Target::Via(via, lookup.dev.clone()))),
        Some(gateway) => Err(Finding {
            what: format!(
                "node {name} at {via} is behind gateway {gateway}, which knows nothing of range {range}"
            ),
            hint: "put the nodes on one segment; a tunnel between segments is not there yet".into(),
        }),
    }
}

fn way(via: IpAddr, have: &HostState) -> Path {
    match have.lookups.get(&via) {
        Some(lookup) => Path::Direct {
            via,
            dev: lookup.dev.as_str().into(),
        },
        None => Path::None,
    }
}
