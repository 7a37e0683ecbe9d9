//! Our nftables table: who is masqueraded, and who is no pod.
//!
//! Pods are masqueraded towards everything that is neither a pod nor a node that is reached directly; a pod therefore sees
//! another pod's own address on every path. A packet from a pod whose source leads back elsewhere is dropped. The chains
//! never change; what does stands in the sets (nft(8)).

use crate::ports;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use ipnet::IpNet;
use model::addr::Family;
use model::firewall::{Chain, Elements, Hook, Is, Match, Rule, Set, Table, Verdict};
use model::net::VETH_PREFIX;

/// Priority of chains that come before connection tracking (`NF_IP_PRI_RAW`).
const RAW: i32 = -300;

/// Priority of source translation (`NF_IP_PRI_NAT_SRC`).
const SRCNAT: i32 = 100;

/// The name of the chains and sets, which changes whenever they do. It is a digest of them that a test compares: an ADD asks for
/// it each time, and does not have to write them all down to know it.
pub(crate) const VERSION: &str = "podwire-9e1e642eb18d2d41";

/// The whole table with these elements.
#[must_use]
pub fn table(elements: Elements) -> Table {
    Table {
        version: VERSION.into(),
        chains: chains(),
        elements,
    }
}

fn chains() -> Vec<Chain> {
    let mut chains = vec![
        Chain {
            name: "spoofed",
            nat: false,
            hook: Hook::Prerouting,
            priority: RAW,
            rules: spoofed(),
        },
        Chain {
            // Not "masquerade": nft(8) takes no keyword for a name, and could not load what it lists.
            name: "outgoing",
            nat: true,
            hook: Hook::Postrouting,
            priority: SRCNAT,
            rules: masquerade(),
        },
    ];
    chains.extend(ports::chains());
    chains
}

/// Nothing per pod: the kernel's own routes say which source belongs behind which link.
fn spoofed() -> Vec<Rule> {
    let pods = || Match::Iif(Is::In, format!("{VETH_PREFIX}*"));
    vec![
        rule(
            vec![pods(), Match::Source(Is::In, net("fe80::/10"))],
            Verdict::Accept,
            "neighbour discovery of the link itself",
        ),
        rule(
            vec![pods(), Match::NoReversePath],
            Verdict::Drop,
            "a source that is not the pod's",
        ),
        ports::guard(),
    ]
}

fn masquerade() -> Vec<Rule> {
    let outside = |family, multicast| {
        rule(
            vec![
                Match::SourceIn(Is::In, Set::Local(family)),
                Match::DestinationIn(Is::NotIn, Set::Pods(family)),
                Match::DestinationIn(Is::NotIn, Set::Nodes(family)),
                Match::Destination(Is::NotIn, net(multicast)),
            ],
            Verdict::Masquerade,
            "pods that leave the cluster",
        )
    };
    let back = |ranges| {
        let matches = vec![
            Match::OifIn(Is::In, Set::Bridges),
            Match::SourceIn(Is::In, ranges),
            Match::DestinationIn(Is::In, ranges),
            Match::Dnat,
        ];
        let why = "a Service's answer must come back through the node";
        rule(matches, Verdict::Masquerade, why)
    };
    let mut rules = vec![
        outside(Family::V4, "224.0.0.0/4"),
        outside(Family::V6, "ff00::/8"),
        back(Set::Local(Family::V4)),
        back(Set::Shared(Family::V4)),
        back(Set::Shared(Family::V6)),
    ];
    rules.extend(bridged());
    rules.extend(ports::masquerade());
    rules
}

/// Pods of somebody's own bridges: among the bridges of the node they keep their address, elsewhere nobody knows it.
fn bridged() -> [Rule; 2] {
    let outside = |family, multicast| {
        rule(
            vec![
                Match::SourceIn(Is::In, Set::Masqueraded(family)),
                Match::Destination(Is::NotIn, net(multicast)),
                Match::OifIn(Is::NotIn, Set::Bridges),
            ],
            Verdict::Masquerade,
            "pods that leave their bridge",
        )
    };
    [
        outside(Family::V4, "224.0.0.0/4"),
        outside(Family::V6, "ff00::/8"),
    ]
}

pub(crate) fn rule(matches: Vec<Match>, verdict: Verdict, comment: &str) -> Rule {
    Rule {
        matches,
        verdict,
        comment: comment.to_string(),
    }
}

/// Only called with literals.
pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap_or_default()
}

/// FNV-1a over 64 bits: tells texts apart that nobody forges.
pub(crate) fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    #[test]
    fn the_version_is_that_of_the_chains_and_sets() {
        let mut all = String::new();
        for set in Set::ALL {
            all += &format!("{} {:?};", set.name(), set.kind());
        }
        for chain in chains() {
            all += &format!(
                "{} {} {} {};",
                chain.name, chain.nat, chain.hook, chain.priority
            );
            for rule in &chain.rules {
                all += &format!("{rule};");
            }
        }
        let now = format!("podwire-{:016x}", digest(&all));
        assert_eq!(VERSION, now, "the table has changed, and needs this name");
    }
}
