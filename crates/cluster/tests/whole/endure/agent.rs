//! Agents hang, and start where nobody else may.

use anyhow::{Result, bail, ensure};
use cluster::{Cluster, MASTER, Node};

use crate::endure::{AGENT, AGENTS, SOON, agents_run, ledger, pods, three_nodes, traffic};

#[test]
fn no_packet_is_lost_while_all_agents_hang_and_pods_start_and_end_beside_them() -> Result<()> {
    let cluster = three_nodes()?;
    let traffic = traffic::begin(&cluster)?;
    agents_run(&cluster)?;
    let stopped = cluster
        .nodes()
        .into_iter()
        .map(|node| Stopped::new(&cluster, node))
        .collect::<Result<Vec<_>>>()?;
    pods::new_ones_talk(&cluster)?;
    drop(stopped);
    agents_run(&cluster)?;
    pods::new_ones_talk(&cluster)?;
    ledger::agree(&cluster)?;
    traffic.arrived_whole()
}

/// The only agent of a node, which does nothing until this is dropped.
struct Stopped<'a> {
    node: Node<'a>,
    pid: u32,
}

impl<'a> Stopped<'a> {
    fn new(cluster: &Cluster, node: Node<'a>) -> Result<Self> {
        let pids = node.pids_of(AGENT)?;
        let [pid] = pids[..] else {
            bail!("{pids:?} are the agents of {}", node.name());
        };
        let stopped = Self { node, pid };
        let Self { node, .. } = &stopped;
        node.run(&["kill", "-STOP", &pid.to_string()])?;
        // The signal stops each thread at its next return from the kernel.
        let states = format!("sed 's/.*) //; s/ .*//' /proc/{pid}/task/*/stat");
        let what = format!("the agent of {} stands still", node.name());
        cluster.until(SOON, &what, || {
            let states = node.run(&["sh", "-c", &states])?;
            let states: Vec<_> = states.lines().collect();
            ensure!(
                !states.is_empty() && states.iter().all(|state| *state == "T"),
                "its threads are in the states {states:?}"
            );
            Ok(())
        })?;
        Ok(stopped)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        // A probe may have ended it by now, and the number may be another's.
        let pids = self.node.pids_of(AGENT).unwrap_or_default();
        if pids.contains(&self.pid) {
            drop(self.node.run(&["kill", "-CONT", &self.pid.to_string()]));
        }
    }
}

/// Those of conditions are taken away again by their controller, but not at once; the last is a cloud's.
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

/// They are on the master until this is dropped.
struct Tainted<'a>(&'a Cluster);

impl<'a> Tainted<'a> {
    fn new(cluster: &'a Cluster) -> Result<Self> {
        let tainted = Self(cluster);
        let taint = ["taint", "node", MASTER, "--overwrite"];
        cluster.kubectl(&[&taint[..], &TAINTS].concat())?;
        Ok(tainted)
    }
}

impl Drop for Tainted<'_> {
    fn drop(&mut self) {
        // One by one: of some that are not all there kubectl takes none.
        for taint in TAINTS {
            let key = taint.split(['=', ':']).next().unwrap_or_default();
            drop(
                self.0
                    .kubectl(&["taint", "node", MASTER, &format!("{key}-")]),
            );
        }
    }
}

#[test]
fn a_master_with_every_taint_gets_its_agent() -> Result<()> {
    let cluster = three_nodes()?;
    let taints = || -> Result<usize> {
        let node = cluster.json(&["node", MASTER])?;
        Ok(node["spec"]["taints"].as_array().map_or(0, Vec::len))
    };
    let tainted = Tainted::new(&cluster)?;
    let here = format!("--field-selector=spec.nodeName={MASTER}");
    // That the next one is another is what this waits for.
    pods::delete(&cluster, &["pod", "-n", "kube-system", "-l", AGENTS, &here])?;
    agents_run(&cluster)?;
    let held = taints()?;
    println!("{MASTER} has {held} taints when its agent is Ready");
    drop(tainted);
    ensure!(held >= 3, "only {held} taints were left when it was Ready");
    cluster.until(SOON, "the master has no taint", || {
        let left = taints()?;
        ensure!(left == 0, "{left} are left");
        Ok(())
    })?;
    pods::new_ones_talk(&cluster)
}
