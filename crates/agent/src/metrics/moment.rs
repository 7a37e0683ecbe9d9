//! What is not counted but looked up when somebody asks.

use super::{Api, Labels, PREFIX, number};
use crate::vitals::{STUCK, Used};
use host::usage::Usage;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A number with a fraction.
type Real = Gauge<f64, AtomicU64>;

/// What holds now.
#[derive(Debug)]
pub(crate) struct Moment {
    /// What `/readyz` says.
    pub(crate) ready: bool,
    /// Time since the end of the last round.
    pub(crate) since_round: Duration,
    /// Time since the start.
    pub(crate) up: Duration,
    /// The networks' state; empty if it cannot be read.
    pub(crate) networks: Vec<Used>,
    /// What the process uses; none if it cannot be told.
    pub(crate) usage: Option<Usage>,
    /// Whether there is an API server to speak of.
    pub(crate) with_api: bool,
}

impl Moment {
    pub(super) fn registry(&self, api: &Api, strife: bool) -> Registry {
        let mut all = Registry::default();
        let podwire = all.sub_registry_with_prefix(PREFIX);
        self.podwire(podwire, api);
        put(
            podwire,
            "backing_off",
            "1 while another program keeps undoing what podwired does, and podwired works slower",
            real(f64::from(u8::from(strife))),
        );
        if let Some(usage) = &self.usage {
            self.process(all.sub_registry_with_prefix("process"), usage);
        }
        all
    }

    fn podwire(&self, all: &mut Registry, api: &Api) {
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        all.register("build", "Which podwired it is", Info::new(version));
        put(
            all,
            "ready",
            "What /readyz says: 1 if pods can come",
            real(f64::from(u8::from(self.ready))),
        );
        put(
            all,
            "round_age_seconds",
            &format!(
                "Time since a round ended; at {} s /livez fails",
                STUCK.as_secs()
            ),
            real(self.since_round.as_secs_f64()),
        );
        if self.with_api {
            let outage = api.outage();
            put(
                all,
                "api_up",
                "1 if the API server answers",
                real(f64::from(u8::from(outage.is_none()))),
            );
            put(
                all,
                "api_outage_seconds",
                "For how long it has not answered; 0 while it does",
                real(outage.unwrap_or_default().as_secs_f64()),
            );
        }
        self.addresses(all);
    }

    fn addresses(&self, all: &mut Registry) {
        let attachments = Family::<Labels, Gauge>::default();
        let (used, total) = (
            Family::<Labels, Gauge>::default(),
            Family::<Labels, Real>::default(),
        );
        for network in &self.networks {
            let name = || vec![("network", network.network.clone())];
            attachments
                .get_or_create(&name())
                .set(number(network.attachments));
            for (range, taken) in &network.ranges {
                let mut labels = name();
                labels.push(("range", range.to_string()));
                used.get_or_create(&labels)
                    .set(i64::try_from(*taken).unwrap_or(i64::MAX));
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "nobody counts 2^64 addresses one by one"
                )]
                total.get_or_create(&labels).set(range.capacity() as f64);
            }
        }
        put(
            all,
            "attachments",
            "Interfaces of pods on this node",
            attachments,
        );
        put(
            all,
            "addresses_used",
            "Addresses of the node's ranges that are taken",
            used,
        );
        put(
            all,
            "addresses",
            "Addresses of the node's ranges that pods may have: the limit of addresses_used",
            total,
        );
    }

    fn process(&self, all: &mut Registry, usage: &Usage) {
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(usage.cpu.as_secs_f64());
        put(all, "cpu_seconds", "Time on a processor", cpu);
        let count = |count: u64| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            gauge
        };
        put(
            all,
            "resident_memory_bytes",
            "Memory that is really there",
            count(usage.resident),
        );
        put(all, "threads", "Threads", count(usage.threads));
        put(
            all,
            "open_fds",
            "Open descriptors",
            count(usage.descriptors),
        );
        if let Some(most) = usage.most_descriptors {
            put(
                all,
                "max_fds",
                "How many descriptors may be open",
                count(most),
            );
        }
        #[expect(clippy::disallowed_methods, reason = "Prometheus is told")]
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        put(
            all,
            "start_time_seconds",
            "When it was started",
            real(now.saturating_sub(self.up).as_secs_f64()),
        );
    }
}

fn put(all: &mut Registry, name: &str, help: &str, metric: impl Metric) {
    all.register(name, help, metric);
}

fn real(value: f64) -> Real {
    let gauge = Real::default();
    gauge.set(value);
    gauge
}
