//! An upgrade from the first build that could be installed, back to it, and up again: each serves the pods of the other.

use anyhow::Result;
use cluster::older::{Older, older};
use cluster::{Cluster, Objects};

use crate::endure::upgrade::runs;
use crate::endure::{
    DAEMON_SET, NODES, SOON_FOR_KUBECTL, agents_run, kubectl, ledger, pods, three_nodes, traffic,
};

/// Some of each build's on every node.
const PODS: usize = 12;

#[test]
fn no_packet_is_lost_by_an_upgrade_from_the_first_build_by_its_rollback_and_by_another_upgrade()
-> Result<()> {
    let cluster = three_nodes()?;
    let older = older(&cluster)?;
    let newer = Newer(&cluster, cluster.manifest()?);
    let image = cluster.place().image("podwire")?;
    println!("the older build is {}", older.commit);

    let of_newer = born(&cluster, "newer")?;
    install(&cluster, &older.manifest, &older.image)?;
    ends(of_newer, &cluster, "newer", &older)?;
    // The ends of the streams are the older build's as well.
    let traffic = traffic::begin(&cluster)?;
    let (first, second) = (born(&cluster, "first")?, born(&cluster, "second")?);

    install(&cluster, &newer.1, &image)?;
    ledger::agree_with_older(&cluster)?;
    pods::new_ones_talk(&cluster)?;
    ends(first, &cluster, "first", &older)?;
    let third = born(&cluster, "third")?;
    ledger::agree_with_older(&cluster)?;

    install(&cluster, &older.manifest, &older.image)?;
    ledger::agree_with_older(&cluster)?;
    pods::new_ones_talk(&cluster)?;
    ends(second, &cluster, "second", &older)?;
    pods::scale(&cluster, "third", PODS / 2)?;
    pods::counted(&cluster, "third", PODS / 2)?;
    ledger::agree_with_older(&cluster)?;

    install(&cluster, &newer.1, &image)?;
    pods::new_ones_talk(&cluster)?;
    ends(third, &cluster, "third", &older)?;
    ledger::agree_with_older(&cluster)?;
    traffic.arrived_whole()
}

/// The newer manifest, which must be the cluster's when this ends.
struct Newer<'a>(&'a Cluster, String);

impl Drop for Newer<'_> {
    fn drop(&mut self) {
        // A cluster that is left with the older build fails the next test.
        drop(self.0.apply(&self.1));
    }
}

/// Pods whose records are written by the build that is there now.
fn born<'a>(cluster: &'a Cluster, name: &str) -> Result<Objects<'a>> {
    let objects = pods::idle(cluster, name, PODS, &NODES)?;
    pods::counted(cluster, name, PODS)?;
    Ok(objects)
}

/// They end, by the build that is there now.
fn ends(pods: Objects<'_>, cluster: &Cluster, name: &str, older: &Older) -> Result<()> {
    drop(pods);
    pods::counted(cluster, name, 0)?;
    ledger::agree_with_older(cluster)
        .map(drop)
        .map_err(|error| {
            error.context(format!(
                "after the end of {name}; the older build is {}",
                older.commit
            ))
        })
}

/// Applies a manifest, and waits until its agents are everywhere.
fn install(cluster: &Cluster, manifest: &str, image: &str) -> Result<()> {
    cluster.apply(manifest)?;
    kubectl(
        cluster,
        &["rollout", "status", DAEMON_SET, SOON_FOR_KUBECTL],
    )?;
    agents_run(cluster)?;
    runs(cluster, image)
}
