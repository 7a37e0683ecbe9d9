//! The cluster from the Kubernetes API: Nodes with their pod ranges and addresses.
//!
//! Only Nodes are followed. Pods are not: the runtime names a pod when it attaches it, and whether a pod is still alive the
//! kernel knows better. Kubernetes' types and words end in this module. What is known stays while the API server is away, and
//! if it is away at the start, what was told last in this life of the kernel is known.

mod access;
mod follow;
mod known;
mod last;
mod object;
mod retry;
mod tell;
mod translate;

pub(crate) use access::{Access, server};
pub(crate) use translate::Settings;

use super::Reading;
use crate::vitals::Vitals;
use known::{Known, Outage, State, Trouble};
use last::Last;
use model::cluster::Cluster;
use model::status::Finding;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// The API server's Nodes, as this node sees them.
pub(crate) struct Kube {
    settings: Settings,
    server: String,
    known: Arc<Known>,
    /// What was told last.
    cluster: Option<Cluster>,
    findings: Vec<Finding>,
    last: Last,
    /// When the cluster was told that is known from an earlier run only.
    remembered: Option<String>,
    tasks: [AbortHandle; 2],
}

impl Kube {
    /// Begins to follow; never fails, because the API server may come later.
    pub(super) fn follow(
        access: Access,
        settings: Settings,
        vitals: &Arc<Vitals>,
        run: &Path,
    ) -> Self {
        let last = Last::below(run, &settings.own);
        let own = settings.own.clone();
        let known = Arc::new(Known::nothing(&own, vitals.metrics.api.clone()));
        let tell = tell::tell(access.clone(), own, Arc::clone(&known), Arc::clone(vitals));
        let server = access.server();
        let follow = follow::follow(access, Arc::clone(&known));
        Self {
            settings,
            server,
            known,
            cluster: None,
            findings: Vec::new(),
            last,
            remembered: None,
            tasks: [
                tokio::spawn(follow).abort_handle(),
                tokio::spawn(tell).abort_handle(),
            ],
        }
    }

    /// Waits until something is new.
    pub(super) async fn touched(&self) {
        self.known.news().await;
    }

    /// What is known now.
    pub(super) fn again(&mut self) -> Reading {
        let known = Arc::clone(&self.known);
        let state = known.state();
        let (cluster, mut findings) = match &state.nodes {
            Some(nodes) => {
                self.remembered = None;
                let (cluster, findings) = translate::cluster(&nodes.seen, &self.settings);
                let strange = nodes.strange.iter().map(|what| Finding {
                    what: what.clone(),
                    hint: "podwired leaves that node out".into(),
                });
                (Some(cluster), findings.into_iter().chain(strange).collect())
            }
            None => (self.remember(&state), Vec::new()),
        };
        findings.extend(away(&self.server, &state, self.remembered.as_deref()));
        drop(state);
        let is_told = self.findings != findings;
        self.findings = findings;
        if self.cluster != cluster
            && let Some(cluster) = cluster
        {
            self.cluster = Some(cluster.clone());
            if self.remembered.is_none() {
                self.last.changed();
            }
            return Reading::New(cluster);
        }
        if is_told {
            Reading::Told
        } else {
            Reading::Same
        }
    }

    /// What was told last, as long as the API server is away and nothing is known. A server that answers is waited for.
    fn remember(&mut self, state: &State) -> Option<Cluster> {
        if self.cluster.is_none() && state.outage.is_some() {
            let (cluster, at) = self.last.read()?;
            self.remembered = Some(at);
            return Some(cluster);
        }
        self.cluster.clone()
    }

    /// Whether the cluster is known from an earlier run only.
    pub(super) fn is_remembered(&self) -> bool {
        self.remembered.is_some()
    }

    /// Keeps what is known for the next start; to be called from time to time.
    pub(super) fn keep(&mut self, now: Duration) {
        if let Some(cluster) = &self.cluster {
            self.last.keep(now, cluster);
        }
    }

    /// What is wrong; first what is about this node.
    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl Drop for Kube {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn away(server: &str, state: &State, remembered: Option<&str>) -> Vec<Finding> {
    let hint = if state.nodes.is_some() {
        "the node stays as it was told last, and pods start and stop all the same; podwired goes on trying"
    } else if remembered.is_some() {
        "podwired mends what lacks and takes nothing away before it has the list of nodes; it goes on trying"
    } else {
        "podwired changes nothing before it has the list of nodes; it goes on trying"
    };
    let what = match &state.outage {
        Some(Outage { since, why }) => Some(match why {
            Trouble::Silent(why) => format!("{server} unreachable since {since}: {why}"),
            Trouble::Refusal(why) => format!("{server} refuses since {since}: {why}"),
        }),
        None if state.nodes.is_none() => {
            Some(format!("the list of nodes has not come yet from {server}"))
        }
        None => None,
    };
    let old = remembered.map(|at| Finding {
        what: format!("the nodes are known from an earlier run of podwired only, as of {at}"),
        hint: "nodes that came since then are not reached from here before the API server is back"
            .into(),
    });
    let away = what.map(|what| Finding {
        what,
        hint: hint.into(),
    });
    old.into_iter().chain(away).collect()
}

#[cfg(test)]
mod tests;
