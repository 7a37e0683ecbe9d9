//! The cluster from the Kubernetes API: Nodes with their pod ranges and addresses.
//!
//! Only Nodes are followed. Pods are not: the runtime names a pod when it attaches it, and whether a pod is still alive the
//! kernel knows better. Kubernetes' types and words end in this module. What is known stays while the API server is away.

mod access;
mod follow;
mod known;
mod object;
mod retry;
mod tell;
mod translate;

pub(crate) use access::{Access, server};
pub(crate) use translate::Settings;

use super::Reading;
use crate::vitals::Vitals;
use known::{Known, Outage, State, Trouble};
use model::cluster::Cluster;
use model::status::Finding;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// The API server's Nodes, as this node sees them.
pub(crate) struct Kube {
    settings: Settings,
    server: String,
    known: Arc<Known>,
    /// What was told last.
    cluster: Option<Cluster>,
    findings: Vec<Finding>,
    tasks: [AbortHandle; 2],
}

impl Kube {
    /// Begins to follow; never fails, because the API server may come later.
    pub(super) fn follow(access: Access, settings: Settings, vitals: &Arc<Vitals>) -> Self {
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
        let state = self.known.state();
        let (cluster, mut findings) = match &state.nodes {
            Some(nodes) => {
                let (cluster, findings) = translate::cluster(&nodes.seen, &self.settings);
                let strange = nodes.strange.iter().map(|what| Finding {
                    what: what.clone(),
                    hint: "podwired leaves that node out".into(),
                });
                (Some(cluster), findings.into_iter().chain(strange).collect())
            }
            None => (None, Vec::new()),
        };
        findings.extend(away(&self.server, &state));
        drop(state);
        let is_told = self.findings != findings;
        self.findings = findings;
        if self.cluster != cluster
            && let Some(cluster) = cluster
        {
            self.cluster = Some(cluster.clone());
            return Reading::New(cluster);
        }
        if is_told {
            Reading::Told
        } else {
            Reading::Same
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

fn away(server: &str, state: &State) -> Option<Finding> {
    let hint = if state.nodes.is_some() {
        "the node stays as it was told last, and pods start and stop all the same; podwired goes on trying"
    } else {
        "podwired changes nothing before it has the list of nodes; it goes on trying"
    };
    match &state.outage {
        Some(Outage { since, why }) => Some(Finding {
            what: match why {
                Trouble::Silent(why) => format!("{server} unreachable since {since}: {why}"),
                Trouble::Refusal(why) => format!("{server} refuses since {since}: {why}"),
            },
            hint: hint.into(),
        }),
        None if state.nodes.is_none() => Some(Finding {
            what: format!("the list of nodes has not come yet from {server}"),
            hint: hint.into(),
        }),
        None => None,
    }
}
