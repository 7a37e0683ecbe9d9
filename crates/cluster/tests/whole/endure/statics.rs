//! Static pods: kubelet's own, which the API knows only by a mirror with another UID.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::endure::{
    DAEMON_SET, NODES, SOON, SOON_FOR_KUBECTL, agents_run, kill_agents, kubectl, ledger, let_pass,
    pods, three_nodes,
};

/// Longer than whoever collects garbage waits.
const A_WHILE: Duration = Duration::from_secs(90);

#[test]
fn a_static_pod_outlives_its_mirrors_and_many_agents() -> Result<()> {
    let cluster = three_nodes()?;
    let still = pods::Static::new(&cluster, "still", NODES[1])?;
    still.answers()?;
    let record = still.record()?;
    let mirror = cluster.until(SOON, "there is a mirror", || {
        cluster.json(&["pod", &still.name])
    })?;
    let (uid, metadata) = (&record["pod"]["uid"], &mirror["metadata"]);
    ensure!(
        *uid != metadata["uid"] && *uid == metadata["annotations"]["kubernetes.io/config.hash"],
        "record and mirror: {record} {metadata}"
    );
    for _ in 0..3 {
        // It comes again with another UID.
        cluster.until(SOON, "a mirror can be deleted", || {
            cluster.kubectl(&["delete", "pod", &still.name, "--force", "--grace-period=0"])
        })?;
        kill_agents(&cluster)?;
        agents_run(&cluster)?;
        still.answers()?;
    }
    kubectl(&cluster, &["rollout", "restart", DAEMON_SET])?;
    kubectl(
        &cluster,
        &["rollout", "status", DAEMON_SET, SOON_FOR_KUBECTL],
    )?;
    let_pass(A_WHILE)?;
    still.answers()?;
    let now = still.record()?;
    ensure!(now == record, "{record} became {now}");
    ledger::agree(&cluster)?;
    still.end()?;
    ledger::agree(&cluster).map(drop)
}
