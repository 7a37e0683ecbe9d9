//! Pods to try a network with: upstream's test program, which answers HTTP with its own name, on each node.
//!
//! They are made by the API, so what they show is what a user's pods get. The image has a shell, curl, dig and more besides.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::Objects;
use crate::cluster::Cluster;

/// The port at which they answer HTTP.
pub const PORT: u16 = 8080;

/// A running pod.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its name, in the namespace `default`.
    pub name: String,
    /// The node that it runs on.
    pub node: String,
    /// Its addresses, the cluster's first family first.
    pub addresses: Vec<IpAddr>,
}

/// Pods of a DaemonSet of this name, one on each node, all Ready; they go with the object.
///
/// # Errors
/// When they do not become Ready, with what is known of the cluster.
pub fn on_each_node<'a>(cluster: &'a Cluster, name: &str) -> Result<(Objects<'a>, Vec<Pod>)> {
    let pods = json!({"terminationGracePeriodSeconds": 1, "containers": [web(cluster)?]});
    let objects = Objects::new(cluster, &[workload("DaemonSet", name, &pods)])?;
    let rollout = [
        "rollout",
        "status",
        &format!("daemonset/{name}"),
        "--timeout=60s",
    ];
    cluster
        .kubectl(&rollout)
        .map_err(|error| error.context(cluster.explain()))?;
    Ok((objects, list(cluster, &format!("app={name}"))?))
}

/// A container that answers HTTP at [`PORT`], and says so when it is Ready.
///
/// # Errors
/// When its image is missing.
pub fn web(cluster: &Cluster) -> Result<Value> {
    Ok(json!({
        "name": "web",
        "image": cluster.place().image("agnhost")?,
        "args": ["netexec", format!("--http-port={PORT}")],
        "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
    }))
}

/// A DaemonSet or Deployment of pods with this spec, which have its name as their label `app`.
pub fn workload(kind: &str, name: &str, pods: &Value) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pods},
        },
    })
}

/// The pods with a label, but for those that are being deleted.
///
/// # Errors
/// When one has no address.
pub fn list(cluster: &Cluster, selector: &str) -> Result<Vec<Pod>> {
    let answer = cluster.json(&["pods", "-l", selector])?;
    let items = answer["items"].as_array().context("a list of pods")?;
    let stays = |item: &&Value| item["metadata"]["deletionTimestamp"].is_null();
    items
        .iter()
        .filter(stays)
        .map(|item| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let name = text(&item["metadata"]["name"]);
            let addresses = item["status"]["podIPs"].as_array().into_iter().flatten();
            let addresses: Result<Vec<IpAddr>> = addresses
                .map(|entry| {
                    text(&entry["ip"])
                        .parse()
                        .with_context(|| format!("an address of {name}"))
                })
                .collect();
            let addresses = addresses?;
            ensure!(!addresses.is_empty(), "{name} has no address");
            Ok(Pod {
                node: text(&item["spec"]["nodeName"]),
                addresses,
                name,
            })
        })
        .collect()
}

/// Where a pod answers, for curl.
pub fn url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(host) => format!("http://{host}:{PORT}"),
        IpAddr::V6(host) => format!("http://[{host}]:{PORT}"),
    }
}

impl Pod {
    /// Runs a program in it to its end, and gives what it wrote.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run(&self, cluster: &Cluster, words: &[&str]) -> Result<String> {
        let mut arguments = vec!["exec", &self.name, "--"];
        arguments.extend(words);
        cluster.kubectl(&arguments)
    }

    /// Its network namespace, for work inside it with programs of the caller.
    ///
    /// # Errors
    /// When it does not run.
    pub fn network(&self, cluster: &Cluster) -> Result<File> {
        let name = self.run(cluster, &["readlink", "/proc/self/ns/net"])?;
        cluster.node(&self.node)?.network(Path::new(&name))
    }

    /// What a URL answers to it, within three seconds.
    ///
    /// # Errors
    /// When it does not answer, or not with success.
    pub fn get(&self, cluster: &Cluster, url: &str) -> Result<String> {
        self.run(cluster, &["curl", "-sSfg", "-m", "3", url])
    }
}
