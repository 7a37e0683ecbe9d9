//! From a node's creation to its route in the kernel of another one, and from its end to the route's.
//!
//! The kernel is asked for nothing: it tells of every route when it comes and when it goes (`ip monitor`). The time begins
//! before the API server hears of the node, so its own answer is in it, and is told beside it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::api::{Api, NODES, Talk};
use crate::machine::Machine;
use crate::{fill, wait};

/// Nodes that come and go, one after another.
const SAMPLES: usize = 200;
/// Nodes that come at once.
const CROWD: usize = 100;
/// So many numbers these take, behind those of the nodes that stay.
#[cfg(test)]
pub(super) const MORE: usize = if SAMPLES > CROWD { SAMPLES } else { CROWD };
const WITHIN: Duration = Duration::from_secs(20);
/// Between two of them, up to this, so that they meet the agent in every state.
const REST_MOST: u64 = 100;

/// Times, sorted.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    /// Until the API server has answered that it has the node.
    pub answered: Vec<Duration>,
    /// Until the route is there.
    pub come: Vec<Duration>,
    /// From the node's deletion until the route is gone.
    pub gone: Vec<Duration>,
    /// Until the last route of many nodes that come at once, from the first request.
    pub crowd: Duration,
}

impl Routes {
    /// `node` follows; numbers from `first` on are nobody's.
    pub(super) fn measure(api: &Api, node: &Machine, first: usize) -> Result<Self> {
        let monitor = Monitor::open(node)?;
        let mut talk = api.talk()?;
        let mut routes = Self::default();
        for sample in 0..SAMPLES {
            routes.sample(&monitor, &mut talk, first + sample)?;
            // Any order that is not the agent's own.
            let pause = u64::try_from(sample)? * 37 % REST_MOST;
            wait::rest(Duration::from_millis(pause))?;
        }
        for times in [&mut routes.answered, &mut routes.come, &mut routes.gone] {
            times.sort_unstable();
        }
        routes.crowd = crowd(api, &monitor, first)?;
        Ok(routes)
    }

    fn sample(&mut self, monitor: &Monitor, talk: &mut Talk, number: usize) -> Result<()> {
        let (node, range) = (fill::node(number)?, fill::range(number)?);
        let range = BTreeSet::from([range]);
        let began = Instant::now();
        talk.create(NODES, &node)?;
        self.answered.push(began.elapsed());
        self.come.push(monitor.until(range.clone(), true)? - began);
        let began = Instant::now();
        talk.delete(&fill::path(number))?;
        self.gone.push(monitor.until(range, false)? - began);
        Ok(())
    }
}

fn crowd(api: &Api, monitor: &Monitor, first: usize) -> Result<Duration> {
    let numbers = first..first + CROWD;
    let began = Instant::now();
    fill::nodes(api, numbers.clone())?;
    let ranges: Result<BTreeSet<_>> = numbers.clone().map(fill::range).collect();
    let last = monitor.until(ranges?, true)?;
    fill::each(api, numbers, |talk, number| {
        talk.delete(&fill::path(number))
    })?;
    Ok(last.saturating_duration_since(began))
}

/// The kernel's own tale of its routes.
struct Monitor {
    ip: Child,
    lines: Receiver<(Instant, String)>,
}

impl Monitor {
    fn open(node: &Machine) -> Result<Self> {
        let mut command = node.in_network(Path::new("ip"))?;
        let mut ip = command
            .args(["-4", "monitor", "route"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start ip monitor")?;
        let stdout = ip.stdout.take().context("hear of ip monitor")?;
        let (teller, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if teller.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { ip, lines })
    }

    /// When the last of the routes to these ranges came, or went; what else is told meanwhile is forgotten.
    fn until(&self, mut ranges: BTreeSet<String>, comes: bool) -> Result<Instant> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (at, line) = self.lines.recv_timeout(left).with_context(|| {
                let what = if comes { "comes" } else { "goes" };
                format!("no route to {ranges:?} {what} within {WITHIN:?}")
            })?;
            if line.starts_with("Deleted") == comes {
                continue;
            }
            let is_news = line.split_whitespace().any(|word| ranges.remove(word));
            if is_news && ranges.is_empty() {
                return Ok(at);
            }
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.ip.kill());
        drop(self.ip.wait());
    }
}
