//! Other people's firewalls: what our pods need in them, and where.
//!
//! An accept in our own table does not overrule a drop in another. A base chain is judged by what happens to a pod's packet
//! at its end: its policy, or the first rule that lets nothing pass. Our rules are put directly before that end and never
//! before any other rule: there they would bypass what the administrator, Docker or kube-proxy reject. A rule that lets
//! nothing pass and comes before ours later is an emergency stop, and stays. Ours match prefixes and interfaces only,
//! because `iptables-save` turns a match on a set into "everything".

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use ipnet::IpNet;
use model::addr::Family;
use model::change::Change;
use model::firewall::{COMMENT, ForeignChain, ForeignRule, Hook, Is, Match, Role, Rule, Verdict};
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
    // A chain that lets packets pass at its end needs nothing; rules of ours that it has may stay for the day it does.
    if chain.owned || !drops_at_its_end(chain) {
        return Vec::new();
    }
    let wanted = wanted(chain, pods);
    let end = first_final(chain).unwrap_or(chain.rules.len());
    // Somebody who puts a rule that lets nothing pass before ours means it: an emergency stop. It is told, not undone.
    let places = [Some(end), Some(chain.rules.len()), last_if_final(chain)];
    if places
        .into_iter()
        .flatten()
        .any(|place| in_place(chain, place, &wanted))
    {
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

/// What is said of a chain in which a rule lets nothing pass before the packet comes to ours.
#[must_use]
pub fn stopped(chain: &ForeignChain) -> Option<Finding> {
    let place = first_final(chain)?;
    let behind = chain
        .rules
        .iter()
        .skip(place)
        .any(|rule| matches!(rule.role, Role::Ours(_)));
    behind.then(|| {
        let handle = chain.rules[place].handle;
        Finding {
            what: format!(
                "rule {handle} of chain {} lets nothing pass, and stands before the rules that let pods pass",
                chain.chain
            ),
            hint: format!("if it is not meant: nft delete rule {} handle {handle}", chain.chain),
        }
    })
}

/// What is said of a chain that nobody but its owner can write.
#[must_use]
pub fn unwritable(chain: &ForeignChain) -> Option<Finding> {
    (chain.owned && drops_at_its_end(chain)).then(|| Finding {
        what: format!("chain {} drops pods' packets at its end, and its table belongs to another program", chain.chain),
        hint: "let the owner accept them; for firewalld: firewall-cmd --permanent --zone=trusted --add-source=<pod network>"
            .into(),
    })
}

fn drops_at_its_end(chain: &ForeignChain) -> bool {
    chain.drops || first_final(chain).is_some()
}

fn first_final(chain: &ForeignChain) -> Option<usize> {
    chain.rules.iter().position(|rule| rule.role == Role::Final)
}

/// The place of the last rule of other people's, if it lets nothing pass.
fn last_if_final(chain: &ForeignChain) -> Option<usize> {
    let other = |rule: &ForeignRule| !matches!(rule.role, Role::Ours(_));
    let last = chain.rules.iter().rposition(other)?;
    (chain.rules[last].role == Role::Final).then_some(last)
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
