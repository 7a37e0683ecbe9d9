//! Services at a port of every node, and whom their pods see: docs/kubernetes.md promises it.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use cluster::{Client, Cluster, lan};
use serde_json::json;

use super::web;

const MASTER: &str = "master";
const WORKER: &str = "worker1";

pub(crate) fn a_node_port_of_policy_cluster_shows_the_node_that_was_asked(
    cluster: &Cluster,
) -> Result<()> {
    let (_objects, pods) = one_on_each(cluster, "Cluster")?;
    let outside = Client::Outside(cluster);
    for pod in &pods {
        let [tcp, udp] = web::node_ports(cluster, &pod.node)?;
        for asked in [MASTER, WORKER] {
            for address in web::node_addresses(cluster, asked)? {
                let (tcp, udp) = (SocketAddr::new(address, tcp), SocketAddr::new(address, udp));
                web::answers(cluster, outside, tcp, &pod.name)?;
                let own = if asked == pod.node {
                    web::first_of_range(cluster, asked, address)?
                } else {
                    address
                };
                for seen in [outside.seen_as(tcp)?, outside.seen_as_by_udp(udp)?] {
                    ensure!(
                        seen == own,
                        "{asked} was asked at {address} for {pod:?}, which sees {seen} instead of {own}"
                    );
                }
                // From within as well: a pod asks its own node and the other.
                for from in &pods {
                    web::answers(cluster, Client::Pod(cluster, from), tcp, &pod.name)?;
                }
                for node in cluster.nodes() {
                    web::answers(cluster, Client::Node(&node), tcp, &pod.name)?;
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn a_node_port_of_policy_local_shows_the_client_where_a_pod_is(
    cluster: &Cluster,
) -> Result<()> {
    let (_objects, pods) = one_on_each(cluster, "Local")?;
    let outside = Client::Outside(cluster);
    let far = lan::outside(cluster.shape().family)?;
    let near = web::node_addresses(cluster, lan::CONTROL)?;
    for pod in &pods {
        let [tcp, udp] = web::node_ports(cluster, &pod.node)?;
        for address in web::node_addresses(cluster, &pod.node)? {
            let (tcp, udp) = (SocketAddr::new(address, tcp), SocketAddr::new(address, udp));
            web::answers(cluster, outside, tcp, &pod.name)?;
            let seen = [outside.seen_as(tcp)?, outside.seen_as_by_udp(udp)?];
            let own = [web::like(&far, address)?, web::like(&near, address)?];
            ensure!(seen == own, "{pod:?} sees {seen:?} instead of {own:?}");
        }
        let without = if pod.node == MASTER { WORKER } else { MASTER };
        for address in web::node_addresses(cluster, without)? {
            outside.gets_nothing(SocketAddr::new(address, tcp))?;
        }
    }
    Ok(())
}

/// A pod on each node, and a Service of the node's name before it.
fn one_on_each<'a>(
    cluster: &'a Cluster,
    policy: &str,
) -> Result<(cluster::Objects<'a>, Vec<cluster::pod::Pod>)> {
    let mut items = web::pods(cluster)?;
    let more = json!({"type": "NodePort", "externalTrafficPolicy": policy});
    for name in [MASTER, WORKER] {
        items.push(web::service(
            name,
            &json!({"app": "web", "node": name}),
            &more,
        ));
    }
    web::start(cluster, &items)
}
