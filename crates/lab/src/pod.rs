//! A pod as a container runtime makes it: an empty network namespace on a path in the node.
//!
//! Its loopback is up, because every runtime does that itself. Everything else in it is the work
//! of the network plugin.

use std::ops::Deref;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::node::Node;
use crate::place::{Doors, Place};
use crate::{namespace, wire};

/// A pod's network namespace; a handle, cheap to clone.
#[derive(Debug, Clone)]
pub struct Pod {
    node: Node,
    place: Arc<Place>,
    name: String,
    path: String,
}

impl Pod {
    pub(crate) fn new(node: &Node, name: &str) -> Result<Self> {
        let path = format!("/run/netns/{name}");
        // Opened before the thread moves: the node's mounts stay, the network is a new one.
        let network = node.attempt(|| {
            // A second pod of the same name would be mounted over the first.
            drop(
                std::fs::File::create_new(&path)
                    .with_context(|| format!("make {path} for the pod"))?,
            );
            let network = namespace::new_network()?;
            mount_bind("/proc/thread-self/ns/net", &path)
                .with_context(|| format!("mount the pod's namespace on {path}"))?;
            wire::set_up("lo")?;
            Ok(network)
        })?;
        let doors = Doors {
            network: Arc::new(network),
            mounts: node.doors()?.mounts,
        };
        let full_name = format!("{}/{name}", node.name());
        Ok(Self {
            node: node.clone(),
            place: Place::new(&node.book()?, &full_name, doors),
            name: name.to_owned(),
            path,
        })
    }

    /// The path of its network namespace in the node: `CNI_NETNS`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its name without that of the node.
    pub fn pod_name(&self) -> &str {
        &self.name
    }

    /// The node that it is on.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Ends its processes, unmounts and drops the namespace; its interfaces go with it.
    pub fn destroy(&self) -> Result<()> {
        self.node.book()?.strike(&self.place);
        self.node.attempt(|| {
            unmount(&*self.path, UnmountFlags::DETACH)
                .with_context(|| format!("unmount {}", self.path))?;
            std::fs::remove_file(&self.path).with_context(|| format!("remove {}", self.path))
        })
    }

    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }
}

impl Deref for Pod {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}
