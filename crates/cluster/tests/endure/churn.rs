//! Many pods at once, again and again: nothing of them may stay, and no two have the same address.

use anyhow::{Result, ensure};

use super::{NODES, ledger, pods, three_nodes};

const NAME: &str = "churn";

#[test]
fn thirty_pods_at_once_that_come_and_go_twice_leave_nothing_behind() -> Result<()> {
    come_and_go(30, 2)
}

/// On two nodes.
pub(crate) fn come_and_go(count: usize, rounds: usize) -> Result<()> {
    let [_, one, other] = NODES;
    let cluster = three_nodes()?;
    let before = ledger::agree(&cluster)?;
    let churn = pods::idle(&cluster, NAME, count, &[one, other])?;
    for round in 1..=rounds {
        let there = pods::counted(&cluster, NAME, count)?;
        let on = |name| there.iter().filter(|pod| pod.node == name).count();
        println!("round {round}: {} pods and {}", on(one), on(other));
        ensure!(on(one) > 0 && on(other) > 0, "all are on one node");
        let agreed = ledger::agree(&cluster)?;
        ensure!(agreed == before + count, "round {round}: {agreed} pods");
        if round % 2 == 0 {
            pods::scale(&cluster, NAME, 0)?;
            pods::counted(&cluster, NAME, 0)?;
            let left = ledger::agree(&cluster)?;
            ensure!(left == before, "round {round}: {left} pods are left");
            pods::scale(&cluster, NAME, count)?;
        } else {
            // New ones come while the old ones go.
            let all = format!("app={NAME}");
            cluster.kubectl(&["delete", "pod", "--wait=false", "-l", &all])?;
        }
    }
    drop(churn);
    pods::counted(&cluster, NAME, 0)?;
    let left = ledger::agree(&cluster)?;
    ensure!(left == before, "{left} pods are left");
    Ok(())
}
