//! `podwired` on a node of the walk, started as its unit would do it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::site::{self, CONF_FOLDER, Site};
use crate::{Mark, Node, Process, Programs, watch};

/// The cluster of the walk as a file.
pub const NODES: &str = r#"network = "podwire"
prefixes = ["10.244.0.0/16", "fd00:10:244::/56"]

[[node]]
name = "k8s-master"
addresses = ["10.128.0.2", "fd00:10:128::2"]
ranges = ["10.244.0.0/24", "fd00:10:244::/64"]

[[node]]
name = "k8s-worker"
addresses = ["10.128.0.3", "fd00:10:128::3"]
ranges = ["10.244.1.0/24", "fd00:10:244:1::/64"]
"#;

/// Where that file is in a node.
pub const NODES_FILE: &str = "/etc/podwire/nodes.toml";
/// The agent's report.
pub const STATUS_FILE: &str = "/run/podwire/status.json";

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    /// Its process.
    pub process: Process,
    node: Node,
}

impl Agent {
    /// Starts it with `nodes.toml`, which is written if the node has none; it is not ready yet.
    pub fn start(node: &Node, programs: &Programs) -> Result<Self> {
        Self::start_with(node, programs, &[])
    }

    /// The same with further arguments.
    pub fn start_with(node: &Node, programs: &Programs, arguments: &[&str]) -> Result<Self> {
        node.attempt(|| {
            fs::create_dir_all(CONF_FOLDER).context("make the folder of the conflist")?;
            if !Path::new(NODES_FILE).exists() {
                write_nodes(NODES)?;
            }
            Ok(())
        })?;
        let process = node
            .command(&programs.agent)
            .args(["--nodes", NODES_FILE, "--node", node.name()])
            .args(arguments)
            .spawn()?;
        Ok(Self {
            process,
            node: node.clone(),
        })
    }

    /// One that was started in another way.
    pub fn of(node: &Node, process: Process) -> Self {
        Self {
            process,
            node: node.clone(),
        }
    }

    /// One on each node of the walk, both ready.
    pub fn start_all(site: &Site, programs: &Programs) -> Result<[Self; 2]> {
        let agents = [
            Self::start(site.master(), programs)?,
            Self::start(site.worker(), programs)?,
        ];
        for agent in &agents {
            agent.ready(READY_WITHIN)?;
        }
        Ok(agents)
    }

    /// Waits until the node is in order: the agent's own report has come, and the conflist is there.
    pub fn ready(&self, within: Duration) -> Result<Value> {
        self.process.wait_for_line("ready: ", within)?;
        let pid = u64::from(self.process.pid());
        self.status(
            within,
            "the agent's first report and the conflist",
            |status| status["pid"] == pid && site::conflist(Path::new(CONF_FOLDER)).is_some(),
        )
    }

    /// Waits for a report of which this is true.
    pub fn status(
        &self,
        within: Duration,
        what: &str,
        mut is_so: impl FnMut(&Value) -> bool + Send,
    ) -> Result<Value> {
        let conflist = format!("{CONF_FOLDER}/any");
        watch::until(&self.node, what, &[STATUS_FILE, &conflist], within, || {
            ensure!(self.process.is_running(), "podwired has ended");
            let text = fs::read_to_string(STATUS_FILE).unwrap_or_default();
            // There may be none yet.
            let status: Value = serde_json::from_str(&text).unwrap_or_default();
            Ok(is_so(&status).then_some(status))
        })
    }

    /// A point in what it has said, for [`Process::wait_for_line_after`].
    pub fn mark(&self) -> Mark {
        self.process.mark()
    }
}

/// An agent that takes longer to put a node in order has failed.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(10);

/// Puts a cluster's file in its place, by rename, in the calling thread's node.
pub(super) fn write_nodes(text: &str) -> Result<()> {
    let folder = Path::new(NODES_FILE)
        .parent()
        .unwrap_or_else(|| Path::new("/"));
    fs::create_dir_all(folder).context("make the folder of nodes.toml")?;
    let unfinished = format!("{NODES_FILE}.new");
    fs::write(&unfinished, text).with_context(|| format!("write {unfinished}"))?;
    fs::rename(&unfinished, NODES_FILE).context("put nodes.toml in its place")
}
