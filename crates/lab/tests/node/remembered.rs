//! An agent of a cluster whose API server is away: it knows what the run before was told, mends, and takes nothing away.

use std::fs;

use anyhow::{Result, ensure};
use lab::walk::Site;
use lab::{Lab, Node, Process, programs};
use serde_json::{Value, json};

use super::{SOON, chain, findings, said};

const STATUS_FILE: &str = "/run/podwire/status.json";
const CONFLIST: &str = "/etc/cni/net.d/10-podwire.conflist";
/// It leads to nobody.
const CONFIG: &str = "apiVersion: v1
kind: Config
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: \"http://127.0.0.1:1\"}}]
users: [{name: a, user: {}}]
";

/// What a run of the agent was told before.
fn told(node: &Node) -> Result<()> {
    node.attempt(|| {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let member = |v4: &str, v6: &str, number: u8| {
            json!({"addresses": [v4, v6],
                "ranges": [format!("10.244.{number}.0/24"), format!("fd00:10:244:{number}::/64")]})
        };
        let kept = json!({"boot": boot.trim(), "node": "k8s-master", "at": "2026-11-24T09:00:00Z",
            "cluster": {"network": "podwire", "prefixes": ["10.244.0.0/16", "fd00:10:244::/56"], "nodes": {
                "k8s-master": member("10.128.0.2", "fd00:10:128::2", 0),
                "k8s-worker": member("10.128.0.3", "fd00:10:128::3", 1)}}});
        fs::create_dir_all("/run/podwire")?;
        Ok(fs::write("/run/podwire/cluster.json", kept.to_string())?)
    })
}

fn start(node: &Node) -> Result<Process> {
    node.attempt(|| Ok(fs::write("/run/kubeconfig", CONFIG)?))?;
    let command = node.command(programs()?.agent);
    let command = command.args(["--kubernetes", "--kubeconfig", "/run/kubeconfig"]);
    command.args(["--node", "k8s-master"]).spawn()
}

fn status(node: &Node, what: &str, mut is_so: impl FnMut(&Value) -> bool + Send) -> Result<()> {
    lab::watch::until(node, what, &[STATUS_FILE], SOON, || {
        let text = fs::read_to_string(STATUS_FILE).unwrap_or_default();
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(is_so(&status).then_some(()))
    })
}

#[test]
fn an_agent_that_starts_while_the_api_server_is_away_mends_and_takes_nothing_away() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let node = site.master();
        told(node)?;
        // Of a node that came when nobody could be told any more.
        said(node, "ip route add 10.244.7.0/24 via 10.128.0.3 proto 112")?;
        let agent = start(node)?;
        let route = "replace route 10.244.1.0/24 via 10.128.0.3";
        agent.wait_for_line(route, SOON)?;
        let old = "known from an earlier run of podwired only, as of 2026-11-24T09:00:00Z";
        status(node, old, |status| {
            findings(status).contains(old) && status["table"].is_string()
        })?;
        let mark = agent.mark();
        said(node, "ip route del 10.244.1.0/24")?;
        agent.wait_for_line_after(mark, route, SOON)?;
        ensure!(said(node, "ip route show 10.244.7.0/24")?.contains("via 10.128.0.3"));
        let conflist = node.attempt(|| Ok(fs::exists(CONFLIST)?))?;
        ensure!(!conflist, "pods were let in");
        ensure!(!agent.stderr().contains("ready: "), "{}", agent.stderr());
        Ok(())
    })
}

#[test]
fn what_leads_to_a_node_that_came_later_stays_when_the_rest_is_mended() -> Result<()> {
    const NEWER: &str = "10.245.7.0/24";
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let node = site.master();
        told(node)?;
        // What was the worker's range when the cluster was remembered is another node's by now.
        let moved = "10.244.1.0/24 via 10.128.0.9 dev eth0";
        said(node, &format!("ip route add {moved} proto 112"))?;
        let agent = start(node)?;
        status(node, "the table", |status| status["table"].is_string())?;
        let newer = format!("nft add element inet podwire pods4 {{ {NEWER} }}");
        said(node, &newer)?;
        let mark = agent.mark();
        said(node, "nft flush chain inet podwire outgoing")?;
        let put = agent.wait_for_line_after(mark, "put table inet podwire", SOON)?;
        ensure!(
            put.contains(NEWER) && put.contains("10.244.0.0/16"),
            "{put}"
        );
        // Where it does not belong, so the chain is written anew.
        let rule = ["-I", "FORWARD", "1", "-s", NEWER, "-j", "ACCEPT"];
        let comment = ["-m", "comment", "--comment", "podwire: pods"];
        let command = node.command("iptables-nft").args(rule).args(comment);
        command.output_within(SOON)?.ok()?;
        let stand = || {
            let lines = chain(node, "iptables-nft", "FORWARD")?;
            let first = lines.get(1).is_some_and(|line| line.contains("DOCKER"));
            let both = |net: &str| lines.iter().filter(|line| line.contains(net)).count() == 2;
            Ok((first && both(NEWER) && both("10.244.0.0/16")).then_some(()))
        };
        lab::watch::until(node, "the rules stand at the end", &[], SOON, stand)?;
        ensure!(said(node, "ip route show 10.244.1.0/24")?.contains("10.128.0.9"));
        Ok(())
    })
}

#[test]
fn an_agent_that_was_never_told_of_a_cluster_changes_nothing() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let node = site.master();
        let state = || -> Result<String> {
            let forward =
                node.attempt(|| Ok(fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?))?;
            let routes = super::routes(node)?;
            Ok(format!(
                "{}{routes:?}{forward}",
                said(node, "nft list ruleset")?
            ))
        };
        let before = state()?;
        let _agent = start(node)?;
        status(node, "the outage", |status| {
            findings(status).contains("unreachable")
        })?;
        super::same("the agent changes something", &before, &state()?)
    })
}
