//! Objects of the API for as long as somebody needs them.
//!
//! What a test leaves behind is in the way of the next one, also if it failed. So objects are held by a value, and go with
//! it: deleted, and waited for until they are gone, their pods as well. Older ones of the same names go first: an object that
//! is being deleted takes no change, and those of a node that was removed last until the controllers find out.

use serde_json::{Value, json};

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::process::feed;

/// The pods of a node that was removed are forgotten after about a minute.
const GO_WITHIN: &str = "--timeout=120s";

/// Objects that exist as long as this does.
#[derive(Debug)]
#[must_use = "they are deleted as soon as this is dropped"]
pub struct Objects<'a> {
    cluster: &'a Cluster,
    list: String,
}

impl<'a> Objects<'a> {
    /// `kubectl apply` of all these, as soon as none of these names is there.
    ///
    /// # Errors
    /// When older ones do not go, or the API server refuses one, with what it said.
    pub fn new(cluster: &'a Cluster, items: &[Value]) -> Result<Self> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        // Held before it is applied: half of a list may have been made.
        let objects = Self { cluster, list };
        objects.delete().context("older ones are in the way")?;
        cluster.apply(&objects.list)?;
        Ok(objects)
    }

    /// Deletes them now.
    ///
    /// # Errors
    /// When one does not go, with what is known of the cluster.
    pub fn end(self) -> Result<()> {
        let outcome = self.delete();
        outcome.map_err(|error| error.context(self.cluster.explain()))
    }

    /// No error if they are gone already.
    fn delete(&self) -> Result<()> {
        let mut command = self.cluster.kubectl_command()?;
        command.args([
            "delete",
            "-f",
            "-",
            "--ignore-not-found",
            "--cascade=foreground",
            GO_WITHIN,
        ]);
        feed(&mut command, &self.list).map(drop)
    }
}

impl Drop for Objects<'_> {
    fn drop(&mut self) {
        // A cluster that cannot delete them has failed the test already, or fails the next one by it.
        drop(self.delete());
    }
}
