//! A node boots after a power cut.

use anyhow::{Result, ensure};
use cluster::Cluster;

use super::{NODES, SOON, agents_run, ledger, pods, three_nodes, traffic};

/// No stream ends there.
const NODE: &str = NODES[2];
const NAME: &str = "rebooted";
const PODS: usize = 10;

#[test]
fn no_packet_is_lost_between_other_nodes_when_one_boots_and_its_pods_come_back() -> Result<()> {
    let cluster = three_nodes()?;
    let traffic = traffic::begin(&cluster)?;
    let rebooted = pods::idle(&cluster, NAME, PODS, &[NODE])?;
    for _ in 0..2 {
        pods::counted(&cluster, NAME, PODS)?;
        let before = lives(&cluster)?;
        let node = cluster.node(NODE)?;
        node.power_off()?;
        node.boot()?;
        agents_run(&cluster)?;
        // The API shows the dead ones as Ready until kubelet has told of their successors.
        cluster.until(SOON, "the pods live again", || {
            let now = lives(&cluster)?;
            let old: Vec<_> = now.iter().filter(|life| before.contains(life)).collect();
            ensure!(old.is_empty(), "{old:?} are from before");
            Ok(())
        })?;
        pods::counted(&cluster, NAME, PODS)?;
        ledger::agree(&cluster)?;
    }
    pods::new_ones_talk(&cluster)?;
    drop(rebooted);
    ledger::agree(&cluster)?;
    traffic.arrived_whole()
}

/// The containers of all pods of the Deployment.
fn lives(cluster: &Cluster) -> Result<Vec<String>> {
    let path = "jsonpath={.items[*].status.containerStatuses[*].containerID}";
    let all = format!("app={NAME}");
    let text = cluster.kubectl(&["get", "pods", "-l", &all, "-o", path])?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}
