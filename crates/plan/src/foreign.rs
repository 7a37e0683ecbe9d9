//! Other people's firewalls: what our pods need in them, and where.
//!
//! An accept in our own table does not overrule a drop in another. A base chain is judged by what happens to a pod's packet
//! at its end: its policy, or the first rule that lets nothing pass. Our rules stand directly before that end and never
//! before anybody's rule: there they would bypass what the administrator, Docker or kube-proxy reject. They match prefixes
//! and interfaces only, because `iptables-save` turns a match on a set into "everything".

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use ipnet::IpNet;
use model::addr::Family;
use model::change::Change;
use model::firewall::{COMMENT, ForeignChain, Hook, Is, Match, Role, Rule, Verdict};
use model::name::IfName;
use model::net::VETH_PREFIX;
use model::status::Finding;

/// Whose packets must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pods<'a> {
    /// All pods of the cluster: they are forwarded, as sources and as destinations.
    pub cluster: &'a BTreeSet<IpNet>,
    /// This node's pods: they may talk to their node.
    pub local: &'a BTreeSet<IpNet>,
    /// Bridges that local pods are ports of.
    pub bridges: &'a BTreeSet<IfName>,
}

/// What brings one chain in order; nothing if it is.
#[must_use]
pub fn pass(chain: &ForeignChain, pods: &Pods<'_>) -> Vec<Change> {
    let end = chain.rules.iter().position(|rule| rule.role == Role::Final);
    // A chain that lets packets pass at its end needs nothing; rules of ours that it has may stay for the day it does.
    if chain.owned || (end.is_none() && !chain.drops) {
        return Vec::new();
    }
    let wanted = wanted(chain, pods);
    let end = end.unwrap_or(chain.rules.len());
    if in_place(chain, end, &wanted) {
        return Vec::new();
    }
    let ours = chain
        .rules
        .iter()
        .filter(|rule| matches!(rule.role, Role::Ours(_)));
    let mut changes: Vec<Change> = ours
        .map(|rule| Change::RemoveRule(chain.chain.clone(), rule.handle))
        .collect();
    let before = chain.rules.get(end).map(|rule| rule.handle);
    for matches in wanted {
        let rule = Rule {
            matches,
            verdict: Verdict::Accept,
            comment: COMMENT.to_string(),
        };
        changes.push(Change::InsertRule(chain.chain.clone(), before, rule));
    }
    changes
}

/// What is said of a chain that nobody but its owner can write.
#[must_use]
pub fn unwritable(chain: &ForeignChain) -> Option<Finding> {
    let ends = chain.drops || chain.rules.iter().any(|rule| rule.role == Role::Final);
    (chain.owned && ends).then(|| Finding {
        what: format!("chain {} drops pods' packets at its end, and its table belongs to another program", chain.chain),
        hint: "let the owner accept them; for firewalld: firewall-cmd --permanent --zone=trusted --add-source=<pod network>"
            .into(),
    })
}

fn wanted(chain: &ForeignChain, pods: &Pods<'_>) -> Vec<Vec<Match>> {
    let seen = |nets: &BTreeSet<IpNet>| -> Vec<IpNet> {
        nets.iter()
            .copied()
            .filter(|net| chain.chain.family.sees(Family::of(net.addr())))
            .collect()
    };
    let mut rules = Vec::new();
    if chain.hook == Hook::Forward {
        for net in seen(pods.cluster) {
            rules.push(vec![Match::Source(Is::In, net)]);
            rules.push(vec![Match::Destination(Is::In, net)]);
        }
    }
    if chain.hook == Hook::Input {
        for net in seen(pods.local) {
            rules.push(vec![
                Match::Iif(Is::In, format!("{VETH_PREFIX}*")),
                Match::Source(Is::In, net),
            ]);
            for bridge in pods.bridges {
                rules.push(vec![
                    Match::Iif(Is::In, bridge.to_string()),
                    Match::Source(Is::In, net),
                ]);
            }
        }
    }
    rules
}

/// Whether exactly the wanted rules of ours stand directly before the end, in any order, and nowhere else.
fn in_place(chain: &ForeignChain, end: usize, wanted: &[Vec<Match>]) -> bool {
    let ours = |role: &Role| matches!(role, Role::Ours(_));
    let total = chain.rules.iter().filter(|rule| ours(&rule.role)).count();
    let tail = chain
        .rules
        .iter()
        .take(end)
        .rev()
        .take_while(|rule| ours(&rule.role));
    let found: BTreeSet<BTreeSet<&Match>> = tail
        .filter_map(|rule| match &rule.role {
            Role::Ours(matches) => Some(matches.iter().collect()),
            Role::Final | Role::Other => None,
        })
        .collect();
    total == wanted.len()
        && found.len() == wanted.len()
        && wanted
            .iter()
            .all(|matches| found.contains(&matches.iter().collect::<BTreeSet<_>>()))
}
