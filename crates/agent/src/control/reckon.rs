//! A round without a look: another list of nodes on a node that is known.
//!
//! Whether it is known is told by `known`, and what it is after the changes by `plan::after`. Wherever one of them cannot
//! tell, or a change fails, the round looks as every other does.

use super::Control;
use crate::pace::Outcome;
use anyhow::Result;
use model::change::Change;
use model::cluster::Cluster;
use model::status::Finding;
use plan::after::after;
use plan::node::{lookups, plan, sysctls};
use std::sync::Arc;
use tracing::debug;

impl Control {
    /// Another list of nodes is put into effect without a look at the kernel, if it is known what a look would show; gives
    /// what is wrong. What a look would show afterwards is seen once nothing more comes.
    pub(super) async fn reckoned(
        &mut self,
        cluster: &Arc<Cluster>,
    ) -> Result<Option<(Outcome, Vec<Finding>)>> {
        let now = self.now();
        let known = self.pace.is_news().then(|| self.known.take(now)).flatten();
        let Some(mut have) = known else {
            return Ok(None);
        };
        let asked = lookups(cluster, &self.status.node).into_iter();
        let lack = asked.filter(|ip| !have.lookups.contains_key(ip)).collect();
        let Ok(glance) = self.kernel.glance(lack).await? else {
            return Ok(None);
        };
        if glance.conflist != have.conflist {
            // Others write it, too, and what they have written must not get lost.
            return Ok(None);
        }
        let own = self.status.node.clone();
        let asked = sysctls(cluster, &own, &have);
        have.lookups.extend(glance.ways);
        if sysctls(cluster, &own, &have) != asked {
            // Over a link that led to no node: how it is set is not known.
            return Ok(None);
        }
        let mut plan = plan(cluster, &own, &have);
        self.note(cluster, &plan, &have);
        let conflist = plan.conflist.take();
        let changes: Vec<Change> = plan.changes.into_iter().chain(conflist).collect();
        let generation = have.generation;
        let Some(have) = after(have, &changes) else {
            return Ok(None);
        };
        debug!("reckoned: {} changes", changes.len());
        let outcome = if changes.is_empty() {
            Outcome::InOrder
        } else {
            Outcome::Changed
        };
        if !self.apply(changes, generation).await?.is_empty() {
            return Ok(None);
        }
        self.known.changed(have, self.now());
        Ok(Some((outcome, plan.findings)))
    }
}
