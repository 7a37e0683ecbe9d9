//! What the heartbeats of a cluster's nodes cost an agent that follows them.
//!
//! A kubelet renews a lease every ten seconds, which the agent does not follow, and reports its status every five minutes,
//! or at once if something in it has changed. The second is done as often as the first here, so that it shows.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::rest;
use crate::api::{Api, Talk};
use crate::meter::{Meter, Usage};
use crate::{fill, wait};

/// A kubelet's own, of leases, in seconds.
const EVERY: usize = 10;

/// A second; the API server of a small machine has nothing else to do then.
const MOST: usize = 50;

/// One kind of traffic.
#[derive(Debug, Clone)]
pub struct Beats {
    /// What happened.
    pub what: &'static str,
    /// So often, in a second.
    pub rate: f64,
    /// What the agent used meanwhile.
    pub usage: Usage,
}

impl Beats {
    pub(super) fn all(api: &Api, meter: &Meter, nodes: usize, span: Duration) -> Result<Vec<Self>> {
        let idle = Self {
            what: "nothing",
            rate: 0.0,
            usage: rest(meter, span)?,
        };
        let rate = (nodes / EVERY).clamp(1, MOST);
        let leases = nodes.min(rate * EVERY);
        fill::each(api, 0..leases, |talk, number| {
            // There from an earlier step.
            drop(talk.create(fill::LEASES, &fill::lease(number)));
            Ok(())
        })?;
        let lease = |talk: &mut Talk, beat: usize| {
            let path = fill::lease_path(beat % leases);
            talk.patch(&path, &json!({"spec": {"leaseTransitions": beat}}))
        };
        let status = |talk: &mut Talk, beat: usize| {
            let path = format!("{}/status", fill::path(beat % nodes));
            let conditions = fill::conditions(beat + 1);
            talk.patch(&path, &json!({"status": {"conditions": conditions}}))
        };
        Ok(vec![
            idle,
            beat("leases renewed", (api, meter), (rate, span), lease)?,
            beat("status reported", (api, meter), (rate, span), status)?,
        ])
    }

    /// The part of the processor, without what nothing costs, that one of them takes.
    pub fn each(&self, idle: &Self) -> Duration {
        let more = (self.usage.load() - idle.usage.load()).max(0.0);
        Duration::from_secs_f64(if self.rate > 0.0 {
            more / self.rate
        } else {
            0.0
        })
    }
}

fn beat(
    what: &'static str,
    (api, meter): (&Api, &Meter),
    (rate, span): (usize, Duration),
    work: impl Fn(&mut Talk, usize) -> Result<()> + Sync + Send,
) -> Result<Beats> {
    let count = rate * usize::try_from(span.as_secs())?;
    let between = Duration::from_secs(1) / u32::try_from(rate)?;
    let usage = meter.during(|| {
        let began = Instant::now();
        fill::each(api, 0..count, |talk, number| {
            let due = between * u32::try_from(number)?;
            wait::rest(due.saturating_sub(began.elapsed()))?;
            work(talk, number)
        })
    })?;
    Ok(Beats {
        what,
        rate: f64::from(u32::try_from(count)?) / usage.span.as_secs_f64(),
        usage,
    })
}
