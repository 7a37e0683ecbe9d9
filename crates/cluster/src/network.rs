//! The pods' network of a cluster: Podwire as a user installs it, or the reference plugins to compare with.
//!
//! Podwire gets its manifest with the two lines that a user changes, and its image. The reference is a hand-written conflist
//! on each node and static routes between them. The control plane always gets routes to the pods: an API server reaches
//! them itself, for webhooks and for the proxy of its API.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::cluster::Cluster;
use crate::lan;
use crate::process::{feed, run};
use crate::shape::Network;

/// Controller manager's range allocator needs no longer, also while everything starts.
const RANGES_WITHIN: Duration = Duration::from_secs(60);
const CONFLIST: &str = "/etc/cni/net.d/10-reference.conflist";

/// Installs the network on a fresh cluster.
pub(crate) fn install(cluster: &Cluster) -> Result<()> {
    if cluster.shape().network == Network::Podwire {
        cluster.apply(&manifest(cluster)?)?;
    }
    connect(cluster)
}

/// Replaces Podwire's programs on a running cluster after their image has changed, and its manifest.
pub(crate) fn renew(cluster: &Cluster) -> Result<()> {
    cluster.apply(&manifest(cluster)?)?;
    for words in [
        &["rollout", "restart"][..],
        &["rollout", "status", "--timeout=120s"],
    ] {
        let words = [words, &["-n", "kube-system", "daemonset/podwire"]].concat();
        cluster.kubectl(&words)?;
    }
    Ok(())
}

/// What has to be done again when a node has booted or was added.
pub(crate) fn connect(cluster: &Cluster) -> Result<()> {
    let nodes = cluster.nodes();
    let names: Vec<_> = nodes.iter().map(|node| node.name().to_owned()).collect();
    let mut ways = Vec::new();
    for name in &names {
        let ranges = cluster.until(RANGES_WITHIN, &format!("{name} has a pod range"), || {
            ranges(cluster, name)
        })?;
        ways.push((name, ranges));
    }
    let routes = |own: &str| -> Result<String> {
        let mut lines = String::new();
        for (name, ranges) in &ways {
            for gateway in lan::addresses(name, cluster.shape().family)? {
                let fits = |range: &&String| range.contains(':') == gateway.is_ipv6();
                for range in ranges.iter().filter(fits).filter(|_| *name != own) {
                    lines.push_str(&format!("route replace {range} via {gateway}\n"));
                }
            }
        }
        Ok(lines)
    };
    let mut ip = cluster.outside().in_network(Path::new("ip"))?;
    feed(ip.args(["-batch", "-"]), &routes(lan::CONTROL)?).context("the API server's routes")?;
    if cluster.shape().network != Network::Reference {
        return Ok(());
    }
    for (node, (name, ranges)) in nodes.iter().zip(&ways).filter(|(node, _)| node.is_on()) {
        node.feed(&["ip", "-batch", "-"], &routes(name)?)?;
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            node.feed(&["tee", &format!("/proc/sys/{key}")], "1")?;
        }
        let unfinished = format!("{CONFLIST}.unfinished");
        node.feed(&["tee", &unfinished], &conflist(ranges))?;
        node.run(&["mv", &unfinished, CONFLIST])?;
    }
    Ok(())
}

/// Takes the control plane's routes to a node away.
pub(crate) fn disconnect(cluster: &Cluster, node: &str) -> Result<()> {
    for gateway in lan::addresses(node, cluster.shape().family)? {
        let family = if gateway.is_ipv4() { "-4" } else { "-6" };
        let mut ip = cluster.outside().in_network(Path::new("ip"))?;
        run(ip.args([family, "route", "flush", "via", &gateway.to_string()]))?;
    }
    Ok(())
}

fn ranges(cluster: &Cluster, node: &str) -> Result<Vec<String>> {
    let text = cluster.kubectl(&["get", "node", node, "-o", "jsonpath={.spec.podCIDRs[*]}"])?;
    let ranges: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
    let wanted = lan::pods(cluster.shape().family).len();
    ensure!(
        ranges.len() == wanted,
        "{node} has the pod ranges {ranges:?}"
    );
    Ok(ranges)
}

fn conflist(ranges: &[String]) -> String {
    let ranges: Vec<_> = ranges
        .iter()
        .map(|range| json!([{"subnet": range}]))
        .collect();
    json!({"cniVersion": "1.1.0", "name": "reference", "plugins": [
        {
            "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "hairpinMode": true,
            "ipam": {"type": "host-local", "ranges": ranges},
        },
        {"type": "portmap", "capabilities": {"portMappings": true}, "backend": "nftables", "snat": true},
    ]})
    .to_string()
}

/// deploy/podwire.yaml with its two optional lines, which a user takes the comment sign from.
pub(crate) fn manifest(cluster: &Cluster) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/podwire.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    edited(&text, cluster)
}

/// The same of any manifest that has these lines.
pub(crate) fn edited(text: &str, cluster: &Cluster) -> Result<String> {
    let family = cluster.shape().family;
    let mut edited = text.to_owned();
    for (flag, value) in [
        ("--prefixes", lan::pods(family).join(",")),
        ("--apiserver", lan::api_server(family)?),
    ] {
        let commented = |line: &&str| line.trim_start().starts_with(&format!("# - {flag}="));
        let line = text.lines().find(commented);
        let line =
            line.with_context(|| format!("the manifest has no line that begins with # - {flag}="))?;
        let indent = line.len() - line.trim_start().len();
        edited = edited.replace(line, &format!("{:indent$}- '{flag}={value}'", ""));
    }
    Ok(edited)
}
