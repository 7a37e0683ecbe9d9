//! The manifest is deleted, and applied again later: what is wired stays, and pods start as before.

use anyhow::{Result, ensure};

use crate::endure::{AGENT, NODES, SOON, agents_run, ledger, pods, three_nodes, traffic};

#[test]
fn no_packet_is_lost_by_deleting_the_manifest_and_new_pods_start() -> Result<()> {
    let cluster = three_nodes()?;
    let manifest = cluster.manifest()?;
    let traffic = traffic::begin(&cluster)?;
    cluster.delete(&manifest)?;
    for node in cluster.nodes() {
        cluster.until(SOON, "no agent runs", || {
            let running = node.pids_of(AGENT)?;
            ensure!(running.is_empty(), "on {} {running:?}", node.name());
            Ok(())
        })?;
    }
    pods::new_ones_talk(&cluster)?;
    // It starts without an agent and ends with one.
    let between = pods::answering(&cluster, "between", NODES[2])?;
    ledger::agree(&cluster)?;
    cluster.apply(&manifest)?;
    agents_run(&cluster)?;
    ledger::agree(&cluster)?;
    drop(between);
    pods::new_ones_talk(&cluster)?;
    ledger::agree(&cluster)?;
    traffic.arrived_whole()
}
