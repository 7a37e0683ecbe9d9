//! Agents hang, and start where nobody else may.

use anyhow::{Result, ensure};
use cluster::MASTER;

use crate::endure::{AGENT, AGENTS, SOON, agents_run, ledger, pods, three_nodes, traffic};

#[test]
fn no_packet_is_lost_while_all_agents_hang_and_pods_start_and_end_beside_them() -> Result<()> {
    let cluster = three_nodes()?;
    let traffic = traffic::begin(&cluster)?;
    let mut stopped = Vec::new();
    for node in cluster.nodes() {
        for pid in node.pids_of(AGENT)? {
            node.run(&["kill", "-STOP", &pid.to_string()])?;
            stopped.push((node.name().to_owned(), pid));
        }
    }
    pods::new_ones_talk(&cluster)?;
    for (name, pid) in &stopped {
        let node = cluster.node(name)?;
        // A probe may have ended it by now.
        if node.pids_of(AGENT)?.contains(pid) {
            node.run(&["kill", "-CONT", &pid.to_string()])?;
        }
    }
    agents_run(&cluster)?;
    pods::new_ones_talk(&cluster)?;
    ledger::agree(&cluster)?;
    traffic.arrived_whole()
}

#[test]
fn a_master_with_every_taint_gets_its_agent() -> Result<()> {
    // Those of conditions are taken away again by their controller, but not at once; the last is a cloud's.
    const TAINTS: [&str; 9] = [
        "node-role.kubernetes.io/control-plane=:NoSchedule",
        "dedicated=others:NoExecute",
        "node.kubernetes.io/not-ready=:NoExecute",
        "node.kubernetes.io/network-unavailable=:NoSchedule",
        "node.kubernetes.io/disk-pressure=:NoSchedule",
        "node.kubernetes.io/memory-pressure=:NoSchedule",
        "node.kubernetes.io/unreachable=:NoExecute",
        "node.kubernetes.io/unschedulable=:NoSchedule",
        "node.cloudprovider.kubernetes.io/uninitialized=true:NoSchedule",
    ];
    let cluster = three_nodes()?;
    let taints = || -> Result<usize> {
        let node = cluster.json(&["node", MASTER])?;
        Ok(node["spec"]["taints"].as_array().map_or(0, Vec::len))
    };
    let taint = ["taint", "node", MASTER, "--overwrite"];
    cluster.kubectl(&[&taint[..], &TAINTS].concat())?;
    let here = format!("--field-selector=spec.nodeName={MASTER}");
    // That the next one is another is what this waits for.
    pods::delete(&cluster, &["pod", "-n", "kube-system", "-l", AGENTS, &here])?;
    agents_run(&cluster)?;
    let held = taints()?;
    println!("{MASTER} has {held} taints when its agent is Ready");
    for taint in TAINTS {
        let key = taint.split(['=', ':']).next().unwrap_or_default();
        drop(cluster.kubectl(&["taint", "node", MASTER, &format!("{key}-")]));
    }
    ensure!(held >= 3, "only {held} taints were left when it was Ready");
    cluster.until(SOON, "the master has no taint", || {
        let left = taints()?;
        ensure!(left == 0, "{left} are left");
        Ok(())
    })?;
    pods::new_ones_talk(&cluster)
}
