//! A node of the running cluster: its machine, and what the API says of it.
//!
//! A power cut takes everything but the disk; nobody is asked and nothing is torn down before.

use std::ops::Deref;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::machine::Machine;
use crate::network;

const BOOTS_WITHIN: Duration = Duration::from_secs(60);

/// A node; it does all that a [`Machine`] does.
#[derive(Debug)]
pub struct Node<'a> {
    cluster: &'a Cluster,
    machine: Machine,
}

impl Deref for Node<'_> {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

impl<'a> Node<'a> {
    pub(crate) fn new(cluster: &'a Cluster, name: &str) -> Self {
        Self {
            cluster,
            machine: Machine::new(cluster.place(), name),
        }
    }

    /// Kills a daemon as `kill -9` does; it is started again after a second.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, daemon: &str) -> Result<()> {
        self.kill_all(daemon).map(drop)
    }

    /// Pulls the plug.
    ///
    /// # Errors
    /// When its processes do not end.
    pub fn power_off(&self) -> Result<()> {
        self.machine.kill()
    }

    /// Switches it on again, and waits until the API knows of the new boot and calls the node Ready.
    ///
    /// # Errors
    /// When it is on, or not Ready in time.
    pub fn boot(&self) -> Result<()> {
        ensure!(!self.is_on(), "{} is on", self.name());
        self.switch_on()?;
        self.cluster.until(
            BOOTS_WITHIN,
            &format!("{} is Ready again", self.name()),
            || self.is_ready_in_this_life(),
        )
    }

    /// Switches it on, and waits for nothing.
    ///
    /// # Errors
    /// When its namespaces cannot be made.
    pub fn switch_on(&self) -> Result<()> {
        self.start()?;
        network::connect(self.cluster)
    }

    /// No error if the API calls the node Ready, and means the present boot.
    pub(crate) fn is_ready_in_this_life(&self) -> Result<()> {
        let name = self.name();
        let node = self.cluster.json(&["node", name])?;
        let own = self.run(&["cat", "/proc/sys/kernel/random/boot_id"])?;
        let known = node["status"]["nodeInfo"]["bootID"].as_str();
        ensure!(
            known == Some(&own),
            "the API does not know of the boot of {name} yet"
        );
        let conditions = node["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten();
        let ready = conditions
            .into_iter()
            .find(|condition| condition["type"] == "Ready")
            .with_context(|| format!("{name} has no condition Ready"))?;
        ensure!(
            ready["status"] == "True",
            "{name} is not Ready: {}",
            ready["message"]
        );
        Ok(())
    }
}
