//! What is known of the API's Nodes: filled by whoever follows them, read by the loop.
//!
//! Most events of a Node are heartbeats and change nothing here; only what does wakes anybody.

use super::object::{Object, Seen};
use crate::metrics::Api;
use k8s_openapi::jiff::Timestamp;
use model::name::NodeName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// What this node's Node says of its network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Said {
    /// There is no such Node, or nobody knows yet.
    #[default]
    NoNode,
    /// It says nothing.
    Nothing,
    /// It has the condition.
    Condition {
        /// The network is unavailable.
        unavailable: bool,
        /// In our words.
        ours: bool,
    },
}

/// Nodes by name.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    own: Option<NodeName>,
    /// Those that can be used.
    pub(super) seen: BTreeMap<NodeName, Seen>,
    /// What is wrong with the others.
    pub(super) strange: BTreeSet<String>,
    said: Said,
}

impl Nodes {
    /// Takes a node in; says whether that changes anything for the cluster.
    pub(super) fn put(&mut self, node: &Object) -> bool {
        let name = match node.name() {
            Ok(name) => name,
            Err(strange) => return self.strange.insert(strange),
        };
        if self.own.as_ref() == Some(&name) {
            self.said = node.said();
        }
        let seen = node.seen();
        if self.seen.get(&name) == Some(&seen) {
            return false;
        }
        self.seen.insert(name, seen);
        true
    }

    /// Forgets a node; says whether it was known.
    pub(super) fn remove(&mut self, node: &Object) -> bool {
        let name = match node.name() {
            Ok(name) => name,
            Err(strange) => return self.strange.remove(&strange),
        };
        if self.own.as_ref() == Some(&name) {
            self.said = Said::NoNode;
        }
        self.seen.remove(&name).is_some()
    }
}

/// What is in the way, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The API server does not answer.
    Silent(String),
    /// It answers, but does not give what is asked for.
    Refusal(String),
}

/// The time since when nothing is heard from the API server, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outage {
    /// Wall clock, for people.
    pub(super) since: String,
    /// The last failure.
    pub(super) why: Trouble,
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The Nodes; none before the first list.
    pub(super) nodes: Option<Nodes>,
    /// Whether the API server is away.
    pub(super) outage: Option<Outage>,
}

/// [`State`] between those who write and those who read it.
#[derive(Debug)]
pub(super) struct Known {
    own: NodeName,
    state: Mutex<State>,
    news: Notify,
    said: watch::Sender<Said>,
    metrics: Api,
}

impl Known {
    /// Nothing, on this node.
    pub(super) fn nothing(own: &NodeName, metrics: Api) -> Self {
        Self {
            own: own.clone(),
            state: Mutex::default(),
            news: Notify::new(),
            said: watch::Sender::new(Said::default()),
            metrics,
        }
    }

    /// A list to fill.
    pub(super) fn empty(&self) -> Nodes {
        Nodes {
            own: Some(self.own.clone()),
            ..Nodes::default()
        }
    }

    /// Takes a whole list.
    pub(super) fn listed(&self, nodes: Nodes) {
        self.metrics.listed();
        self.say(nodes.said);
        self.state().nodes = Some(nodes);
        self.news.notify_one();
    }

    /// Takes a new or changed node.
    pub(super) fn put(&self, node: &Object) {
        self.metrics.event();
        self.change(|nodes| nodes.put(node));
    }

    /// Takes a node's end.
    pub(super) fn remove(&self, node: &Object) {
        self.metrics.event();
        self.change(|nodes| nodes.remove(node));
    }

    fn change(&self, change: impl FnOnce(&mut Nodes) -> bool) {
        let mut state = self.state();
        let Some(nodes) = &mut state.nodes else {
            return;
        };
        let is_news = change(nodes);
        let said = nodes.said;
        drop(state);
        self.say(said);
        if is_news {
            self.news.notify_one();
        }
    }

    /// A watch has begun.
    pub(super) fn watching(&self) {
        self.metrics.watching();
    }

    /// The API server has told that nothing has changed.
    pub(super) fn heard(&self) {
        self.metrics.heard();
    }

    /// The API server no longer knows what the watch began at.
    pub(super) fn gone(&self) {
        self.metrics.gone();
    }

    /// The API server answers.
    pub(super) fn reached(&self) {
        self.metrics.reached();
        if self.state().outage.take().is_some() {
            self.news.notify_one();
        }
    }

    /// The API server does not answer as it should.
    pub(super) fn failed(&self, why: Trouble) {
        self.metrics.failed(match &why {
            Trouble::Silent(_) => "silent",
            Trouble::Refusal(_) => "refusal",
        });
        let mut state = self.state();
        let since = match state.outage.take() {
            Some(outage) => outage.since,
            None => now(),
        };
        state.outage = Some(Outage { since, why });
        drop(state);
        self.news.notify_one();
    }

    /// Whether the API server does not answer.
    pub(super) fn is_silent(&self) -> bool {
        let state = self.state();
        let why = state.outage.as_ref().map(|outage| &outage.why);
        matches!(why, Some(Trouble::Silent(_)))
    }

    /// Waits until something is new.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// What this node's Node says of its network, and its changes.
    pub(super) fn said(&self) -> watch::Receiver<Said> {
        self.said.subscribe()
    }

    /// All that is known, for a moment.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; if it did, what is known would still be what was heard.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, said: Said) {
        self.said.send_if_modified(|now| {
            let is_news = *now != said;
            *now = said;
            is_news
        });
    }
}

/// The time in the API's words.
#[expect(clippy::disallowed_methods, reason = "people and the API are told")]
pub(super) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
