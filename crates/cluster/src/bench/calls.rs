//! What containerd waits for the network of a pod: the sums and counts of its own metrics.
//!
//! It counts each call of a chain of plugins from its start to its answer, under its own names for ADD and DEL.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::init::METRICS;

const METRIC: &str = "containerd_cri_network_plugin_operations_duration_seconds_seconds";

/// Calls of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Mean {
    pub(super) count: f64,
    seconds: f64,
}

/// On all nodes of a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Calls {
    pub(super) add: Mean,
    pub(super) del: Mean,
}

impl Calls {
    /// Since containerd's start.
    pub(super) fn of(cluster: &Cluster) -> Result<Self> {
        let mut all = Self::default();
        for node in cluster.nodes() {
            let url = format!("http://{METRICS}/v1/metrics");
            all.take(&node.run(&["curl", "-sSf", "-m", "5", &url])?)?;
        }
        Ok(all)
    }

    /// Only what came after.
    pub(super) fn since(&self, before: &Self) -> Self {
        let less = |now: Mean, then: Mean| Mean {
            count: now.count - then.count,
            seconds: now.seconds - then.seconds,
        };
        Self {
            add: less(self.add, before.add),
            del: less(self.del, before.del),
        }
    }

    /// Both lists of calls as one.
    pub(super) fn and(&self, other: &Self) -> Self {
        let more = |one: Mean, other: Mean| Mean {
            count: one.count + other.count,
            seconds: one.seconds + other.seconds,
        };
        Self {
            add: more(self.add, other.add),
            del: more(self.del, other.del),
        }
    }

    fn take(&mut self, metrics: &str) -> Result<()> {
        for (call, operation) in [
            (&mut self.add, "set_up_pod"),
            (&mut self.del, "tear_down_pod"),
        ] {
            let value = |part: &str| -> Result<f64> {
                let key = format!("{METRIC}_{part}{{operation_type=\"{operation}\"}} ");
                let found = metrics.lines().find_map(|line| line.strip_prefix(&key));
                // It is not told before the first call.
                found.map_or(Ok(0.0), |number| {
                    number.parse().with_context(|| format!("{key}{number}"))
                })
            };
            call.count += value("count")?;
            call.seconds += value("sum")?;
        }
        Ok(())
    }
}

impl Mean {
    pub(super) fn mean(&self) -> Duration {
        if self.count > 0.0 {
            Duration::from_secs_f64(self.seconds / self.count)
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_after_the_first_look_count() {
        let metrics = |count: u32, sum: f64| {
            format!(
                "{METRIC}_bucket{{operation_type=\"set_up_pod\",le=\"0.1\"}} 9\n\
                 {METRIC}_sum{{operation_type=\"set_up_pod\"}} {sum}\n\
                 {METRIC}_count{{operation_type=\"set_up_pod\"}} {count}\n"
            )
        };
        let (mut before, mut after) = (Calls::default(), Calls::default());
        before.take(&metrics(2, 0.5)).unwrap();
        after.take(&metrics(6, 0.9)).unwrap();
        let calls = after.since(&before);
        assert_eq!(calls.add.count, 4.0);
        assert_eq!(calls.add.mean().as_millis(), 100);
        assert_eq!(calls.del, Mean::default());
    }
}
