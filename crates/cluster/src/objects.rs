//! Objects of the API for as long as somebody needs them.
//!
//! What a test leaves behind is in the way of the next one, also if it failed. So objects are held by a value, and go with
//! it: deleted, and waited for until they are gone, their pods as well.

use serde_json::{Value, json};

use anyhow::Result;

use crate::cluster::Cluster;
use crate::process::feed;

/// Objects that exist as long as this does.
#[derive(Debug)]
#[must_use = "they are deleted as soon as this is dropped"]
pub struct Objects<'a> {
    cluster: &'a Cluster,
    list: String,
}

impl<'a> Objects<'a> {
    /// `kubectl apply` of all these.
    ///
    /// # Errors
    /// When the API server refuses one, with what it said.
    pub fn new(cluster: &'a Cluster, items: &[Value]) -> Result<Self> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        // Held before it is applied: half of a list may have been made.
        let objects = Self { cluster, list };
        cluster.apply(&objects.list)?;
        Ok(objects)
    }

    fn delete(&self) -> Result<()> {
        let mut command = self.cluster.kubectl_command()?;
        command.args([
            "delete",
            "-f",
            "-",
            "--ignore-not-found",
            "--cascade=foreground",
            "--timeout=60s",
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
