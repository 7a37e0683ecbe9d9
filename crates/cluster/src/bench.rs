//! What pods cost on a real cluster: until one is Ready, until fifty are, and what the runtime waits for the network.
//!
//! The same is measured on two clusters that differ in the network only, Podwire's and the reference plugins'; they take
//! turns, because a machine is never the same twice. Times are those of a watch on the API, so they hold all that a user
//! waits for. How fast the plugin itself is, `cargo xtask bench` tells.

mod calls;
mod pods;
mod report;

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::api::Api;
use crate::cluster::Cluster;
use crate::meter::{Memory, Meter, Usage};
use crate::progress::say;
use crate::shape::{Network, Shape};
use crate::{Place, wait};

use calls::Calls;
use pods::Pods;

/// Before anything is measured: the first pods of a node find nothing in memory.
const WARM_UP: usize = 4;
/// One after another.
const ALONE: usize = 20;
const TOGETHER: usize = 50;
/// So often.
const TIMES: usize = 3;
/// For an agent with nothing to do.
const IDLE: Duration = Duration::from_secs(30);
/// Rounds of `TOGETHER` that come and go.
const CHURNS: usize = 2;

/// What was measured on one cluster.
struct Round {
    network: Network,
    /// From creation to Ready, one pod after another.
    alone: Vec<Duration>,
    alone_calls: Calls,
    /// From the first creation to the last Ready.
    together: Vec<Duration>,
    together_calls: Calls,
    /// Of the network's agent, where it has one.
    agent: Option<Agent>,
}

struct Agent {
    before: Memory,
    idle: Usage,
    churn: Usage,
    after: Memory,
}

/// Measures so many times on a cluster of each kind, and gives the figures as a table; nothing of the clusters stays.
///
/// # Errors
/// When there is no round, a cluster does not come up, or a pod does not become Ready.
pub fn bench(place: &Place, rounds: usize) -> Result<String> {
    ensure!(
        rounds > 0,
        "in 0 rounds nothing can be measured; it takes one or more"
    );
    let mut done = Vec::new();
    for number in 0..rounds {
        let mut networks = [Network::Podwire, Network::Reference];
        if number % 2 == 1 {
            networks.reverse();
        }
        for network in networks {
            Cluster::down(place)?;
            let shape = Shape {
                network,
                ..Shape::default()
            };
            let cluster = Cluster::at(place, &shape)?;
            done.push(round(&cluster)?);
        }
    }
    Cluster::down(place)?;
    Ok(report::table(&done))
}

fn round(cluster: &Cluster) -> Result<Round> {
    let network = cluster.shape().network;
    let api = Api::open(cluster)?;
    let mut pods = Pods::open(cluster, &api)?;
    pods.come_and_go(WARM_UP)?;
    let before = Calls::of(cluster)?;
    let mut alone = Vec::new();
    for _ in 0..ALONE {
        alone.push(pods.come_and_go(1)?);
    }
    let between = Calls::of(cluster)?;
    let mut together = Vec::new();
    for _ in 0..TIMES {
        together.push(pods.come_and_go(TOGETHER)?);
    }
    let after = Calls::of(cluster)?;
    say("measured the pods");
    let agent = match network {
        Network::Podwire => Some(agent(cluster, &mut pods)?),
        Network::Reference | Network::Without => None,
    };
    Ok(Round {
        network,
        alone,
        alone_calls: between.since(&before),
        together,
        together_calls: after.since(&between),
        agent,
    })
}

fn agent(cluster: &Cluster, pods: &mut Pods) -> Result<Agent> {
    let node = cluster.node("worker1")?;
    let meter = Meter::of(&node)?;
    let before = meter.memory()?;
    let idle = meter.during(|| wait::rest(IDLE))?;
    let churn = meter.during(|| {
        for _ in 0..CHURNS {
            pods.come_and_go(TOGETHER)?;
        }
        Ok(())
    })?;
    say("measured the agent");
    Ok(Agent {
        before,
        idle,
        churn,
        after: meter.memory()?,
    })
}
