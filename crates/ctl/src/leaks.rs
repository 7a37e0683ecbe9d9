//! `podwire leaks`: what pods that have ended have left on this node. A dry run: it removes nothing and needs no agent.
//!
//! The same look and the same judgement as the agent's, which also waits for the grace time; since when something has been left
//! is known only from the agent's report. A pod that starts or ends right now may look like a leak for an instant, so only
//! what shows itself twice is told.

use crate::status::{age, report};
use anyhow::{Context, Result};
use host::nft::Nft;
use host::rtnl::Rtnl;
use host::store::Store;
use host::{clock, survey};
use model::reclaim::{Kind, Leak, Unseen};
use plan::reclaim::{Judgement, findings, judge};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const NANOSECONDS: u64 = 1_000_000_000;

/// What is left.
#[derive(Debug)]
pub(crate) struct View {
    /// What is left, with the time since when where it is known.
    pub(crate) leaks: Vec<Leak>,
    /// Records that cannot be judged from here.
    pub(crate) unseen: Vec<Unseen>,
    /// Now, by the clock of the leaks.
    now: u64,
    /// The run folder, if it is not there.
    pub(crate) absent: Option<PathBuf>,
}

impl View {
    /// Whether a pod may be dead of which nothing can be said from here.
    pub(crate) fn is_blind(&self) -> bool {
        self.unseen.iter().any(|unseen| !unseen.linked)
    }
}

/// Looks at everything below `run`.
///
/// # Errors
/// The state or the kernel cannot be asked.
pub(crate) fn gather(run: &Path) -> Result<View> {
    let hint = || {
        format!(
            "look as root: sudo podwire leaks --run-dir {}",
            run.display()
        )
    };
    let there = run.try_exists().with_context(hint)?;
    let mut judgement = look(run).with_context(hint)?;
    if judgement != Judgement::default() {
        let first = judgement.leaks;
        judgement = look(run).with_context(hint)?;
        judgement.leaks.retain(|leak| first.contains(leak));
    }
    date(&mut judgement.leaks, run);
    Ok(View {
        leaks: judgement.leaks,
        unseen: judgement.unseen,
        now: clock::boottime_ns(),
        absent: (!there).then(|| run.to_owned()),
    })
}

fn look(run: &Path) -> Result<Judgement> {
    let stores = Store::all(run)?;
    let (mut rtnl, mut nft) = (Rtnl::open()?, Nft::open()?);
    Ok(judge(&survey::survey(&stores, &mut rtnl, Some(&mut nft))?))
}

/// A report that is not there, or of another version, only means that nobody knows since when.
fn date(leaks: &mut [Leak], run: &Path) {
    let known = report(run).ok().flatten().map(|agent| agent.leaks);
    for leak in leaks {
        let mut known = known.iter().flatten();
        let same =
            known.find(|it| (it.kind, &it.object, it.born) == (leak.kind, &leak.object, leak.born));
        leak.since = same.and_then(|it| it.since);
    }
}

/// For a person: one leak a line, what cannot be seen, and how many there are.
pub(crate) fn human(view: &View) -> String {
    let mut lines: Vec<String> = view.leaks.iter().map(|leak| line(leak, view.now)).collect();
    for finding in findings(&[], &view.unseen) {
        lines.push(format!("not seen: {}", finding.what));
        lines.push(format!("          {}", finding.hint));
    }
    if let Some(run) = &view.absent {
        lines.push(format!("nothing is known: there is no {}", run.display()));
    }
    lines.push(match view.leaks.len() {
        1 => "1 leak".into(),
        count => format!("{count} leaks"),
    });
    lines.join("\n") + "\n"
}

