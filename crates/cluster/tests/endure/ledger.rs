//! Whether the API, Podwire's state folder and the kernel of each node tell the same of the pods.
//!
//! A record or a link without a pod is a leak, and `podwire leaks` must know of none; an address that two pods have is a
//! disaster. It is asked until it is so, because a pod's end is told to the API after its network is gone, and its start
//! before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Node};
use serde_json::Value;

use super::{AGENT, SOON, status};

/// `namespace/pod` and its addresses.
type Pods = BTreeMap<String, BTreeSet<IpAddr>>;

const STATE: &str = "/run/podwire/podwire";

/// Whose records there are.
#[derive(Clone, Copy)]
enum Builds {
    This,
    /// Also those of builds that did not write down from where they saw their pods.
    Older,
}

/// Waits until everybody agrees and no agent finds anything wrong, and gives the number of pods.
pub(crate) fn agree(cluster: &Cluster) -> Result<usize> {
    agree_of(cluster, Builds::This)
}

/// The same where older builds have attached some of the pods.
pub(crate) fn agree_with_older(cluster: &Cluster) -> Result<usize> {
    agree_of(cluster, Builds::Older)
}

fn agree_of(cluster: &Cluster, builds: Builds) -> Result<usize> {
    let mut all = BTreeMap::new();
    for node in cluster.nodes() {
        let what = format!("all agree on the pods of {}", node.name());
        let pods = cluster.until(SOON, &what, || agree_on(cluster, &node, builds))?;
        for (pod, addresses) in pods {
            for address in addresses {
                let other = all.insert(address, pod.clone());
                ensure!(
                    other.is_none(),
                    "{address} is the address of {pod} and of {other:?}"
                );
            }
        }
    }
    let pods: BTreeSet<_> = all.into_values().collect();
    Ok(pods.len())
}

fn agree_on(cluster: &Cluster, node: &Node<'_>, builds: Builds) -> Result<Pods> {
    let pods = of_api(cluster, node.name())?;
    let (records, count) = of_records(node)?;
    ensure!(
        records == pods && count == pods.len(),
        "the API has {pods:?}, {count} records {records:?}"
    );
    let addresses: BTreeSet<IpAddr> = pods.values().flatten().copied().collect();
    for (what, found) in [
        ("leases", leases(node)?),
        (
            "routes",
            of_links(node, &["route", "show", "proto", "112"], "dst")?,
        ),
        (
            "neighbours",
            of_links(node, &["neigh", "show", "nud", "permanent"], "dst")?,
        ),
    ] {
        ensure!(
            found == addresses,
            "the pods have {addresses:?}, the node has the {what} {found:?}"
        );
    }
    let links = aliases(node)?;
    let names: Vec<_> = pods.keys().cloned().collect();
    ensure!(
        links == names,
        "the pods are {names:?}, the links' {links:?}"
    );
    no_leaks(node, builds)?;
    // Without an agent there is nobody to be asked.
    if !node.pids_of(AGENT)?.is_empty() {
        status(cluster, node)?;
    }
    Ok(pods)
}

/// What `podwire leaks` says on the node itself, where it needs no agent: nothing is left, and every pod can be judged.
fn no_leaks(node: &Node<'_>, builds: Builds) -> Result<()> {
    let text = node.run(&["podwire", "leaks", "--json"])?;
    let told: Value = serde_json::from_str(&text).context("podwire leaks: no JSON")?;
    let none = |key: &str| told[key].as_array().is_some_and(Vec::is_empty);
    let unseen = told["unseen"].as_array().context("podwire leaks: unseen")?;
    let is_seen = match builds {
        Builds::This => unseen.is_empty(),
        Builds::Older => unseen.iter().all(|unseen| unseen["cause"] == "old"),
    };
    ensure!(
        told["run_dir_found"] == true && none("leaks") && is_seen,
        "podwire leaks says {text}"
    );
    Ok(())
}

/// All pods of the network on a node, also those that come or go.
fn of_api(cluster: &Cluster, node: &str) -> Result<Pods> {
    let here = format!("spec.nodeName={node}");
    let answer = cluster.json(&["pods", "-A", "--field-selector", &here])?;
    let items = answer["items"].as_array().context("a list of pods")?;
    let ours = items
        .iter()
        .filter(|pod| pod["spec"]["hostNetwork"] != true);
    ours.map(|pod| {
        let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
        let name = format!("{}/{}", text("namespace"), text("name"));
        let listed = pod["status"]["podIPs"].as_array().into_iter().flatten();
        let addresses = listed
            .map(|entry| address(&entry["ip"]))
            .collect::<Result<_>>();
        Ok((name, addresses?))
    })
    .collect()
}

/// The same by the records, and how many there are.
fn of_records(node: &Node<'_>) -> Result<(Pods, usize)> {
    let mut pods = Pods::new();
    let records = records(node)?;
    for record in &records {
        let pod = &record["pod"];
        let text = |key: &str| pod[key].as_str().unwrap_or_default();
        let name = format!("{}/{}", text("namespace"), text("name"));
        let listed = record["addresses"].as_array().into_iter().flatten();
        for entry in listed {
            pods.entry(name.clone())
                .or_default()
                .insert(address(&entry["ip"])?);
        }
    }
    Ok((pods, records.len()))
}

/// The records of a node as they are.
pub(crate) fn records(node: &Node<'_>) -> Result<Vec<Value>> {
    let all = format!("find {STATE}/attachments -type f -exec cat {{}} + 2>/dev/null || true");
    let text = node.run(&["sh", "-c", &all])?;
    let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    values.map(|value| value.context("a record")).collect()
}

fn leases(node: &Node<'_>) -> Result<BTreeSet<IpAddr>> {
    let all = format!("ls {STATE}/leases 2>/dev/null || true");
    let text = node.run(&["sh", "-c", &all])?;
    let names = text.lines();
    names
        .map(|name| name.parse().with_context(|| format!("the lease {name}")))
        .collect()
}

/// Addresses that the kernel has on links of ours.
fn of_links(node: &Node<'_>, words: &[&str], key: &str) -> Result<BTreeSet<IpAddr>> {
    let mut found = BTreeSet::new();
    for family in ["-4", "-6"] {
        for entry in list(node, &[&[family], words].concat())? {
            // Those of the other nodes' ranges, and the gateway's that a pod sees, are no pod's.
            if is_ours(&entry["dev"])
                && let Ok(address) = address(&entry[key])
            {
                found.insert(address);
            }
        }
    }
    Ok(found)
}

/// Whose the links of ours are, by their aliases; sorted, and each as often as it is there.
fn aliases(node: &Node<'_>) -> Result<Vec<String>> {
    let links = list(node, &["link", "show", "type", "veth"])?;
    let ours = links.iter().filter(|link| is_ours(&link["ifname"]));
    let alias = |link: &Value| link["ifalias"].as_str().unwrap_or_default().to_owned();
    let mut aliases: Vec<_> = ours.map(alias).collect();
    aliases.sort();
    Ok(aliases)
}

fn list(node: &Node<'_>, words: &[&str]) -> Result<Vec<Value>> {
    let text = node.run(&[&["ip", "-j"], words].concat())?;
    // Nothing at all where there is none of what is asked for.
    let text = if text.is_empty() { "[]" } else { &text };
    serde_json::from_str(text).with_context(|| format!("ip -j {words:?}"))
}

fn is_ours(link: &Value) -> bool {
    link.as_str().is_some_and(|name| name.starts_with("pw"))
}

fn address(value: &Value) -> Result<IpAddr> {
    let text = value.as_str().unwrap_or_default();
    text.parse().with_context(|| format!("the address {value}"))
}
