//! Tells the cluster whether this node's network is there: the condition NetworkUnavailable of its Node.
//!
//! Written only if it differs from what the Node says, so that a Node that was made anew is told again, and a restart of the
//! agent changes nothing. Written seldom, therefore with a client of its own each time. Reference: Kubernetes, "Node Status".

use super::access::{Access, chain, failure};
use super::follow::NODES;
use super::known::{Known, Said, now};
use super::object::{CONDITION, DOWN, UP};
use super::retry::Retry;
use crate::verdict::Verdict;
use crate::vitals::Vitals;
use kube::core::Request;
use kube::core::params::{Patch, PatchParams};
use model::name::NodeName;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

/// Least time between two writes: if another program says the opposite, the API server must not pay for it.
const REST: Duration = Duration::from_secs(10);

/// How long the server may take.
const ANSWER: Duration = Duration::from_secs(30);

/// When there is nothing to wait for.
const LONG: Duration = Duration::from_secs(3600);

/// Tells until the program ends.
pub(super) async fn tell(access: Access, own: NodeName, known: Arc<Known>, vitals: Arc<Vitals>) {
    let mut health = vitals.subscribe();
    let mut said = known.said();
    let mut retry = Retry::default();
    let mut told = String::new();
    loop {
        health.mark_unchanged();
        let says = *said.borrow_and_update();
        if let Some(verdict) = vitals.verdict()
            && is_news(&verdict, says)
        {
            match write(&access, &own, &verdict, says).await {
                Ok(()) => {
                    vitals.metrics.api.condition(true);
                    info!("condition {CONDITION} of node {own}: {}", words(&verdict).1);
                    retry.succeeded();
                    told.clear();
                    // The Node's answer comes by the watch, within this time.
                    sleep(REST).await;
                }
                Err(error) => {
                    vitals.metrics.api.condition(false);
                    // While the API server is away every attempt fails in the same words.
                    if told != error {
                        warn!(
                            "condition {CONDITION} of node {own} is not written: {error}; podwired goes on trying"
                        );
                        told = error;
                    }
                    sleep(retry.next()).await;
                }
            }
            continue;
        }
        let due = vitals.due().unwrap_or_else(|| Instant::now() + LONG);
        tokio::select! {
            changed = health.changed() => if changed.is_err() { return },
            changed = said.changed() => if changed.is_err() { return },
            () = sleep_until(due) => {}
        }
    }
}

fn is_news(verdict: &Verdict, says: Said) -> bool {
    match says {
        Said::NoNode => false,
        Said::Nothing => true,
        Said::Condition { unavailable, ours } => {
            unavailable != matches!(verdict, Verdict::Down(_)) || !ours
        }
    }
}

/// Reason and message.
fn words(verdict: &Verdict) -> (&'static str, &str) {
    match verdict {
        Verdict::Up => (UP, "Podwire has put this node in order"),
        Verdict::Down(why) => (DOWN, why),
    }
}

/// What is merged into the Node's status.
fn patch(verdict: &Verdict, says: Said, now: &str) -> Value {
    let down = matches!(verdict, Verdict::Down(_));
    let (reason, message) = words(verdict);
    let mut condition = json!({
        "type": CONDITION,
        "status": if down { "True" } else { "False" },
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
    });
    let changes = !matches!(says, Said::Condition { unavailable, .. } if unavailable == down);
    if changes {
        condition["lastTransitionTime"] = now.into();
    }
    json!({"status": {"conditions": [condition]}})
}

async fn write(
    access: &Access,
    own: &NodeName,
    verdict: &Verdict,
    says: Said,
) -> Result<(), String> {
    let params = PatchParams {
        field_manager: Some("podwired".into()),
        ..PatchParams::default()
    };
    // Strategic: merged by type with the conditions that others own.
    let patch = Patch::Strategic(patch(verdict, says, &now()));
    let request = Request::new(NODES)
        .patch_subresource("status", own.as_str(), &params, &patch)
        .map_err(|error| chain(&error))?;
    let client = access.client().await?;
    match timeout(ANSWER, client.request_text(request)).await {
        Ok(answer) => answer.map(drop).map_err(|error| failure(&error)),
        Err(_elapsed) => Err(format!("no answer in {} s", ANSWER.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_says_already_is_not_said_again() {
        let says = |unavailable, ours| Said::Condition { unavailable, ours };
        let down = Verdict::Down("why".into());
        assert!(!is_news(&Verdict::Up, Said::NoNode));
        assert!(is_news(&Verdict::Up, Said::Nothing));
        assert!(!is_news(&Verdict::Up, says(false, true)));
        assert!(is_news(&Verdict::Up, says(false, false)));
        assert!(is_news(&Verdict::Up, says(true, true)));
        assert!(!is_news(&down, says(true, true)));
        assert!(is_news(&down, says(false, true)));
    }

    #[test]
    fn the_time_of_a_transition_is_written_only_with_one() {
        let says = Said::Condition {
            unavailable: false,
            ours: false,
        };
        let at = "2026-11-24T09:00:00Z";
        let condition = |verdict: &Verdict| {
            let patch = patch(verdict, says, at);
            patch["status"]["conditions"][0].clone()
        };
        let up = condition(&Verdict::Up);
        assert_eq!(
            (&up["status"], &up["reason"]),
            (&json!("False"), &json!("PodwireIsUp"))
        );
        assert_eq!(up["lastTransitionTime"], Value::Null);
        let down = condition(&Verdict::Down("no route".into()));
        assert_eq!(
            (&down["status"], &down["message"]),
            (&json!("True"), &json!("no route"))
        );
        assert_eq!(down["lastTransitionTime"], json!(at));
    }
}
