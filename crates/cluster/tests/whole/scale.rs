//! The agent among many nodes: what it may use there, and how fast it follows.
//!
//! The budgets are those of docs/performance.md. Time is asserted loosely, because the machine that runs a cluster and this
//! test has other work as well; `cargo xtask cluster scale` tells the figures, and those with ten times as many nodes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::{Place, scale};

const NODES: usize = 500;
const PODS: usize = 10_000;

const MEMORY: u64 = 20 * 1024 * 1024;
/// For half of the nodes the time that nearly all should have on a machine of their own.
const ROUTE_MEDIAN: Duration = Duration::from_millis(100);
const ROUTE_P99: Duration = Duration::from_secs(1);
/// Of a processor, while a node a second or more reports its status.
const LOAD: f64 = 0.05;

#[test]
fn an_agent_among_500_nodes_and_10000_pods_keeps_to_its_budgets() -> Result<()> {
    let figures = scale::scale(&Place::find()?, &[NODES], PODS)?;
    let figures = figures.first().context("figures of one step")?;
    let table = scale::table(std::slice::from_ref(figures));
    ensure!(
        figures.grown.resident <= MEMORY && figures.memory.peak <= MEMORY,
        "it has more than 20 MiB in memory:\n{table}"
    );
    let come = &figures.routes.come;
    ensure!(
        scale::quantile(come, 50) <= ROUTE_MEDIAN && scale::quantile(come, 99) <= ROUTE_P99,
        "a node's route comes too late:\n{table}"
    );
    ensure!(
        figures.beats.iter().all(|beats| beats.usage.load() <= LOAD),
        "it works too much:\n{table}"
    );
    Ok(())
}
