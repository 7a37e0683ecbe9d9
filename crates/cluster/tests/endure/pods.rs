//! Pods that come, go and talk: many that do nothing, and some that answer.
//!
//! They go with the value that holds them, also when a test fails.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use cluster::client::Client;

use cluster::pod::{self, Pod};
use cluster::{Cluster, MASTER, Objects};
use serde_json::{Value, json};

use super::{AT_LAST, SOON, SOON_FOR_KUBECTL, is_ready};

/// A Deployment of pods that do nothing, on these nodes; nobody waits for them.
pub(crate) fn idle<'a>(
    cluster: &'a Cluster,
    name: &str,
    count: usize,
    nodes: &[&str],
) -> Result<Objects<'a>> {
    let on = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": nodes});
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [on]}],
    }}});
    let idle = json!({"name": "idle", "image": cluster.place().image("pause")?});
    let pods =
        json!({"terminationGracePeriodSeconds": 1, "affinity": affinity, "containers": [idle]});
    let mut deployment = pod::workload("Deployment", name, &pods);
    deployment["spec"]["replicas"] = count.into();
    Objects::new(cluster, &[deployment])
}

/// Gives a Deployment another number of pods.
pub(crate) fn scale(cluster: &Cluster, name: &str, count: usize) -> Result<()> {
    let count = format!("--replicas={count}");
    cluster
        .kubectl(&["scale", "deployment", name, &count])
        .map(drop)
}

/// Waits until a Deployment has exactly so many pods, all Ready, and none that still goes.
pub(crate) fn counted(cluster: &Cluster, name: &str, count: usize) -> Result<Vec<Pod>> {
    let selector = format!("app={name}");
    cluster.until(AT_LAST, &format!("{name} has {count} pods"), || {
        let all = cluster.json(&["pods", "-l", &selector])?;
        let all = all["items"].as_array().context("a list of pods")?;
        let ready = all.iter().filter(|pod| is_ready(pod)).count();
        ensure!(
            ready == count && all.len() == count,
            "{ready} of {} are Ready",
            all.len()
        );
        pod::list(cluster, &selector)
    })
}

/// A new pod that answers HTTP on a node, whatever the scheduler thinks of that node; waits until it is Ready.
pub(crate) fn answering<'a>(
    cluster: &'a Cluster,
    name: &str,
    node: &str,
) -> Result<(Objects<'a>, Pod)> {
    ready(cluster, name, node, answering_object(cluster, name)?)
}

/// The same with a port of its node.
pub(crate) fn answering_at<'a>(
    cluster: &'a Cluster,
    name: &str,
    node: &str,
    port: u16,
) -> Result<(Objects<'a>, Pod)> {
    let mut object = answering_object(cluster, name)?;
    object["spec"]["containers"][0]["ports"] =
        json!([{"containerPort": pod::PORT, "hostPort": port}]);
    ready(cluster, name, node, object)
}

fn ready<'a>(
    cluster: &'a Cluster,
    name: &str,
    node: &str,
    mut object: Value,
) -> Result<(Objects<'a>, Pod)> {
    object["spec"]["nodeName"] = json!(node);
    let objects = Objects::new(cluster, &[object])?;
    let pod = format!("pod/{name}");
    cluster
        .kubectl(&["wait", "--for=condition=Ready", SOON_FOR_KUBECTL, &pod])
        .map_err(|error| error.context(cluster.explain()))?;
    let mut pods = pod::list(cluster, &format!("app={name}"))?;
    let pod = pods.pop().with_context(|| format!("{name} is there"))?;
    Ok((objects, pod))
}

/// That pod as an object, on no node yet.
pub(crate) fn answering_object(cluster: &Cluster, name: &str) -> Result<Value> {
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "tolerations": [{"operator": "Exists"}],
            "containers": [pod::web(cluster)?],
        },
    }))
}

