//! What is left and not reclaimed, and what cannot be seen, in sentences for `podwire status` and for the agent's log.
//!
//! One sentence for each kind, however many there are: a hundred pods that hang for one reason are one finding.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use model::reclaim::{Cause, Kind, Leak, Unseen};
use model::status::Finding;

/// Most names in one finding.
const MOST_NAMES: usize = 5;

/// Findings about leaks that have been there for a while, and about records that cannot be judged from here. What is reclaimed
/// anyway is none.
#[must_use]
pub fn findings(leaks: &[Leak], unseen: &[Unseen]) -> Vec<Finding> {
    let left = [Kind::Stranded, Kind::Broken, Kind::Link];
    let left = left.into_iter().filter_map(|kind| of_kind(kind, leaks));
    let causes = [
        Cause::Network,
        Cause::Mounts,
        Cause::Processes,
        Cause::Refused,
        Cause::Old,
    ];
    let blind = causes.into_iter().filter_map(|cause| blind(cause, unseen));
    left.chain(blind).collect()
}

fn of_kind(kind: Kind, leaks: &[Leak]) -> Option<Finding> {
    let names: Vec<String> = leaks
        .iter()
        .filter(|leak| leak.kind == kind)
        .map(name)
        .collect();
    let (what, hint) = match kind {
        Kind::Stranded => (
            "pods are gone, but their links stand",
            "a process holds their network namespaces open: lsns -t net shows it; podwire leaks lists them",
        ),
        Kind::Broken => (
            "records cannot be read",
            "delete their pods; podwire leaks lists them",
        ),
        Kind::Link => (
            "links of pods have no record",
            "ip link delete removes one that no pod uses; podwire leaks lists them",
        ),
        // The agent reclaims these itself, or says what it could not do.
        Kind::Dead | Kind::Lease | Kind::Ports => return None,
    };
    (!names.is_empty()).then(|| Finding {
        what: format!("{what}: {}", listed(&names)),
        hint: hint.into(),
    })
}

fn blind(cause: Cause, unseen: &[Unseen]) -> Option<Finding> {
    // What is wrong with podwired's own place is said at once; a single record is only if its pod may be dead.
    let is_general = matches!(cause, Cause::Network | Cause::Mounts);
    let of_cause = unseen.iter().filter(|it| it.cause == cause);
    let names: Vec<String> = of_cause
        .filter(|it| is_general || !it.linked)
        .map(|it| it.object.clone())
        .collect();
    let (why, hint) = match cause {
        Cause::Network => (
            "they are of another network namespace than this one",
            "look from the node's own network namespace; in a pod: hostNetwork: true",
        ),
        Cause::Mounts => (
            "the node's mounts below /run/netns do not come here",
            "mount the node's /run/netns here, in a pod with mountPropagation: HostToContainer",
        ),
        Cause::Processes => (
            "their paths name processes, which have other numbers here",
            "podwire leaks on the node itself judges them; in a pod: hostPID: true",
        ),
        Cause::Refused => (
            "their paths may not be looked at",
            "podwire leaks as root on the node itself judges them",
        ),
        Cause::Old => (
            "an earlier version wrote their records",
            "they go with their pods, or with the next start of the node",
        ),
    };
    (!names.is_empty()).then(|| Finding {
        what: format!(
            "whether the pods of {} live is not seen: {why}; what they leave is not reclaimed",
            listed(&names)
        ),
        hint: hint.into(),
    })
}

fn name(leak: &Leak) -> String {
    match &leak.pod {
        Some(pod) => format!("{}/{}", pod.namespace, pod.name),
        None => leak.object.to_string(),
    }
}

fn listed(names: &[String]) -> String {
    let (shown, more) = names.split_at(names.len().min(MOST_NAMES));
    match more.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
