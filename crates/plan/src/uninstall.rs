//! A node without Podwire: what is to go, and what stays although it looks like ours.
//!
//! There is no pod any more. Changes come in the order of a retreat: first nothing new may come, the state folder goes last,
//! because it is what the rest is known by; so whatever breaks off is resumed by the next run. What somebody else may have
//! made or has changed since is left and told.

use crate::node::{IPV4_FORWARD, IPV6_FORWARD, earlier_ranges, on_lo};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use model::addr::Mac;
use model::change::Change;
use model::cni::Kind;
use model::firewall::{Element, Role, Set};
use model::name::IfName;
use model::net::{Former, Sysctl, Target};
use model::remains::Remains;
use model::state::{HostState, LinkState};
use model::status::Finding;

/// What is to be done, and what is to be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What takes Podwire off the node; nothing if it is off.
    pub changes: Vec<Change>,
    /// What stays.
    pub stays: Vec<Finding>,
}

/// The sysctls that have to be read before [`plan`].
#[must_use]
pub fn sysctls(remains: &Remains) -> Vec<String> {
    remains.former.iter().map(|it| it.key.clone()).collect()
}

/// What takes Podwire off a node on which no pod lives. Of `have` the changes of sysctls are left out if those are to stay.
#[must_use]
pub fn plan(have: &HostState, remains: &Remains, keep_sysctls: bool) -> Plan {
    let mut plan = Plan::default();
    configurations(remains, &mut plan);
    rules(have, &mut plan);
    plan.changes
        .extend(have.table.is_some().then_some(Change::RemoveTable));
    network(have, remains, &mut plan);
    bridges(have, &mut plan);
    if keep_sysctls {
        plan.stays.extend(kept(&remains.former, have));
    } else {
        former(&remains.former, have, &mut plan);
    }
    files(remains, &mut plan);
    plan.changes
        .extend(remains.run.clone().map(Change::RemoveFolder));
    plan
}

fn configurations(remains: &Remains, plan: &mut Plan) {
    for (path, kinds) in &remains.configurations {
        // Others may have chained their own plugin to ours in it.
        if *path == remains.conflist && kinds.contains(&Kind::Podwire) {
            plan.changes.push(Change::RemoveFile(path.clone()));
            continue;
        }
        let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        plan.stays.push(Finding {
            what: format!(
                "{path} is not the agent's and asks for {}",
                kinds.join(", ")
            ),
            hint: format!("no pod can start by it any more: rm {path}"),
        });
    }
}

/// Names of ours that configurations of any network ask for; a runtime calls `loopback` for each pod of whatever network.
const ANYBODYS: [&str; 4] = ["loopback", "bridge", "host-local", "portmap"];

/// The plugin under all its names, its log, and what was not finished. Another network may live by ours.
fn files(remains: &Remains, plan: &mut Plan) {
    let is_anybodys = |path: &str| {
        path.rsplit('/')
            .next()
            .is_some_and(|name| ANYBODYS.contains(&name))
    };
    for path in &remains.files {
        match remains.foreign.first() {
            Some(foreign) if is_anybodys(path) => plan.stays.push(Finding {
                what: format!("{path} is Podwire's, and pods of {foreign} may need it"),
                hint: format!("put another one in its place; if nobody needs it: rm {path}"),
            }),
            Some(_) | None => plan.changes.push(Change::RemoveFile(path.clone())),
        }
    }
}

/// Those of ours in other people's chains.
fn rules(have: &HostState, plan: &mut Plan) {
    for chain in &have.foreign {
        let ours = chain
            .rules
            .iter()
            .filter(|rule| matches!(rule.role, Role::Ours(_)));
        for rule in ours {
            if chain.owned {
                plan.stays.push(Finding {
                    what: format!("rule {} of chain {} is ours", rule.handle, chain.chain),
                    hint: "nobody can write it but the program that has made it its own".into(),
                });
            } else {
                let remove = Change::RemoveRule(chain.chain.clone(), rule.handle);
                plan.changes.push(remove);
            }
        }
    }
}

