//! The demo of `cargo xtask cluster demo`, on the shape of the tests that follow.

use anyhow::{Result, ensure};
use cluster::demo;

use crate::with;

#[test]
fn pods_on_a_master_and_a_worker_reach_all_five_targets() -> Result<()> {
    let walk = demo::perform(&with("2 --family dual --proxy iptables")?)?;
    let faults = walk.faults();
    ensure!(walk.count() == 20, "{} connections", walk.count());
    ensure!(faults.is_empty(), "{}\n{walk}", faults.join("\n"));
    Ok(())
}
