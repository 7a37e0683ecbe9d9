//! The demo of `cargo xtask cluster demo`.

use anyhow::{Result, ensure};
use cluster::{Cluster, demo};

pub(crate) fn pods_on_a_master_and_a_worker_reach_all_five_targets(
    cluster: &Cluster,
) -> Result<()> {
    let walk = demo::perform(cluster)?;
    let faults = walk.faults();
    ensure!(faults.is_empty(), "{}\n{walk}", faults.join("\n"));
    Ok(())
}