/// A new pod on each node, which must start, answer to all others and to every node at every address, and go.
pub(crate) fn new_ones_talk(cluster: &Cluster) -> Result<()> {
    let nodes = cluster.nodes();
    let pods: Vec<_> = nodes
        .iter()
        .map(|node| answering(cluster, &format!("new-{}", node.name()), node.name()))
        .collect::<Result<_>>()?;
    for (_, to) in &pods {
        for (_, from) in &pods {
            let own = |client: IpAddr| from.addresses.contains(&client);
            reaches(cluster, Client::Pod(cluster, from), to, own)?;
        }
        for node in &nodes {
            reaches(cluster, Client::Node(node), to, |_| true)?;
        }
    }
    Ok(())
}

/// At every address, and is seen as what it should be.
fn reaches(
    cluster: &Cluster,
    from: Client<'_>,
    to: &Pod,
    is_seen_well: impl Fn(IpAddr) -> bool,
) -> Result<()> {
    for address in &to.addresses {
        let socket = SocketAddr::new(*address, pod::PORT);
        let what = format!("{} reaches {to:?} at {address}", from.name());
        // The other nodes hear of a node after its first pod may have become Ready.
        cluster.until(SOON, &what, || {
            let name = from.get(socket, "hostname")?;
            ensure!(name == to.name, "{name} answers");
            Ok(())
        })?;
        let seen = from.seen_as(socket)?;
        ensure!(is_seen_well(seen), "{what}, and is seen as {seen}");
    }
    Ok(())
}

/// `kubectl delete`, which waits until they are gone.
pub(crate) fn delete(cluster: &Cluster, words: &[&str]) -> Result<()> {
    let words = [&["delete", SOON_FOR_KUBECTL], words].concat();
    let outcome = cluster.kubectl(&words).map(drop);
    outcome.map_err(|error| error.context(cluster.explain()))
}

/// A static pod that answers HTTP: a file on a node, which kubelet alone knows of.
pub(crate) struct Static<'a> {
    cluster: &'a Cluster,
    node: String,
    path: String,
    /// Its name, which its mirror in the API has as well.
    pub(crate) name: String,
}

impl<'a> Static<'a> {
    pub(crate) fn new(cluster: &'a Cluster, name: &str, node: &str) -> Result<Self> {
        let pod = Self {
            cluster,
            node: node.to_owned(),
            path: format!("/etc/kubernetes/manifests/{name}.json"),
            name: format!("{name}-{node}"),
        };
        let object = answering_object(cluster, name)?.to_string();
        cluster.node(node)?.feed(&["tee", &pod.path], &object)?;
        Ok(pod)
    }

    /// What Podwire has written down of it.
    pub(crate) fn record(&self) -> Result<Value> {
        let records = super::ledger::records(&self.cluster.node(&self.node)?)?;
        let mut records = records.into_iter();
        let record = records.find(|record| record["pod"]["name"] == *self.name);
        record.with_context(|| format!("{} has no record", self.name))
    }

    /// Waits until it answers the master at all addresses of its record; the API is not asked.
    pub(crate) fn answers(&self) -> Result<()> {
        let master = self.cluster.node(MASTER)?;
        self.cluster
            .until(SOON, &format!("{} answers", self.name), || {
                let record = self.record()?;
                let addresses = record["addresses"].as_array().context("addresses")?;
                for entry in addresses {
                    let address = entry["ip"].as_str().unwrap_or_default().parse()?;
                    let name = Client::Node(&master)
                        .get(SocketAddr::new(address, pod::PORT), "hostname")?;
                    ensure!(name == self.name, "{name} answers at {address}");
                }
                Ok(())
            })
    }

    /// Takes the file away, and waits until kubelet has ended it and the API has heard.
    pub(crate) fn end(self) -> Result<()> {
        self.cluster.node(&self.node)?.run(&["rm", &self.path])?;
        self.cluster
            .until(SOON, &format!("{} has gone", self.name), || {
                ensure!(self.record().is_err(), "there is its record");
                let words = ["get", "pod", &self.name, "--ignore-not-found", "-o", "name"];
                let left = self.cluster.kubectl(&words)?;
                ensure!(left.is_empty(), "the API has {left}");
                Ok(())
            })
    }
}

impl Drop for Static<'_> {
    fn drop(&mut self) {
        // Not there any more if all went well.
        drop(
            self.cluster
                .node(&self.node)
                .and_then(|node| node.run(&["rm", "-f", &self.path])),
        );
    }
}
