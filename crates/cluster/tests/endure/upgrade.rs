//! Another image: a rolling update of the agents and its rollback, while pods start and end.

use std::time::Instant;

use anyhow::{Result, ensure};
use cluster::Cluster;

use super::{
    AGENTS, AT_LAST, DAEMON_SET, NODES, agents_run, kubectl, ledger, pods, three_nodes, traffic,
};

/// Another name of the image is another image to the DaemonSet.
const NEXT: &str = "localhost/podwire:next";
const NAME: &str = "meanwhile";
const PODS: usize = 20;

#[test]
fn no_packet_is_lost_by_a_rolling_update_and_its_rollback_while_pods_start_and_end() -> Result<()> {
    let cluster = three_nodes()?;
    let image = cluster.place().image("podwire")?;
    for node in cluster.nodes() {
        node.run(&[
            "ctr", "-n", "k8s.io", "images", "tag", "--force", &image, NEXT,
        ])?;
    }
    let traffic = traffic::begin(&cluster)?;
    let replace = format!("podwired={NEXT}");
    for (words, wanted) in [
        (&["set", "image", DAEMON_SET, &replace][..], NEXT),
        (&["rollout", "undo", DAEMON_SET], &image),
    ] {
        kubectl(&cluster, words)?;
        while_pods_come_and_go(&cluster)?;
        agents_run(&cluster)?;
        runs(&cluster, wanted)?;
        ledger::agree(&cluster)?;
    }
    pods::new_ones_talk(&cluster)?;
    ledger::agree(&cluster)?;
    traffic.arrived_whole()
}

/// Until the update is through.
fn while_pods_come_and_go(cluster: &Cluster) -> Result<()> {
    let is_through = || {
        let words = ["rollout", "status", DAEMON_SET, "--timeout=1s"];
        kubectl(cluster, &words)
    };
    let deadline = Instant::now() + AT_LAST;
    let mut rounds = 0;
    while let Err(error) = is_through() {
        ensure!(
            Instant::now() < deadline,
            "the update is not through within {AT_LAST:?}: {error:#}"
        );
        let meanwhile = pods::idle(cluster, NAME, PODS, &NODES)?;
        pods::counted(cluster, NAME, PODS)?;
        drop(meanwhile);
        rounds += 1;
    }
    println!("{PODS} pods came and went {rounds} times during the update");
    ensure!(rounds > 0, "the update was through before a pod was made");
    Ok(())
}

/// On each node the agent is of this image.
pub(crate) fn runs(cluster: &Cluster, image: &str) -> Result<()> {
    let path = "jsonpath={.items[*].spec.containers[0].image}";
    let images = kubectl(cluster, &["get", "pods", "-l", AGENTS, "-o", path])?;
    let images: Vec<_> = images.split_whitespace().collect();
    ensure!(
        images == [image; NODES.len()],
        "{images:?} run, not {image} on each node"
    );
    Ok(())
}
