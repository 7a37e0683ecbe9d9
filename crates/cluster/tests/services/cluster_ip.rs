//! Services at an address of their own.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use cluster::{Client, Cluster};
use serde_json::json;

use super::web::{self, SERVICE_TCP, SERVICE_UDP, SOON};

pub(crate) fn a_service_address_leads_to_every_pod_of_the_service(cluster: &Cluster) -> Result<()> {
    let mut items = web::pods(cluster)?;
    items.push(web::service("web", &json!({"app": "web"}), &json!({})));
    let (_objects, pods) = web::start(cluster, &items)?;
    let all: BTreeSet<_> = pods.iter().map(|pod| pod.name.clone()).collect();
    let nodes = cluster.nodes();
    let mut clients: Vec<_> = pods.iter().map(|pod| Client::Pod(cluster, pod)).collect();
    clients.extend(nodes.iter().map(|node| Client::Node(node)));
    for address in web::addresses(cluster, "web")? {
        let (tcp, udp) = (
            SocketAddr::new(address, SERVICE_TCP),
            SocketAddr::new(address, SERVICE_UDP),
        );
        for client in &clients {
            let asks: [(&str, &dyn Fn() -> Result<String>); 2] = [
                ("TCP", &|| client.get(tcp, "hostname")),
                ("UDP", &|| client.udp(udp, "hostname")),
            ];
            for (protocol, ask) in asks {
                let what = format!(
                    "{} finds all pods at {address} by {protocol}",
                    client.name()
                );
                let mut found = BTreeSet::new();
                cluster.until(SOON, &what, || {
                    found.insert(ask()?);
                    ensure!(found == all, "only {found:?}");
                    Ok(())
                })?;
            }
        }
    }
    Ok(())
}

pub(crate) fn a_pod_reaches_itself_through_its_service_and_sees_others_as_they_are(
    cluster: &Cluster,
) -> Result<()> {
    let mut items = web::pods(cluster)?;
    let names: Vec<_> = cluster
        .nodes()
        .iter()
        .map(|node| node.name().to_owned())
        .collect();
    for name in &names {
        items.push(web::service(
            name,
            &json!({"app": "web", "node": name}),
            &json!({}),
        ));
    }
    let (_objects, pods) = web::start(cluster, &items)?;
    for asking in &pods {
        let client = Client::Pod(cluster, asking);
        for asked in &pods {
            for address in web::addresses(cluster, &asked.node)? {
                let (tcp, udp) = (
                    SocketAddr::new(address, SERVICE_TCP),
                    SocketAddr::new(address, SERVICE_UDP),
                );
                web::answers(cluster, client, tcp, &asked.name)?;
                let name = client.udp(udp, "hostname")?;
                ensure!(name == asked.name, "{name} answers {asking:?} at {udp}");
                // An answer to itself must come back through the node, so it must not see itself.
                let own = if asking.name == asked.name {
                    web::first_of_range(cluster, &asked.node, address)?
                } else {
                    web::like(&asking.addresses, address)?
                };
                for seen in [client.seen_as(tcp)?, client.seen_as_by_udp(udp)?] {
                    ensure!(seen == own, "{asked:?} sees {seen} instead of {own}");
                }
            }
        }
    }
    Ok(())
}
