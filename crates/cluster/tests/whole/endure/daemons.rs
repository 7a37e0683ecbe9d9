//! containerd, kubelet and the agent are killed while many pods start and end.

use anyhow::{Result, ensure};
use cluster::Cluster;

use crate::endure::{NODES, SOON, agents_run, kill_agents, ledger, pods, three_nodes, traffic};

const NAME: &str = "hurt";
const PODS: usize = 40;

#[test]
fn no_packet_is_lost_when_containerd_kubelet_and_agent_are_killed_while_pods_start_and_end()
-> Result<()> {
    let cluster = three_nodes()?;
    let traffic = traffic::begin(&cluster)?;
    let before = ledger::agree(&cluster)?;
    for victims in [
        &["containerd"][..],
        &["kubelet"],
        &["containerd", "kubelet"],
    ] {
        let hurt = pods::idle(&cluster, NAME, PODS, &NODES)?;
        // Now some have their network, and most are on their way.
        cluster.until(SOON, "pods are starting", || {
            let records = ledger::records(&cluster.node(NODES[2])?)?.len();
            ensure!(records > 3, "{records} records");
            Ok(())
        })?;
        kill(&cluster, victims)?;
        kill_agents(&cluster)?;
        pods::counted(&cluster, NAME, PODS)?;
        agents_run(&cluster)?;
        let there = ledger::agree(&cluster)?;
        ensure!(there == before + PODS, "{there} pods");
        pods::scale(&cluster, NAME, 1)?;
        kill(&cluster, victims)?;
        pods::counted(&cluster, NAME, 1)?;
        drop(hurt);
        let left = ledger::agree(&cluster)?;
        ensure!(left == before, "{left} pods are left");
    }
    pods::new_ones_talk(&cluster)?;
    ledger::agree(&cluster)?;
    traffic.arrived_whole()
}

fn kill(cluster: &Cluster, victims: &[&str]) -> Result<()> {
    let nodes = cluster.nodes();
    let mut all = nodes
        .iter()
        .flat_map(|node| victims.iter().map(move |victim| (node, victim)));
    all.try_for_each(|(node, victim)| node.kill(victim))
}
