//! Names, by the cluster's own DNS.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use cluster::pod::Pod;
use cluster::{Client, Cluster, lan};
use serde_json::json;

use super::web::{self, SERVICE_TCP, SOON};

pub(crate) fn a_pod_finds_services_by_name(cluster: &Cluster) -> Result<()> {
    cluster.names()?;
    let mut items = web::pods(cluster)?;
    items.push(web::service("web", &json!({"app": "web"}), &json!({})));
    let (_objects, pods) = web::start(cluster, &items)?;
    let own: BTreeSet<_> = web::addresses(cluster, "web")?.into_iter().collect();
    for pod in &pods {
        for server in lan::dns(cluster.shape().family) {
            for way in ["+notcp", "+tcp"] {
                found(cluster, pod, &[way, &format!("@{server}")], "web", &own)?;
            }
        }
        // As programs do it: by resolv.conf and its search list.
        let url = format!("http://web:{SERVICE_TCP}/hostname");
        let name = pod.get(cluster, &url)?;
        ensure!(name.starts_with("web-"), "{name} answers at {url}");
    }
    Ok(())
}

pub(crate) fn a_headless_service_has_the_addresses_of_its_pods(cluster: &Cluster) -> Result<()> {
    cluster.names()?;
    let mut items = web::pods(cluster)?;
    for item in &mut items {
        item["spec"]["hostname"] = item["spec"]["nodeName"].clone();
        item["spec"]["subdomain"] = "headless".into();
    }
    let without = json!({"clusterIP": "None"});
    items.push(web::service("headless", &json!({"app": "web"}), &without));
    let (_objects, pods) = web::start(cluster, &items)?;
    let all: BTreeSet<_> = pods.iter().flat_map(|pod| pod.addresses.clone()).collect();
    for pod in &pods {
        found(cluster, pod, &[], "headless", &all)?;
        for other in &pods {
            let own: BTreeSet<_> = other.addresses.iter().copied().collect();
            let name = format!("{}.headless", other.node);
            found(cluster, pod, &[], &name, &own)?;
            for &address in &own {
                let to = SocketAddr::new(address, cluster::pod::PORT);
                let told = Client::Pod(cluster, pod).get(to, "hostname")?;
                ensure!(told == other.node, "{told} answers at {to} for {name}");
            }
        }
    }
    Ok(())
}

/// A name below the namespace has exactly these addresses, in both families together.
fn found(
    cluster: &Cluster,
    pod: &Pod,
    options: &[&str],
    name: &str,
    wanted: &BTreeSet<IpAddr>,
) -> Result<()> {
    let name = format!("{name}.default.svc.cluster.local");
    let mut words = vec!["dig", "+short", "+time=2", "+tries=2"];
    words.extend(options);
    words.extend([&name, "A", &name, "AAAA"]);
    let what = format!("{} resolves {name} {options:?}", pod.name);
    cluster.until(SOON, &what, || {
        let answer = pod.run(cluster, &words)?;
        let addresses = answer.lines().map(|line| {
            let line = line.trim();
            line.parse().with_context(|| format!("dig says {line:?}"))
        });
        let found = addresses.collect::<Result<BTreeSet<IpAddr>>>()?;
        ensure!(found == *wanted, "{found:?} instead of {wanted:?}");
        Ok(())
    })
}