fn line(leak: &Leak, now: u64) -> String {
    let what = match leak.kind {
        Kind::Dead | Kind::Stranded | Kind::Broken => "record",
        Kind::Lease => "lease",
        Kind::Link => "link",
        Kind::Ports => "host ports of",
    };
    let pod = leak.pod.as_ref();
    let pod = pod.map_or_else(String::new, |pod| {
        format!(" of pod {}/{}", pod.namespace, pod.name)
    });
    let addresses: Vec<String> = leak.addresses.iter().map(ToString::to_string).collect();
    let holds = match leak.kind {
        Kind::Dead | Kind::Stranded if !addresses.is_empty() => {
            format!(" holds {}", addresses.join(" "))
        }
        Kind::Dead | Kind::Stranded | Kind::Broken | Kind::Lease | Kind::Link | Kind::Ports => {
            String::new()
        }
    };
    let since = seconds(leak, now).map_or_else(String::new, |seconds| {
        format!(" (for {} at least)", age(seconds))
    });
    format!("{what} {}{pod}{holds}: {}{since}", leak.object, leak.why)
}

/// For a program: one object; its keys are promised in docs/leaks.md.
pub(crate) fn json(view: &View) -> String {
    let leak = |leak: &Leak| {
        json!({
            "kind": leak.kind,
            "object": leak.object,
            "pod": leak.pod,
            "addresses": leak.addresses,
            "why": leak.why,
            "for_seconds": seconds(leak, view.now),
        })
    };
    let unseen = |unseen: &Unseen| {
        json!({
            "object": unseen.object,
            "cause": unseen.cause,
            "linked": unseen.linked,
        })
    };
    let object = json!({
        "run_dir_found": view.absent.is_none(),
        "leaks": view.leaks.iter().map(leak).collect::<Vec<Value>>(),
        "unseen": view.unseen.iter().map(unseen).collect::<Vec<Value>>(),
    });
    format!("{object:#}\n")
}

fn seconds(leak: &Leak, now: u64) -> Option<u64> {
    let since = leak.since?;
    Some(now.saturating_sub(since) / NANOSECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::name::PodRef;
    use model::reclaim::Cause;

    fn view() -> View {
        let leak = |kind, object: &str, why: &str| Leak {
            kind,
            object: object.into(),
            pod: None,
            addresses: Vec::new(),
            why: why.into(),
            born: 0,
            since: None,
        };
        let dead = Leak {
            pod: Some(PodRef {
                namespace: "default".into(),
                name: "a".into(),
                uid: String::new(),
            }),
            addresses: vec!["10.244.0.2".parse().unwrap()],
            since: Some(7 * NANOSECONDS),
            ..leak(Kind::Dead, "podwire/c1@eth0", "all is gone")
        };
        View {
            leaks: vec![dead, leak(Kind::Ports, "podwire/c2/eth0", "no record")],
            unseen: vec![Unseen {
                object: "podwire/c3@eth0".into(),
                cause: Cause::Mounts,
                linked: false,
            }],
            now: 42 * NANOSECONDS,
            absent: None,
        }
    }

    #[test]
    fn each_leak_is_a_line_and_the_last_line_counts_them() {
        let text = human(&view());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "record podwire/c1@eth0 of pod default/a holds 10.244.0.2: all is gone (for 35s at least)"
        );
        assert_eq!(lines[1], "host ports of podwire/c2/eth0: no record");
        assert!(lines[2].starts_with("not seen: ") && lines[2].contains("podwire/c3@eth0"));
        assert_eq!(lines.last(), Some(&"2 leaks"));
        let nothing = View {
            leaks: Vec::new(),
            unseen: Vec::new(),
            ..view()
        };
        assert_eq!(human(&nothing), "0 leaks\n");
    }

    #[test]
    fn the_object_has_the_keys_that_are_promised() {
        let object: Value = serde_json::from_str(&json(&view())).unwrap();
        let dead = json!({
            "kind": "dead",
            "object": "podwire/c1@eth0",
            "pod": {"namespace": "default", "name": "a", "uid": ""},
            "addresses": ["10.244.0.2"],
            "why": "all is gone",
            "for_seconds": 35,
        });
        assert_eq!(object["leaks"][0], dead);
        assert_eq!(object["leaks"][1]["for_seconds"], Value::Null);
        let unseen = json!([{"object": "podwire/c3@eth0", "cause": "mounts", "linked": false}]);
        assert_eq!(object["unseen"], unseen);
        assert_eq!(object["run_dir_found"], true);
    }
}
