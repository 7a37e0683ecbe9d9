//! The cluster comes up in every shape.

use anyhow::Result;

use crate::up::all_reach_all;
use crate::with;

#[test]
fn pods_reach_each_other_by_both_families() -> Result<()> {
    all_reach_all(&with("2 --family dual --proxy iptables")?, 2)?;
    all_reach_all(&with("2 --family dual6")?, 2)
}

#[test]
fn pods_reach_each_other_by_ipv6_alone() -> Result<()> {
    all_reach_all(&with("2 --family ipv6")?, 1)
}

#[test]
fn pods_of_the_reference_network_reach_each_other() -> Result<()> {
    all_reach_all(&with("2 --family dual --network reference")?, 2)
}
