//! What `podwired` is started with.

use clap::Parser;
use model::name::{NameError, NodeName};
use std::path::PathBuf;

/// The Podwire node agent: keeps everything on a node in order that is not one pod.
#[derive(Debug, Parser)]
#[command(version, name = "podwired")]
pub(crate) struct Args {
    /// File that lists the nodes and their pod ranges
    #[arg(long, value_name = "FILE")]
    pub(crate) nodes: PathBuf,

    /// Name of this node in that file
    #[arg(long, value_name = "NAME", value_parser = node_name)]
    pub(crate) node: NodeName,

    /// Print what would be changed, change nothing, and end
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Folder where the container runtime looks for CNI configuration
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub(crate) cni_conf_dir: PathBuf,

    /// Folder of Podwire's state and of the status file
    #[arg(long, value_name = "DIR", default_value = host::store::ROOT)]
    pub(crate) run_dir: PathBuf,

    /// Where /proc/sys/net can be written; in a container a mount of it
    #[arg(long, value_name = "DIR", default_value = "/proc/sys/net")]
    pub(crate) proc_sys_net: PathBuf,

    /// Log why, too
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

fn node_name(text: &str) -> Result<NodeName, NameError> {
    NodeName::new(text)
}
