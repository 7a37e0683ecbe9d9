//! `deploy/uninstall.yaml`: refused while pods live, and a node as before when it is through.

use anyhow::{Result, bail, ensure};

use super::{Uninstall, agents_are_gone, bare, nodes_are_ready, nothing_is_left, traces};
use crate::endure::{NODES, ledger, pods, traffic};

/// A volume of others.
const VOLUME: &str = "/run/volume";

#[test]
fn an_uninstall_is_refused_while_pods_live_and_afterwards_leaves_nothing_on_the_nodes() -> Result<()>
{
    let cluster = bare()?;
    let manifest = cluster.manifest()?;
    let before = traces(&cluster)?;
    cluster.apply(&manifest)?;
    nodes_are_ready(&cluster)?;
    let traffic = traffic::begin(&cluster)?;
    let (with_port, _) = pods::answering_at(&cluster, "with-port", NODES[1], 8081)?;
    ledger::agree(&cluster)?;
    for (before, now) in before.iter().zip(&traces(&cluster)?) {
        // Or else nothing would be shown by its being as before in the end.
        before.differs_in(
            &[
                "links",
                "addresses",
                "routes",
                "nftables",
                "sysctls",
                "files",
            ],
            now,
        )?;
    }
    let uninstall = Uninstall::begin(&cluster)?;
    uninstall.refuses(&["podwired", "kubectl delete"])?;
    cluster.delete(&manifest)?;
    agents_are_gone(&cluster)?;
    uninstall.refuses(&[
        "pods of this node still have their network",
        "default/ends-",
    ])?;
    ledger::agree(&cluster)?;
    drop(with_port);
    traffic.arrived_whole()?;
    uninstall.is_through()?;
    drop(uninstall);
    nothing_is_left(&cluster, &before)
}

#[test]
fn what_is_unmounted_on_a_node_is_not_held_by_the_uninstaller() -> Result<()> {
    let cluster = bare()?;
    let node = cluster.node(NODES[1])?;
    node.run(&["mkdir", VOLUME])?;
    node.run(&["mount", "-t", "tmpfs", "volume", VOLUME])?;
    let uninstall = Uninstall::begin(&cluster)?;
    uninstall.is_through()?;
    let holds = || -> Result<bool> {
        let pids = node.pids_of("podwire")?;
        let [pid] = pids[..] else {
            bail!("the uninstallers are {pids:?}");
        };
        let mounts = node.run(&["cat", &format!("/proc/{pid}/mountinfo")])?;
        Ok(mounts.contains(VOLUME))
    };
    // The node is as before when an error is told.
    let before = holds();
    node.run(&["umount", VOLUME])?;
    let after = holds();
    node.run(&["rmdir", VOLUME])?;
    ensure!(before?, "it does not see the node's mounts");
    ensure!(!after?, "it holds what was unmounted");
    Ok(())
}
