//! Host ports; the whole table of who is seen stands in docs/ports.md and is tested without Kubernetes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use cluster::{Client, Cluster, lan, pod};
use serde_json::{Value, json};

use super::web::{self, UDP};

const NODE: &str = "worker1";
const TCP_PORT: u16 = 18080;
const UDP_PORT: u16 = 18081;

pub(crate) fn a_host_port_leads_to_its_pod_from_everywhere(cluster: &Cluster) -> Result<()> {
    let items = with_ports(cluster, |_| Ok(vec![None]))?;
    let (_objects, pods) = web::start(cluster, &items)?;
    let outside = Client::Outside(cluster);
    let nodes = cluster.nodes();
    for address in web::node_addresses(cluster, NODE)? {
        let (tcp, udp) = (
            SocketAddr::new(address, TCP_PORT),
            SocketAddr::new(address, UDP_PORT),
        );
        let mut clients = vec![outside];
        clients.extend(nodes.iter().map(|node| Client::Node(node)));
        clients.extend(pods.iter().map(|pod| Client::Pod(cluster, pod)));
        for client in clients {
            answered(client, tcp, udp)?;
        }
        let far = web::like(&lan::outside(cluster.shape().family)?, address)?;
        let seen = outside.seen_as(tcp)?;
        ensure!(seen == far, "the pod sees {seen} instead of {far}");
        for pod in pods.iter().filter(|pod| pod.node != NODE) {
            let (seen, own) = (
                Client::Pod(cluster, pod).seen_as(tcp)?,
                web::like(&pod.addresses, address)?,
            );
            ensure!(seen == own, "the pod sees {seen} instead of {own}");
        }
        if address.is_ipv4() {
            let local = IpAddr::from(Ipv4Addr::LOCALHOST);
            let node = cluster.node(NODE)?;
            let (tcp, udp) = (
                SocketAddr::new(local, TCP_PORT),
                SocketAddr::new(local, UDP_PORT),
            );
            answered(Client::Node(&node), tcp, udp)?;
        }
    }
    Ok(())
}

pub(crate) fn a_host_port_of_one_address_is_at_no_other(cluster: &Cluster) -> Result<()> {
    let hosts = |node: &str| {
        let addresses = web::node_addresses(cluster, node)?;
        Ok(addresses.into_iter().map(Some).collect())
    };
    let items = with_ports(cluster, hosts)?;
    let (_objects, pods) = web::start(cluster, &items)?;
    let node = cluster.node(NODE)?;
    for address in web::node_addresses(cluster, NODE)? {
        let (tcp, udp) = (
            SocketAddr::new(address, TCP_PORT),
            SocketAddr::new(address, UDP_PORT),
        );
        for client in [Client::Outside(cluster), Client::Node(&node)] {
            answered(client, tcp, udp)?;
        }
        for pod in &pods {
            answered(Client::Pod(cluster, pod), tcp, udp)?;
        }
    }
    let mut others = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
    for address in web::node_addresses(cluster, NODE)? {
        others.push(web::first_of_range(cluster, NODE, address)?);
    }
    for other in others {
        Client::Node(&node).gets_nothing(SocketAddr::new(other, TCP_PORT))?;
    }
    Ok(())
}

/// One pod on each node; the one on `NODE` has host ports, once for each address to listen at.
fn with_ports(
    cluster: &Cluster,
    hosts: impl Fn(&str) -> Result<Vec<Option<IpAddr>>>,
) -> Result<Vec<Value>> {
    let mut items = web::pods(cluster)?;
    for item in &mut items {
        if item["spec"]["nodeName"] == NODE {
            let mut ports = Vec::new();
            for host in hosts(NODE)? {
                for (port, to, protocol) in [(TCP_PORT, pod::PORT, "TCP"), (UDP_PORT, UDP, "UDP")] {
                    let mut entry =
                        json!({"hostPort": port, "containerPort": to, "protocol": protocol});
                    if let Some(host) = host {
                        entry["hostIP"] = host.to_string().into();
                    }
                    ports.push(entry);
                }
            }
            item["spec"]["containers"][0]["ports"] = ports.into();
        }
    }
    Ok(items)
}

/// The pod with the ports answers at once: it was there before it was Ready.
fn answered(client: Client<'_>, tcp: SocketAddr, udp: SocketAddr) -> Result<()> {
    for name in [client.get(tcp, "hostname")?, client.udp(udp, "hostname")?] {
        ensure!(
            name == format!("web-{NODE}"),
            "{name} answers {} at {tcp}",
            client.name()
        );
    }
    Ok(())
}