/// Routes, and the first address of each range on `lo`. What a range is remembered by goes last.
fn network(have: &HostState, remains: &Remains, plan: &mut Plan) {
    let remove = |route: &model::net::Route| Change::RemoveRoute(route.clone());
    let ends = |route: &&model::net::Route| route.target == Target::Unreachable;
    let ways = have.routes.iter().filter(|route| !ends(route));
    plan.changes.extend(ways.map(remove));
    let ranges = earlier_ranges(have).chain(remains.ranges.iter().copied());
    // A range that became wider has kept its first address.
    let own: BTreeSet<_> = ranges.map(|range| on_lo(range.gateway())).collect();
    let there = own
        .into_iter()
        .filter(|address| have.addresses.contains(address));
    plan.changes.extend(there.map(Change::RemoveAddress));
    plan.changes
        .extend(have.routes.iter().filter(ends).map(remove));
}

/// A bridge of ours has a MAC that is a function of an address on it.
fn bridges(have: &HostState, plan: &mut Plan) {
    for (name, link) in have.links.iter().filter(|(_, link)| link.bridge) {
        let ports = have
            .links
            .values()
            .filter(|port| port.master == Some(link.index));
        let ports = ports.count();
        let ours = is_ours(name, link, have);
        if ours && ports == 0 {
            plan.changes.push(Change::RemoveLink(name.clone()));
        } else if ours {
            plan.stays.push(Finding {
                what: format!("bridge {name} is Podwire's and has {ports} ports that are not"),
                hint: format!("when nobody needs it: ip link delete {name}"),
            });
        } else if was_used(name, have) {
            plan.stays.push(Finding {
                what: format!("bridge {name} was not made by Podwire"),
                hint: format!(
                    "its addresses may be those of pods' gateways: ip address show {name}"
                ),
            });
        }
    }
}

fn is_ours(name: &IfName, link: &LinkState, have: &HostState) -> bool {
    let mut own = have.addresses.iter().filter(|address| address.dev == *name);
    own.any(|address| link.mac == Some(Mac::of_gateway(address.net.addr())))
}

/// Whether pods of ours were on it.
fn was_used(name: &IfName, have: &HostState) -> bool {
    let table = have.table.as_ref();
    let held = table.and_then(|table| table.elements.get(&Set::Bridges));
    held.is_some_and(|held| held.contains(&Element::Interface(name.clone())))
}

/// Sysctls that hold the value that they were given are put back, the last one first.
fn former(former: &[Former], have: &HostState, plan: &mut Plan) {
    let mut back: BTreeSet<&str> = BTreeSet::new();
    for it in former.iter().rev() {
        let Some(now) = have.sysctls.get(&it.key).filter(|_| !goes(it, plan)) else {
            // Its link is gone, or will be by then.
            continue;
        };
        if follows(it, now, &back, former, have) || (it.was != it.set && *now == it.set) {
            back.insert(&it.key);
            plan.changes.push(Change::SetSysctl(Sysctl {
                key: it.key.clone(),
                value: it.was.clone(),
            }));
        } else if it.was != it.set && *now != it.was {
            plan.stays.push(Finding {
                what: format!(
                    "sysctl net/{} is {now}: somebody has set it since Podwire made it {}",
                    it.key, it.set
                ),
                hint: format!("before Podwire it was {}", it.was),
            });
        }
    }
}

/// Whether the link that it is a sysctl of is removed.
fn goes(it: &Former, plan: &Plan) -> bool {
    let is_of = |name: &IfName| it.key.contains(&format!("/conf/{name}/"));
    let mut changes = plan.changes.iter();
    changes.any(|change| matches!(change, Change::RemoveLink(name) if is_of(name)))
}

/// Whether it changes along with a switch that is put back, or was: then it has not its former value any more.
fn follows(
    it: &Former,
    now: &str,
    back: &BTreeSet<&str>,
    former: &[Former],
    have: &HostState,
) -> bool {
    let switch = if it.key.starts_with("ipv4/") {
        IPV4_FORWARD
    } else {
        IPV6_FORWARD
    };
    let was_put_back = || {
        let mut noted = former.iter().filter(|noted| noted.key == switch);
        noted.any(|noted| have.sysctls.get(switch) == Some(&noted.was))
    };
    it.was == it.set && (back.contains(switch) || (now != it.was && was_put_back()))
}

/// What is said of those that are not to be put back.
fn kept<'a>(former: &'a [Former], have: &'a HostState) -> impl Iterator<Item = Finding> + 'a {
    let changed = former.iter().filter(|it| it.was != it.set);
    let changed = changed
        .filter_map(|it| Some((it, have.sysctls.get(&it.key).filter(|now| **now != it.was)?)));
    changed.map(|(it, now)| Finding {
        what: format!("sysctl net/{} stays {now}", it.key),
        hint: format!("before Podwire it was {}", it.was),
    })
}
