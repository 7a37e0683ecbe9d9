//! Pods that serve, and Services before them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
pub(super) use cluster::lan::like;
use cluster::pod::{self, Pod};
use cluster::{Client, Cluster, Objects, lan};
use serde_json::{Value, json};

/// kube-proxy and CoreDNS hear of a change within two seconds.
pub(super) const SOON: Duration = Duration::from_secs(30);
/// Where the pods answer UDP; HTTP at [`pod::PORT`].
pub(super) const UDP: u16 = 8081;
/// Of every Service.
pub(super) const SERVICE_TCP: u16 = 80;
pub(super) const SERVICE_UDP: u16 = 81;

/// A pod `web-NODE` on this node with these labels: `app: web`, `node: NODE`.
pub(super) fn pod(cluster: &Cluster, node: &str) -> Result<Value> {
    let mut web = pod::web(cluster)?;
    let arguments = web["args"].as_array_mut().context("arguments")?;
    arguments.push(format!("--udp-port={UDP}").into());
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("web-{node}"), "labels": {"app": "web", "node": node}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [web]},
    }))
}

/// One pod on each node.
pub(super) fn pods(cluster: &Cluster) -> Result<Vec<Value>> {
    let nodes = cluster.nodes();
    nodes.iter().map(|node| pod(cluster, node.name())).collect()
}

/// A Service before the pods with these labels, in all families of the cluster.
pub(super) fn service(name: &str, selector: &Value, more: &Value) -> Value {
    let mut spec = json!({
        "selector": selector,
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [
            {"name": "tcp", "port": SERVICE_TCP, "targetPort": pod::PORT},
            {"name": "udp", "port": SERVICE_UDP, "targetPort": UDP, "protocol": "UDP"},
        ],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

/// Makes all these, and gives the pods when they are Ready.
pub(super) fn start<'a>(cluster: &'a Cluster, items: &[Value]) -> Result<(Objects<'a>, Vec<Pod>)> {
    let objects = Objects::new(cluster, items)?;
    let words = [
        "wait",
        "pod",
        "-l",
        "app=web",
        "--for=condition=Ready",
        "--timeout=60s",
    ];
    // Told before they go.
    let outcome = cluster.kubectl(&words);
    outcome.map_err(|error| error.context(cluster.explain()))?;
    Ok((objects, pod::list(cluster, "app=web")?))
}

/// A Service's own addresses.
pub(super) fn addresses(cluster: &Cluster, service: &str) -> Result<Vec<IpAddr>> {
    let answer = cluster.json(&["service", service])?;
    let addresses = answer["spec"]["clusterIPs"].as_array();
    let addresses = addresses.with_context(|| format!("{service} has no address"))?;
    addresses
        .iter()
        .map(|address| {
            let text = address.as_str().unwrap_or_default();
            text.parse()
                .with_context(|| format!("address {text:?} of {service}"))
        })
        .collect()
}

/// The node ports of a Service, TCP and UDP.
pub(super) fn node_ports(cluster: &Cluster, service: &str) -> Result<[u16; 2]> {
    let answer = cluster.json(&["service", service])?;
    let port = |name: &str| {
        let ports = answer["spec"]["ports"].as_array().into_iter().flatten();
        let port = ports.into_iter().find(|port| port["name"] == name);
        let number = port.and_then(|port| port["nodePort"].as_u64());
        let number = number.with_context(|| format!("{service} has no node port {name}"))?;
        u16::try_from(number).context("a port")
    };
    Ok([port("tcp")?, port("udp")?])
}

/// A node's addresses on the LAN.
pub(super) fn node_addresses(cluster: &Cluster, node: &str) -> Result<Vec<IpAddr>> {
    lan::addresses(node, cluster.shape().family)
}

/// The first address of a node's pod range, which is the node's own, in this family.
pub(super) fn first_of_range(cluster: &Cluster, node: &str, other: IpAddr) -> Result<IpAddr> {
    let answer = cluster.json(&["node", node])?;
    let ranges = answer["spec"]["podCIDRs"].as_array().into_iter().flatten();
    let networks = ranges.filter_map(|range| range.as_str()?.split('/').next()?.parse().ok());
    Ok(match like(&networks.collect::<Vec<_>>(), other)? {
        IpAddr::V4(network) => Ipv4Addr::from_bits(network.to_bits() + 1).into(),
        IpAddr::V6(network) => Ipv6Addr::from_bits(network.to_bits() + 1).into(),
    })
}

/// Asks until this answer comes; the last error or answer otherwise.
pub(super) fn answers(
    cluster: &Cluster,
    client: Client<'_>,
    to: SocketAddr,
    wanted: &str,
) -> Result<()> {
    let what = format!("{} gets {wanted} at {to}", client.name());
    cluster.until(SOON, &what, || {
        let name = client.get(to, "hostname")?;
        anyhow::ensure!(name == wanted, "{name} answers");
        Ok(())
    })
}
