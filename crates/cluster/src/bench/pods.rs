//! Pods that come, become Ready and go, with the time that it took.
//!
//! A watch tells when; it is opened once and read by a thread of its own, so that no time is lost between two questions.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::api::{Api, Events, PODS, Talk};
use crate::cluster::Cluster;

/// As a query, their label.
const SELECTED: &str = "labelSelector=app%3Dbench";
/// For all of them; a loaded machine of two processors needs a quarter.
const WITHIN: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Gone,
}

/// Makes pods and sees what becomes of them.
pub(super) struct Pods {
    talk: Talk,
    news: Receiver<(Instant, String, State)>,
    image: String,
    made: usize,
}

impl Pods {
    pub(super) fn open(cluster: &Cluster, api: &Api) -> Result<Self> {
        let events = api.watch(&format!("{PODS}?{SELECTED}"))?;
        let (teller, news) = channel();
        std::thread::spawn(move || {
            for (name, state) in states(events) {
                if teller.send((Instant::now(), name, state)).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            talk: api.talk()?,
            news,
            image: cluster.place().image("agnhost")?,
            made: 0,
        })
    }

    /// Makes so many, and removes them; gives the time from the first creation to the last Ready.
    pub(super) fn come_and_go(&mut self, count: usize) -> Result<Duration> {
        let mut names = BTreeSet::new();
        let began = Instant::now();
        for _ in 0..count {
            let name = format!("bench-{}", self.made);
            self.made += 1;
            self.talk.create(PODS, &self.pod(&name))?;
            names.insert(name);
        }
        let last = self.all(names.clone(), State::Ready)?;
        self.talk.delete(&format!("{PODS}?{SELECTED}"))?;
        self.all(names, State::Gone)?;
        Ok(last - began)
    }

    fn all(&self, mut names: BTreeSet<String>, wanted: State) -> Result<Instant> {
        let deadline = Instant::now() + WITHIN;
        let mut last = Instant::now();
        while !names.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let news = self.news.recv_timeout(left);
            let (at, name, state) = news.with_context(|| {
                format!(
                    "{} pods not {wanted:?} within {WITHIN:?}: {names:?}",
                    names.len()
                )
            })?;
            if state == wanted && names.remove(&name) {
                last = at;
            }
        }
        Ok(last)
    }

    fn pod(&self, name: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "bench"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": self.image, "args": ["pause"]}],
            },
        })
    }
}

fn states(events: Events) -> impl Iterator<Item = (String, State)> {
    events.map_while(Result::ok).filter_map(|event| {
        let object = &event["object"];
        let name = object["metadata"]["name"].as_str()?.to_owned();
        if event["type"] == "DELETED" {
            return Some((name, State::Gone));
        }
        let mut conditions = object["status"]["conditions"].as_array()?.iter();
        let is_ready = conditions.any(|c| c["type"] == "Ready" && c["status"] == "True");
        is_ready.then_some((name, State::Ready))
    })
}
