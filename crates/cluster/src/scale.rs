//! The agent among thousands of nodes that exist in the API only: memory, processor time, traffic, and time to a route.
//!
//! A real cluster of two nodes, of which one's agent is measured, with fillers beside them (`fill`). The controller manager
//! is stopped meanwhile: it would find that nobody runs the fillers, and change every one of them. What comes out are
//! figures; what they should be is said by the test and in docs/performance.md.

mod beats;
mod report;
mod route;

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::api::Api;
use crate::cluster::Cluster;
use crate::meter::{Memory, Meter, Usage};
use crate::node::Node;
use crate::progress::say;
use crate::{Place, Shape, fill, wait};

pub use crate::quantile::quantile;
pub use beats::Beats;
pub use report::table;
pub use route::Routes;

/// The node whose agent is measured.
const MEASURED: &str = "worker1";

/// Of each kind of traffic. Shorter than a watch lasts would miss what its renewal costs.
const SPAN: Duration = Duration::from_secs(70);
const LEARNS_WITHIN: Duration = Duration::from_secs(120);
const RESTS_WITHIN: Duration = Duration::from_secs(60);
const COMES_BACK_WITHIN: Duration = Duration::from_secs(60);

/// With those that come and go beside them they have nearly all ranges of the fill.
const MOST_NODES: usize = 5_900;

/// Part of a processor in a second that is nothing to do.
const AT_REST: f64 = 0.02;

/// What was seen with so many nodes and pods.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Nodes that no kubelet runs.
    pub nodes: usize,
    /// Pods on them.
    pub pods: usize,
    /// After it has seen all of them come.
    pub grown: Memory,
    /// After a start among all of them.
    pub memory: Memory,
    /// Processor time of that start.
    pub start: Duration,
    /// What it uses while nothing happens, while leases are renewed, and while nodes report their status.
    pub beats: Vec<Beats>,
    /// From a node's creation to its route, and from its end to the route's.
    pub routes: Routes,
}

/// Fills the API of a new cluster step by step and measures at each; nothing of the cluster stays.
///
/// # Errors
/// When the steps are none, the cluster does not come up or the agent does not follow, with what is known of it.
pub fn scale(place: &Place, steps: &[usize], pods: usize) -> Result<Vec<Figures>> {
    check(steps)?;
    Cluster::down(place)?;
    // Where something fails, it stays to be looked at.
    let figures = measure(&Cluster::at(place, &Shape::default())?, steps, pods)?;
    Cluster::down(place)?;
    Ok(figures)
}

/// Each step adds nodes to those of the one before.
fn check(steps: &[usize]) -> Result<()> {
    ensure!(!steps.is_empty(), "it needs a number of nodes");
    ensure!(
        steps.is_sorted_by(|one, next| one < next),
        "each number of nodes must be greater than the one before it, because nodes are only added; these are {steps:?}"
    );
    ensure!(!steps.contains(&0), "among 0 nodes nothing can be measured");
    ensure!(
        steps.iter().all(|nodes| *nodes <= MOST_NODES),
        "there are addresses for {MOST_NODES} nodes, and for some more that come and go; these are {steps:?}"
    );
    Ok(())
}

fn measure(cluster: &Cluster, steps: &[usize], pods: usize) -> Result<Vec<Figures>> {
    cluster.mark_changed()?;
    for (node, number) in cluster.nodes().iter().zip(1..) {
        fill::reach(node, number)?;
    }
    stop_controllers(cluster)?;
    let api = Api::open(cluster)?;
    let mut figures: Vec<Figures> = Vec::new();
    for nodes in steps {
        let before = figures.last().map_or(0, |step| step.nodes);
        fill::nodes(&api, before..*nodes)?;
        if figures.is_empty() {
            fill::pods(&api, pods, *nodes)?;
        }
        say(format!("the API has {nodes} more nodes, and {pods} pods"));
        figures.push(step(cluster, &api, *nodes, pods)?);
    }
    Ok(figures)
}

fn step(cluster: &Cluster, api: &Api, nodes: usize, pods: usize) -> Result<Figures> {
    let node = cluster.node(MEASURED)?;
    let what = format!("{MEASURED} has a route to each of {nodes} nodes");
    cluster.until(LEARNS_WITHIN, &what, || {
        let routes = node.run(&["ip", "-4", "route", "show", "proto", "112"])?;
        let count = routes.lines().filter(|line| line.contains("/29")).count();
        ensure!(count == nodes, "it has {count} routes");
        Ok(())
    })?;
    let meter = Meter::of(&node)?;
    come_to_rest(cluster, &meter)?;
    let grown = meter.memory()?;
    let (meter, start) = restart(cluster, &node)?;
    let memory = meter.memory()?;
    let beats = Beats::all(api, &meter, nodes, SPAN)?;
    say("measured what heartbeats cost");
    let routes = Routes::measure(api, &node, nodes)?;
    Ok(Figures {
        nodes,
        pods,
        grown,
        memory,
        start,
        beats,
        routes,
    })
}

/// Its own process for good: the cluster ends with it stopped.
fn stop_controllers(cluster: &Cluster) -> Result<()> {
    let control = cluster.outside();
    let numbers = control.pids_of("kube-controller-manager")?;
    let number = numbers.first().context("no controller manager runs")?;
    // What it has to give before.
    cluster.until(RESTS_WITHIN, "there is a default service account", || {
        cluster.kubectl(&["get", "serviceaccount", "default"])
    })?;
    control
        .run(&["kill", "-STOP", &number.to_string()])
        .map(drop)
}

/// A new life of the agent, and the processor time until it has nothing more to do.
fn restart(cluster: &Cluster, node: &Node<'_>) -> Result<(Meter, Duration)> {
    let before = node.kill_all("podwired")?;
    let meter = cluster.until(COMES_BACK_WITHIN, "podwired runs again", || {
        let now = node.pids_of("podwired")?;
        ensure!(!now.is_empty() && now != before, "it runs as {now:?}");
        Meter::of(node)
    })?;
    come_to_rest(cluster, &meter)?;
    let start = meter.processor()?;
    Ok((meter, start))
}

fn come_to_rest(cluster: &Cluster, meter: &Meter) -> Result<()> {
    cluster.until(RESTS_WITHIN, "podwired has come to rest", || {
        let usage = rest(meter, Duration::from_secs(2))?;
        ensure!(usage.load() < AT_REST, "it uses {usage:?}");
        Ok(())
    })
}

fn rest(meter: &Meter, span: Duration) -> Result<Usage> {
    meter.during(|| wait::rest(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(steps: &[usize]) -> String {
        check(steps).unwrap_err().to_string()
    }

    #[test]
    fn steps_are_refused_that_are_none_or_do_not_grow() {
        assert!(check(&[1]).is_ok());
        assert!(check(&[500, 5000]).is_ok());
        assert!(refusal(&[]).contains("a number of nodes"));
        assert!(refusal(&[0, 5]).contains("among 0 nodes"));
        assert!(refusal(&[5, 5]).contains("greater"));
        assert!(refusal(&[50, 5]).contains("greater"));
    }

    #[test]
    fn the_most_nodes_and_those_that_come_and_go_have_ranges_in_the_clusters_prefix() {
        let last = fill::range(MOST_NODES + route::MORE - 1).unwrap();
        assert!(last.starts_with("10.244."), "{last}");
        assert!(refusal(&[5, MOST_NODES + 1]).contains("addresses for 5900 nodes"));
    }
}
