//! A quarter of an hour of pods that come and go.

use anyhow::Result;

use crate::endure::churn::come_and_go;

#[test]
fn a_hundred_pods_at_once_that_come_and_go_twenty_times_leave_nothing_behind() -> Result<()> {
    come_and_go(100, 20)
}
