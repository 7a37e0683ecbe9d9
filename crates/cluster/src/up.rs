//! Brings a cluster up, and takes it down.
//!
//! First the control plane, then all nodes at once, then their images and the network. A cluster that did not come up
//! stays to be looked at, and the next `up` replaces it. Taking down ends the machines and removes their disks.

use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, Result};
use serde_json::json;

use crate::cluster::{Cluster, names, shape};
use crate::keys::Keys;
use crate::machine::Machine;
use crate::progress;
use crate::shape::{MASTER, Network, Proxy, Shape};
use crate::{Place, dns, image, import, lan, network};

/// A loaded machine of two processors needs a quarter of it.
const API_SERVER_WITHIN: Duration = Duration::from_secs(120);
const NODES_WITHIN: Duration = Duration::from_secs(180);

/// Stands in `run` when everything was Ready once, as long as nobody changes what the next one would not find out.
const COMPLETE: &str = "complete";

/// The archive of Podwire's image.
const PODWIRE: &str = "podwire";

/// What must have been built.
const PROGRAMS: [&str; 11] = [
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "runc",
];

pub(crate) fn up(place: &Place, asked: Shape) -> Result<()> {
    for program in PROGRAMS {
        place.program(program)?;
    }
    place.image("pause")?;
    if asked.network == Network::Podwire {
        image::podwire(place)?;
    }
    let cluster = Cluster::begun(place, asked);
    // A test that failed may have left other nodes than those of the shape.
    let is_same =
        shape(place).is_ok_and(|running| running == asked) && names(place, &asked) == asked.names();
    if is_same && place.run().join(COMPLETE).exists() && cluster.outside().is_on() {
        return take(&cluster);
    }
    down(place)?;
    make(&cluster)
}

pub(crate) fn down(place: &Place) -> Result<()> {
    let run = place.run();
    let Ok(entries) = fs::read_dir(&run) else {
        return Ok(());
    };
    let mut machines = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("read {}", run.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if lan::addresses(&name, crate::Family::Ipv4).is_ok() {
            machines.push(Machine::new(place, &name));
        }
    }
    // The LAN goes last, so that no node sees it go.
    machines.sort_by_key(|machine| machine.name() == lan::CONTROL);
    for machine in machines {
        machine.kill()?;
    }
    fs::remove_dir_all(&run).with_context(|| format!("remove {}", run.display()))
}

/// Brings a node that the cluster lists already.
pub(crate) fn add(cluster: &Cluster, name: &str, ranges: &[String]) -> Result<()> {
    Keys::of(cluster.place()).node(name, cluster.shape().family)?;
    if let Some(first) = ranges.first() {
        let spec = json!({"podCIDR": first, "podCIDRs": ranges});
        let object =
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec});
        cluster.apply(&object.to_string())?;
    }
    let node = cluster.node(name)?;
    node.start()?;
    import::import(cluster)?;
    network::connect(cluster)?;
    cluster.until(NODES_WITHIN, &format!("{name} is Ready"), || {
        node.is_ready_in_this_life()
    })
}

/// Destroys a node and what the API knows of it.
pub(crate) fn remove(cluster: &Cluster, name: &str) -> Result<()> {
    let node = cluster.node(name)?;
    node.power_off()?;
    let disk = node.folder();
    fs::remove_dir_all(&disk).with_context(|| format!("remove {}", disk.display()))?;
    cluster.kubectl(&["delete", "node", name, "--timeout=60s"])?;
    network::disconnect(cluster, name)
}

/// Replaces all keys, and starts anew all daemons that have read one. What holds on to the old ones are pods.
pub(crate) fn rekey(cluster: &Cluster) -> Result<()> {
    let (keys, family) = (Keys::of(cluster.place()), cluster.shape().family);
    keys.make(family)?;
    let nodes = cluster.nodes();
    for node in &nodes {
        keys.node(node.name(), family)?;
    }
    for daemon in [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    ] {
        cluster.outside().kill_all(daemon)?;
    }
    cluster.until(API_SERVER_WITHIN, "the API server is ready again", || {
        cluster.kubectl(&["get", "--raw", "/readyz"])
    })?;
    for node in &nodes {
        node.kill_all("kubelet")?;
        if cluster.shape().proxy != Proxy::Without {
            node.kill_all("kube-proxy")?;
        }
    }
    ready(cluster)
}

/// The running cluster with all nodes on.
fn take(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        if !node.is_on() {
            node.switch_on()?;
        }
    }
    let new = import::import(cluster)?;
    if new.iter().any(|name| name == PODWIRE) && cluster.shape().network == Network::Podwire {
        network::renew(cluster)?;
    }
    ready(cluster)
}

fn make(cluster: &Cluster) -> Result<()> {
    let (place, asked) = (cluster.place(), cluster.shape());
    let began = Instant::now();
    let run = place.run();
    fs::create_dir_all(run.join("log")).with_context(|| format!("make {}", run.display()))?;
    fs::write(run.join("shape"), asked.to_string()).context("note the shape")?;
    let keys = Keys::of(place);
    keys.make(asked.family)?;
    cluster.outside().start()?;
    for node in cluster.nodes() {
        keys.node(node.name(), asked.family)?;
    }
    cluster.until(API_SERVER_WITHIN, "the API server is ready", || {
        cluster.kubectl(&["get", "--raw", "/readyz"])
    })?;
    say(began, "the API server is ready");
    // A kubelet that finds no API server tries again after longer and longer rests.
    for node in cluster.nodes() {
        node.start()?;
    }
    import::import(cluster)?;
    say(began, "all nodes have the images");
    network::install(cluster)?;
    dns::install(cluster)?;
    // kubelets may not give themselves a role.
    cluster.kubectl(&[
        "label",
        "node",
        MASTER,
        "node-role.kubernetes.io/control-plane=",
    ])?;
    ready(cluster)?;
    mark(place)?;
    say(began, "all nodes are there");
    Ok(())
}

/// The cluster may be taken by the next `up`.
pub(crate) fn mark(place: &Place) -> Result<()> {
    fs::write(place.run().join(COMPLETE), "").context("note that the cluster is complete")
}

/// It may not.
pub(crate) fn unmark(place: &Place) -> Result<()> {
    match fs::remove_file(place.run().join(COMPLETE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).context("note that the cluster is not complete")
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Waits until all nodes are Ready; without a network they cannot be.
fn ready(cluster: &Cluster) -> Result<()> {
    if cluster.shape().network == Network::Without {
        return Ok(());
    }
    for node in cluster.nodes() {
        cluster.until(NODES_WITHIN, &format!("{} is Ready", node.name()), || {
            node.is_ready_in_this_life()
        })?;
    }
    Ok(())
}

/// A line of progress.
fn say(began: Instant, what: &str) {
    let seconds = began.elapsed().as_secs_f32();
    progress::say(format!("cluster: {what} after {seconds:.1} s"));
}
