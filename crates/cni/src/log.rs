//! One line a call into the file that the configuration names, and the steps with their times when `DEBUG` is set.
//!
//! The line is a JSON object. A log that cannot be written (a full disk, a pipe that nobody reads) never fails a pod, and
//! never makes one wait.

use crate::answer::Answer;
use model::cni::{Call, CniError, LogTarget, Valid};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The times of one call.
#[derive(Debug)]
pub(crate) struct Trace {
    started: Instant,
    last: Instant,
    steps: Option<Vec<(&'static str, Duration)>>,
}

impl Trace {
    /// Starts the clock. Steps are kept only if `DEBUG` is a number above 0, or any other text.
    pub(crate) fn start() -> Self {
        let debug = std::env::var("DEBUG").is_ok_and(|value| !matches!(value.trim(), "" | "0"));
        let now = Instant::now();
        Self {
            started: now,
            last: now,
            steps: debug.then(Vec::new),
        }
    }

    /// Notes that the step `name` is done.
    pub(crate) fn step(&mut self, name: &'static str) {
        if let Some(steps) = &mut self.steps {
            let now = Instant::now();
            steps.push((name, now - self.last));
            self.last = now;
        }
    }

    /// Writes the line.
    pub(crate) fn finish(&self, call: &Call, conf: &Valid, outcome: &Result<Answer, CniError>) {
        let Some(LogTarget(path)) = &conf.log else {
            return;
        };
        let mut line = self.line(call, conf, outcome).to_string();
        line.push('\n');
        // A full or read-only disk costs the line, not the pod.
        drop(host::log::append(Path::new(path), line.as_bytes()));
    }

    fn line(&self, call: &Call, conf: &Valid, outcome: &Result<Answer, CniError>) -> Value {
        let mut line = Map::new();
        let mut put = |key: &str, value: Value| line.insert(key.into(), value);
        #[expect(clippy::disallowed_methods, reason = "people are told")]
        let now = SystemTime::now();
        put("time", json!(timestamp(now)));
        put("verb", json!(call.verb.as_str()));
        put("network", json!(conf.name.as_str()));
        put(
            "container",
            json!(
                call.container
                    .as_ref()
                    .map(model::name::ContainerId::as_str)
            ),
        );
        put(
            "ifname",
            json!(call.ifname.as_ref().map(model::name::IfName::as_str)),
        );
        put("netns", json!(call.netns));
        if let Some(pod) = &call.pod {
            put("pod", json!(format!("{}/{}", pod.namespace, pod.name)));
        }
        match outcome {
            Ok(Answer::Object(result)) => put("result", result.clone()),
            Ok(Answer::Nothing) => put("result", json!("ok")),
            Err(error) => put(
                "error",
                json!({ "code": error.code as u32, "msg": error.msg, "details": error.details }),
            ),
        };
        put("us", json!(micros(self.started.elapsed())));
        if let Some(steps) = &self.steps {
            let steps = steps
                .iter()
                .map(|(name, took)| json!({ "step": name, "us": micros(*took) }));
            put("steps", steps.collect());
        }
        line.into()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// `2026-11-24T08:00:00.123Z` (RFC 3339), from the number of days since 1970 in the proleptic Gregorian calendar.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Years that begin in March put the leap day last; an era has 400 of them and 146,097 days.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_people_read_it() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_796_077_799, "2026-11-30T22:29:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
