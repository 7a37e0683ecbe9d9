//! Pods to try a network with: upstream's test program, which answers HTTP with its own name, on each node.
//!
//! They are made by the API, so what they show is what a user's pods get. The image has a shell, curl, dig and more besides.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};

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

/// Pods of a DaemonSet of this name, one on each node, all Ready.
///
/// # Errors
/// When they do not become Ready, with what is known of the cluster.
pub fn on_each_node(cluster: &Cluster, name: &str) -> Result<Vec<Pod>> {
    let image = cluster.place().image("agnhost")?;
    cluster.apply(&format!(
        "apiVersion: apps/v1\n\
         kind: DaemonSet\n\
         metadata: {{name: {name}}}\n\
         spec:\n  \
           selector: {{matchLabels: {{app: {name}}}}}\n  \
           template:\n    \
             metadata: {{labels: {{app: {name}}}}}\n    \
             spec:\n      \
               terminationGracePeriodSeconds: 1\n      \
               containers:\n      \
               - name: web\n        \
                 image: {image}\n        \
                 args: [netexec, --http-port={PORT}]\n        \
                 readinessProbe: {{httpGet: {{path: /, port: {PORT}}}, periodSeconds: 1}}\n"
    ))?;
    let rollout = [
        "rollout",
        "status",
        &format!("daemonset/{name}"),
        "--timeout=60s",
    ];
    cluster
        .kubectl(&rollout)
        .map_err(|error| error.context(cluster.explain()))?;
    list(cluster, &format!("app={name}"))
}

/// Removes a DaemonSet and waits until its pods are gone.
///
/// # Errors
/// When it is not there, or a pod does not go.
pub fn remove(cluster: &Cluster, name: &str) -> Result<()> {
    let daemonset = format!("daemonset/{name}");
    let words = [
        "delete",
        &daemonset,
        "--cascade=foreground",
        "--timeout=60s",
    ];
    let outcome = cluster.kubectl(&words).map(drop);
    outcome.map_err(|error| error.context(cluster.explain()))
}

/// The pods with a label, but for those that are being deleted.
///
/// # Errors
/// When one has no address.
pub fn list(cluster: &Cluster, selector: &str) -> Result<Vec<Pod>> {
    let answer = cluster.json(&["pods", "-l", selector])?;
    let items = answer["items"].as_array().context("a list of pods")?;
    let stays = |item: &&serde_json::Value| item["metadata"]["deletionTimestamp"].is_null();
    items
        .iter()
        .filter(stays)
        .map(|item| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
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
