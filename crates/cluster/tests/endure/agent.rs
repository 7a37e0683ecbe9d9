//! All agents die, again and again.

use anyhow::{Result, ensure};

use super::{AGENT, agents_run, kill_agents, ledger, pods, three_nodes, traffic};

/// After the first kill kubelet starts the container at once, after others it rests for ten seconds.
const KILLS: usize = 3;

#[test]
fn no_packet_is_lost_when_all_agents_are_killed_and_pods_start_without_them() -> Result<()> {
    let cluster = three_nodes()?;
    let traffic = traffic::begin(&cluster)?;
    let mut orphans = Vec::new();
    let mut without = 0;
    for round in 1..=KILLS {
        agents_run(&cluster)?;
        kill_agents(&cluster)?;
        for node in cluster.nodes() {
            let name = format!("orphan-{round}-{}", node.name());
            orphans.push(pods::answering(&cluster, &name, node.name())?);
            without += usize::from(node.pids_of(AGENT)?.is_empty());
        }
    }
    println!("{without} pods were Ready before their node's agent ran again");
    ensure!(without > 0, "no pod has started while an agent was dead");
    agents_run(&cluster)?;
    pods::new_ones_talk(&cluster)?;
    ledger::agree(&cluster)?;
    drop(orphans);
    ledger::agree(&cluster)?;
    traffic.arrived_whole()
}
