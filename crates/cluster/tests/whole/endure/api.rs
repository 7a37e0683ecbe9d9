//! The API server is away for a minute: first it is silent, then it refuses.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::Cluster;

use crate::endure::{
    AGENT, NODES, SOON, SOON_FOR_KUBECTL, agents_run, kill_agents, ledger, let_pass, pods,
    three_nodes, traffic,
};

const AWAY: Duration = Duration::from_secs(60);
/// So long packets to it vanish.
const SILENT: Duration = Duration::from_secs(20);

#[test]
fn no_packet_is_lost_while_the_api_server_is_away_for_a_minute_and_agents_die_meanwhile()
-> Result<()> {
    let cluster = three_nodes()?;
    let traffic = traffic::begin(&cluster)?;
    let began = Instant::now();
    let away = Away::begin(&cluster, "drop")?;
    a_route_is_repaired(&cluster)?;
    let_pass(SILENT.saturating_sub(began.elapsed()))?;
    away.now("reject with tcp reset")?;
    kill_agents(&cluster)?;
    let lonely = pods::Static::new(&cluster, "lonely", NODES[2])?;
    lonely.answers()?;
    let_pass(AWAY.saturating_sub(began.elapsed()))?;
    println!("the API server was away for {:?}", began.elapsed());
    drop(away);
    for node in NODES {
        let words = [
            "wait",
            "--for=condition=Ready",
            SOON_FOR_KUBECTL,
            "node",
            node,
        ];
        let ready = cluster.kubectl(&words);
        ready.map_err(|error| error.context(cluster.explain()))?;
        // Nobody has told of an outage of the network, for there was none.
        let path = "jsonpath={.status.conditions[?(@.type=='NetworkUnavailable')].status}";
        let condition = cluster.kubectl(&["get", "node", node, "-o", path])?;
        ensure!(condition == "False", "NetworkUnavailable is {condition}");
    }
    agents_run(&cluster)?;
    pods::new_ones_talk(&cluster)?;
    ledger::agree(&cluster)?;
    lonely.end()?;
    ledger::agree(&cluster)?;
    traffic.arrived_whole()
}

/// The nodes' packets to the API server get this verdict; kubectl, on the control plane's machine itself, still reaches it.
struct Away<'a>(&'a Cluster);

impl<'a> Away<'a> {
    fn begin(cluster: &'a Cluster, verdict: &str) -> Result<Self> {
        let away = Self(cluster);
        away.now(verdict)?;
        Ok(away)
    }

    fn now(&self, verdict: &str) -> Result<()> {
        let rules = format!(
            "table inet away\n\
             delete table inet away\n\
             table inet away {{\n  \
               chain input {{\n    \
                 type filter hook input priority 0\n    \
                 iifname lan0 tcp dport 6443 {verdict}\n  \
               }}\n\
             }}\n"
        );
        let outside = self.0.outside();
        outside.feed(&["nft", "-f", "-"], &rules).map(drop)
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        let outside = self.0.outside();
        drop(outside.run(&["nft", "delete", "table", "inet", "away"]));
    }
}

/// Agents that run know all that they need; the route is one that no stream takes.
fn a_route_is_repaired(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(NODES[2])?;
    let routes = || node.run(&["ip", "route", "show", "proto", "112", "dev", "eth0"]);
    let before = routes()?;
    let range = before.split_whitespace().next();
    let range = range.context("a route to a pod range")?;
    ensure!(!node.pids_of(AGENT)?.is_empty(), "no agent runs");
    node.run(&["ip", "route", "delete", range])?;
    cluster.until(SOON, "the route is there again", || {
        let now = routes()?;
        ensure!(now == before, "{now}");
        Ok(())
    })
}
