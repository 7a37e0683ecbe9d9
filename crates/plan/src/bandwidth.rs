//! How a pod's bandwidth is limited: one token bucket where packets leave for the pod, one where they leave the pod.
//!
//! What comes to the pod leaves the node's end of its link, and what the pod sends leaves the pod's end; so both are shaped at
//! a link's root, wait in a queue instead of being lost, and go with the link. docs/capabilities.md has what else was tried.
//! Follows tc-tbf(8).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use model::attachment::Attachment;
use model::bandwidth::{Limit, Qdisc, Tbf};
use model::change::Change;
use model::name::IfName;

/// A link's MTU where none is configured.
const MTU: u32 = 1500;

/// Bytes of an Ethernet header with a VLAN's tag.
const HEADER: u32 = 18;

/// A twentieth of a second's worth: what the bucket holds if nobody has chosen a burst, and what may wait behind it.
const PART: u64 = 20;

/// Seconds' worth that a bucket holds at most: the kernel counts it as a time in 32 bits of 64 ns.
const LONGEST: u64 = 274;

/// Frames that may wait at least, however slow the link is.
const WAITING: u32 = 16;

/// What limits the traffic to the pod, on the node.
pub(crate) fn node(attachment: &Attachment, node_end: &IfName) -> Option<Change> {
    let qdisc = queue(attachment.bandwidth.ingress, attachment.mtu, node_end)?;
    Some(Change::PutQdisc(qdisc))
}

/// What limits the pod's own traffic, in the pod.
pub(crate) fn pod(attachment: &Attachment) -> Option<Change> {
    let dev = &attachment.key.ifname;
    let qdisc = queue(attachment.bandwidth.egress, attachment.mtu, dev)?;
    Some(Change::PutQdisc(qdisc))
}

/// What lacks or was changed of the attachment's queues, each in one sentence.
#[must_use]
pub fn differences(
    attachment: &Attachment,
    node_end: &IfName,
    node: Option<&Tbf>,
    pod: Option<&Tbf>,
) -> Vec<String> {
    let bandwidth = &attachment.bandwidth;
    let ends = [
        (bandwidth.ingress, node_end, node, "the node"),
        (
            bandwidth.egress,
            &attachment.key.ifname,
            pod,
            "the container",
        ),
    ];
    let mut found = Vec::new();
    for (limit, dev, seen, place) in ends {
        let Some(wanted) = queue(limit, attachment.mtu, dev) else {
            continue;
        };
        match seen {
            None => found.push(format!("{place} lacks {wanted}")),
            Some(seen) if !wanted.tbf.is_shown_as(seen) => found.push(format!(
                "{place} has qdisc dev {dev} root {seen} and not {}",
                wanted.tbf
            )),
            Some(_) => {}
        }
    }
    found
}

fn queue(limit: Option<Limit>, mtu: Option<u32>, dev: &IfName) -> Option<Qdisc> {
    limit.map(|limit| Qdisc {
        dev: dev.clone(),
        tbf: tbf(limit, mtu.unwrap_or(MTU)),
    })
}

/// The bucket holds two frames at least: a frame that is larger than the bucket never gets through.
fn tbf(limit: Limit, mtu: u32) -> Tbf {
    let frame = mtu.saturating_add(HEADER);
    let rate = (limit.rate / 8).max(1);
    let part = u32::try_from(rate / PART).unwrap_or(u32::MAX);
    let burst = match limit.burst {
        None => part,
        Some(bits) => u32::try_from(bits / 8).unwrap_or(u32::MAX),
    };
    let longest = u32::try_from(rate.saturating_mul(LONGEST)).unwrap_or(u32::MAX);
    let burst = burst.min(longest).max(frame.saturating_mul(2));
    let waiting = part.max(frame.saturating_mul(WAITING));
    Tbf {
        rate,
        burst,
        limit: burst.saturating_add(waiting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ten_megabit(burst: Option<u64>) -> Tbf {
        let rate = 10_000_000;
        tbf(Limit { rate, burst }, MTU)
    }

    #[test]
    fn without_a_burst_the_bucket_holds_a_twentieth_of_a_second() {
        let (rate, burst, limit) = (1_250_000, 62_500, 125_000);
        assert_eq!(ten_megabit(None), Tbf { rate, burst, limit });
    }

    #[test]
    fn a_burst_that_was_chosen_is_kept_but_holds_two_frames() {
        assert_eq!(ten_megabit(Some(800_000)).burst, 100_000);
        assert_eq!(ten_megabit(Some(8)).burst, 2 * 1518);
        assert_eq!(ten_megabit(Some(u64::MAX)).burst, 274 * 1_250_000);
    }

    #[test]
    fn the_slowest_and_the_fastest_rate_have_a_queue() {
        let limit = |rate| tbf(Limit { rate, burst: None }, 65_535);
        assert_eq!(limit(1).rate, 1);
        assert_eq!(limit(1).burst, 131_106);
        assert_eq!(
            (limit(u64::MAX).burst, limit(u64::MAX).limit),
            (u32::MAX, u32::MAX)
        );
    }
}
