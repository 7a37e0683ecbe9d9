//! What `podwired` is started with.

use crate::listen::ADDRESS;
use crate::source::{Access, NETWORK, Settings, server};
use anyhow::{Context, Result};
use clap::{ArgGroup, Parser};
use ipnet::IpNet;
use model::addr;
use model::name::{NameError, NetworkName, NodeName};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where a DaemonSet says which node it is (downward API, `spec.nodeName`).
const NODE_NAME: &str = "NODE_NAME";

/// A runtime that takes a pod down removes its namespace and calls DEL within this time, or it has forgotten it.
const GRACE: u64 = 60;

/// Where the kernel says what the machine is called.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// The Podwire node agent: keeps everything on a node in order that is not one pod.
#[derive(Debug, Parser)]
#[command(version, name = "podwired")]
#[command(group(ArgGroup::new("source").required(true).args(["nodes", "kubernetes"])))]
pub(crate) struct Args {
    /// File that lists the nodes and their pod ranges
    #[arg(long, value_name = "FILE")]
    pub(crate) nodes: Option<PathBuf>,

    /// Take the nodes from the Kubernetes API
    #[arg(long)]
    pub(crate) kubernetes: bool,

    /// How the API server is reached; without it, as from inside a pod
    #[arg(long, value_name = "FILE", conflicts_with = "nodes")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Where the API server is, if not where the kubeconfig or the pod's environment says; for nodes on which nothing
    /// answers at a Service's address yet
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "nodes", value_parser = server)]
    pub(crate) apiserver: Option<String>,

    /// Name of the CNI network
    #[arg(long, value_name = "NAME", conflicts_with = "nodes", default_value = NETWORK, value_parser = network_name)]
    pub(crate) network: NetworkName,

    /// Prefixes that hold all pods of the cluster; without them, the ranges of its nodes
    #[arg(long, value_name = "PREFIX,..", conflicts_with = "nodes", value_delimiter = ',', value_parser = addr::parse_prefix)]
    pub(crate) prefixes: Vec<IpNet>,

    /// Name of this node there; with --kubernetes by default $NODE_NAME, else the machine's name
    #[arg(long, value_name = "NAME", required_unless_present = "kubernetes", value_parser = node_name)]
    pub(crate) node: Option<NodeName>,

    /// Print what would be changed, change nothing, and end
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Folder where the container runtime looks for CNI configuration
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub(crate) cni_conf_dir: PathBuf,

    /// Folder of Podwire's state and of the status file
    #[arg(long, value_name = "DIR", default_value = host::store::ROOT)]
    pub(crate) run_dir: PathBuf,

    /// Put the plugin, podwire-cni beside this program, into this folder under the name that configurations call it by; as
    /// loopback too, unless another's is there
    #[arg(long, value_name = "DIR")]
    pub(crate) install_plugin: Option<PathBuf>,

    /// Where /proc/sys/net can be written; in a container a mount of it
    #[arg(long, value_name = "DIR", default_value = "/proc/sys/net")]
    pub(crate) proc_sys_net: PathBuf,

    /// Where probes and metrics are answered by HTTP; or none
    #[arg(long, value_name = "ADDRESS:PORT", default_value = ADDRESS, value_parser = listen)]
    pub(crate) listen: Listen,

    /// How long a pod must have been dead before what it has left (record, addresses, host ports) is reclaimed
    #[arg(long, value_name = "SECONDS", default_value_t = GRACE)]
    grace: u64,

    /// Log why, too
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// Where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// Nowhere.
    None,
    /// On this address.
    At(SocketAddr),
}

impl Args {
    /// This node's name.
    pub(crate) fn own(&self) -> Result<NodeName> {
        if let Some(name) = &self.node {
            return Ok(name.clone());
        }
        let (name, whence) = match std::env::var(NODE_NAME) {
            Ok(name) => (name, "$NODE_NAME"),
            Err(_) => {
                let name = std::fs::read_to_string(HOSTNAME)
                    .with_context(|| format!("read {HOSTNAME}; give this node's name by --node"))?;
                (name.trim().to_lowercase(), HOSTNAME)
            }
        };
        NodeName::new(&name)
            .with_context(|| format!("{name:?} of {whence} is no node's name; give it by --node"))
    }

    /// How long a pod must have been dead.
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.grace)
    }

    /// How the API server is reached.
    pub(crate) fn access(&self) -> Access {
        Access {
            kubeconfig: self.kubeconfig.clone(),
            server: self.apiserver.clone(),
        }
    }

    /// What the API does not say.
    pub(crate) fn settings(&self, own: &NodeName) -> Settings {
        Settings {
            own: own.clone(),
            network: self.network.clone(),
            prefixes: self.prefixes.clone(),
        }
    }
}

fn node_name(text: &str) -> Result<NodeName, NameError> {
    NodeName::new(text)
}

fn listen(text: &str) -> Result<Listen, String> {
    if text == "none" {
        return Ok(Listen::None);
    }
    text.parse().map(Listen::At).map_err(|_| {
        "it is no ADDRESS:PORT such as 127.0.0.1:10112 or [::1]:10112, and not none".into()
    })
}

fn network_name(text: &str) -> Result<NetworkName, NameError> {
    NetworkName::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn there_is_exactly_one_source() {
        assert!(parse("podwired --nodes nodes.toml --node a").is_ok());
        assert!(parse("podwired --kubernetes").is_ok());
        assert!(parse("podwired --node a").is_err());
        assert!(parse("podwired --nodes nodes.toml --kubernetes --node a").is_err());
    }

    #[test]
    fn a_file_needs_the_nodes_name_and_takes_nothing_of_kubernetes() {
        assert!(parse("podwired --nodes nodes.toml").is_err());
        for option in [
            "--kubeconfig f",
            "--apiserver a:1",
            "--network n",
            "--prefixes 10.0.0.0/8",
        ] {
            let line = format!("podwired --nodes nodes.toml --node a {option}");
            assert!(parse(&line).is_err(), "{line}");
        }
    }

    #[test]
    fn it_listens_on_the_loopback_unless_told_otherwise_or_not_at_all() {
        let told = |more: &str| {
            let line = format!("podwired --kubernetes {more}");
            parse(&line).map(|args| args.listen).ok()
        };
        let at = |text: &str| Some(Listen::At(text.parse().unwrap()));
        assert_eq!(told(""), at("127.0.0.1:10112"));
        assert_eq!(told("--listen [::]:9"), at("[::]:9"));
        assert_eq!(told("--listen none"), Some(Listen::None));
        assert_eq!(told("--listen 10112"), None);
    }

    #[test]
    fn prefixes_are_a_list() {
        let args =
            parse("podwired --kubernetes --prefixes 10.244.0.0/16,fd00:10:244::/56").unwrap();
        assert_eq!(args.prefixes.len(), 2);
        assert_eq!(args.network.as_str(), NETWORK);
    }
}
