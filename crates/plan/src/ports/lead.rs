//! The rules that read the maps of host ports, and those without which their answers would not come back.
//!
//! They never change; what does stands in the sets. Who stands there is decided beside. Follows nft(8).

use crate::masquerade::{net, rule};
use alloc::vec;
use alloc::vec::Vec;
use model::addr::Family;
use model::firewall::{Chain, Hook, Is, Match, Rule, Set, Verdict};

/// Behind kube-proxy, whose chains stand at the priority of destination translation itself (`NF_IP_PRI_NAT_DST`, -100): a
/// host port must not take what a Service was given (CVE-2019-9946).
const BEHIND_SERVICES: i32 = -90;

/// The chains that lead packets to pods: those that come in, and the node's own.
pub(crate) fn chains() -> [Chain; 2] {
    let chain = |name, hook| Chain {
        name,
        nat: true,
        hook,
        priority: BEHIND_SERVICES,
        rules: lead(),
    };
    [
        chain("ports", Hook::Prerouting),
        chain("ports_output", Hook::Output),
    ]
}

fn lead() -> Vec<Rule> {
    let mut rules = Vec::new();
    for family in [Family::V4, Family::V6] {
        let mut to_us = vec![Match::ToThisNode];
        if family == Family::V6 {
            // Nothing from ::1 leaves the loopback: whoever tries localhost over IPv6 first must be refused at once, so
            // that he goes on to IPv4.
            to_us.push(Match::Destination(Is::NotIn, net("::1/128")));
        }
        to_us.push(Match::DestinationIn(Is::NotIn, Set::Services(family)));
        for (map, comment) in [
            (Set::PortsAt(family), "host ports at one address"),
            (Set::Ports(family), "host ports at every address"),
        ] {
            rules.push(rule(to_us.clone(), Verdict::Dnat(map), comment));
        }
    }
    rules
}

/// What must be masqueraded so that the answer comes back through the node.
pub(crate) fn masquerade() -> Vec<Rule> {
    let itself = |family| {
        rule(
            vec![Match::PairIn(Set::Hairpin(family))],
            Verdict::Masquerade,
            "a pod that asks its own host port",
        )
    };
    let all = |family| {
        rule(
            vec![
                Match::DestinationIn(Is::In, Set::MasqueradedTo(family)),
                Match::Dnat,
            ],
            Verdict::Masquerade,
            "a host port whose pod answers to its node only",
        )
    };
    // Nobody but the node itself has an answer for such a source.
    let from_loopback = vec![
        Match::Source(Is::In, net("127.0.0.0/8")),
        Match::Destination(Is::NotIn, net("127.0.0.0/8")),
        Match::Dnat,
    ];
    vec![
        itself(Family::V4),
        itself(Family::V6),
        all(Family::V4),
        all(Family::V6),
        rule(
            from_loopback,
            Verdict::Masquerade,
            "a host port at 127.0.0.1",
        ),
    ]
}

/// What must stand wherever `route_localnet` is set: without it the pod reaches what listens on the node's loopback only
/// (the class of CVE-2020-8558).
pub(crate) fn guard() -> Rule {
    rule(
        vec![
            Match::Iif(Is::NotIn, "lo".into()),
            Match::Destination(Is::In, net("127.0.0.0/8")),
        ],
        Verdict::Drop,
        "the node's loopback is the node's",
    )
}
