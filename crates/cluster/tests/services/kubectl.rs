//! What kubectl does in pods by way of the API server, kubelet and containerd.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};
use cluster::{Client, Cluster, pod};

use super::web;

pub(crate) fn kubectl_enters_reads_and_forwards_to_pods_on_every_node(
    cluster: &Cluster,
) -> Result<()> {
    let (_objects, pods) = web::start(cluster, &web::pods(cluster)?)?;
    for pod in &pods {
        let inside = pod.run(cluster, &["hostname"])?;
        ensure!(inside == pod.name, "{inside} instead of {}", pod.name);
        let log = cluster.kubectl(&["logs", &pod.name])?;
        ensure!(
            log.contains("Started HTTP server"),
            "{} says: {log}",
            pod.name
        );
        let (_forward, local) = Forward::new(cluster, &pod.name)?;
        let machine = cluster.outside();
        let name = Client::Node(&machine).get(local, "hostname")?;
        ensure!(name == pod.name, "{name} answers at {local}");
    }
    Ok(())
}

/// A running `kubectl port-forward`; it writes a line for each connection, and ends when nobody reads.
struct Forward {
    child: Child,
    _output: BufReader<ChildStdout>,
}

impl Forward {
    /// Starts it at a free port of the control plane's machine, and waits until it listens there.
    fn new(cluster: &Cluster, name: &str) -> Result<(Self, SocketAddr)> {
        let mut command = cluster.kubectl_command()?;
        command
            .args([
                "port-forward",
                "--address=127.0.0.1",
                &format!("pod/{name}"),
            ])
            .arg(format!(":{}", pod::PORT))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("start kubectl port-forward")?;
        let mut output = BufReader::new(child.stdout.take().context("its output")?);
        let mut line = String::new();
        let read = output.read_line(&mut line);
        let forward = Self {
            child,
            _output: output,
        };
        read.context("hear of kubectl port-forward")?;
        let words = line.split_whitespace();
        // Forwarding from 127.0.0.1:40123 -> 8080
        let local = words.filter_map(|word| word.parse().ok()).next();
        let local = local.with_context(|| format!("kubectl port-forward says {line:?}"))?;
        Ok((forward, local))
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // One that has ended needs no signal.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
