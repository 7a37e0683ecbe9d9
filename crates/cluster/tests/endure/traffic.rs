//! Streams of packets between pods of two nodes, one in each direction of each family, none of which may be lost.
//!
//! The pods are the API's; the ends of the streams are sockets of this process in the pods' network namespaces, so that no
//! program of a container has to keep the pace.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Objects, pod};
use lab::Lab;
use lab::stream::{self, Stream};

use super::NODES;

/// Packets a second.
const RATE: u32 = 1000;
/// Nobody listens there in the pods.
const PORT: u16 = 7000;
/// The pods' DaemonSet.
const NAME: &str = "ends";

/// All streams, and what keeps them.
pub(crate) struct Traffic<'a> {
    _ends: Objects<'a>,
    streams: Vec<(String, Stream)>,
    machine: u64,
    lab: Lab,
}

/// Starts it.
pub(crate) fn begin(cluster: &Cluster) -> Result<Traffic<'_>> {
    let lab = Lab::new()?;
    let (objects, pods) = pod::on_each_node(cluster, NAME)?;
    let mut traffic = Traffic {
        _ends: objects,
        streams: Vec::new(),
        machine: dropped_by_the_machine()?,
        lab,
    };
    let mut ends = Vec::new();
    for node in &NODES[..2] {
        let pod = pods.iter().find(|pod| pod.node == *node);
        let pod = pod.with_context(|| format!("no pod of {NAME} is on {node}"))?;
        ends.push((pod, traffic.lab.guest(&pod.name, pod.network(cluster)?)));
    }
    for ((_, from), (pod, to)) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
        for address in &pod.addresses {
            let target = SocketAddr::new(*address, PORT + u16::try_from(traffic.streams.len())?);
            let what = format!("to {address} on {}", pod.node);
            traffic
                .streams
                .push((what, stream::start(from, to, target, RATE)?));
        }
    }
    let count = traffic.streams.len();
    ensure!(count == 4, "{count} streams");
    Ok(traffic)
}

impl Traffic<'_> {
    /// Ends it, and tells what has been lost.
    pub(crate) fn arrived_whole(mut self) -> Result<()> {
        let mut lost = 0;
        let mut told = String::new();
        for (what, stream) in std::mem::take(&mut self.streams) {
            let tally = stream.finish()?;
            lost += tally.lost();
            told.push_str(&format!("{what}: {tally:?}\n"));
        }
        let machine = dropped_by_the_machine()? - self.machine;
        println!("{told}");
        ensure!(
            lost == 0,
            "{lost} packets were lost; the whole machine's queues dropped {machine} meanwhile:\n{told}"
        );
        Ok(())
    }
}

/// Packets for which a processor's queue had no place: a machine that is too busy, not a network that is broken.
fn dropped_by_the_machine() -> Result<u64> {
    let path = "/proc/net/softnet_stat";
    let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let lines = text.lines();
    let second = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
    Ok(lines.filter_map(second).sum())
}
