//! Host ports: what an attachment's port maps become in our table, and the rules that read them.
//!
//! Two maps a family: ports at one address of the node, and ports at all of them. Both are asked only for packets to this
//! node, and not for the addresses of Services that stand on one of its links: an ingress on 443 must not take the API
//! server's. Every element names its owner, so that nobody's DEL removes what is another's.

mod lead;

pub(crate) use lead::{chains, guard, masquerade};

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use model::addr::{Family, host_prefix};
use model::attachment::{Attachment, Key, Mode};
use model::change::Change;
use model::firewall::{Element, Elements, Owner, Place, Published, Set};
use model::name::IfName;
use model::net::Sysctl;
use model::ports::{Flows, PortMap, Protocol};
use model::state::HostState;

/// Links that hold the addresses of Services: kube-proxy's in mode IPVS, and the DNS server of the node.
const SERVICE_LINKS: [&str; 2] = ["kube-ipvs0", "nodelocaldns"];

/// The sets whose elements have owners.
fn owned() -> impl Iterator<Item = Set> {
    Set::ALL.into_iter().filter(|set| set.is_owned())
}

/// What an attachment has in our table.
#[must_use]
pub fn elements(attachment: &Attachment) -> Elements {
    let owner = attachment.key.owner();
    let mut elements = Elements::new();
    for address in &attachment.addresses {
        let family = Family::of(address.ip);
        let mut put = |set, element| elements.entry(set).or_default().insert(element);
        if attachment.bridged.as_ref().is_some_and(|it| it.masquerade) {
            put(
                Set::Masqueraded(family),
                Element::Pod(address.ip, owner.clone()),
            );
        }
        let all = attachment
            .bridged
            .as_ref()
            .is_some_and(|it| it.masquerade_all);
        if all && attachment.ports.iter().any(|map| map.serves(family)) {
            put(
                Set::MasqueradedTo(family),
                Element::Pod(address.ip, owner.clone()),
            );
        }
        for map in attachment.ports.iter().filter(|map| map.serves(family)) {
            let set = match map.at() {
                Some(_) => Set::PortsAt(family),
                None => Set::Ports(family),
            };
            put(
                set,
                Element::Port(Published {
                    at: map.at(),
                    protocol: map.protocol,
                    port: map.host_port,
                    pod: SocketAddr::new(address.ip, map.container_port),
                    owner: owner.clone(),
                }),
            );
            put(
                Set::Hairpin(family),
                Element::Pair(address.ip, owner.clone()),
            );
        }
    }
    elements
}

/// What all these attachments have in our table. Where two want one place, and a record whose ADD failed may say so, it is
/// his who stands there, else his who was there first.
#[must_use]
pub fn all(publishing: &[Attachment], held: &Elements) -> Elements {
    let mut by_age: Vec<&Attachment> = publishing.iter().collect();
    by_age.sort_by_key(|attachment| (attachment.born, &attachment.key));
    let mut places: BTreeMap<(Set, Place), Element> = BTreeMap::new();
    for attachment in by_age {
        for (set, new) in elements(attachment) {
            for element in new {
                let Some(place) = element.place() else {
                    continue;
                };
                let stands = held.get(&set).is_some_and(|held| held.contains(&element));
                if stands || !places.contains_key(&(set, place)) {
                    places.insert((set, place), element);
                }
            }
        }
    }
    gathered(places)
}

/// What is held, and whatever these attachments lack: for a caller who does not know every attachment.
#[must_use]
pub fn kept(publishing: &[Attachment], held: &Elements) -> Elements {
    let mut places = BTreeMap::new();
    for elements in [&all(publishing, held), held] {
        for set in owned() {
            for element in elements.get(&set).into_iter().flatten() {
                if let Some(place) = element.place() {
                    places.insert((set, place), element.clone());
                }
            }
        }
    }
    gathered(places)
}

fn gathered(places: BTreeMap<(Set, Place), Element>) -> Elements {
    let mut elements = Elements::new();
    for ((set, _), element) in places {
        elements.entry(set).or_default().insert(element);
    }
    elements
}

/// A host port that another one has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is taken by {holder}")]
pub struct Taken {
    /// The port, such as `host port 8080/tcp`.
    pub what: String,
    /// Whose it is.
    pub holder: Owner,
}

/// Changes that publish an attachment's ports: its elements, as far as they are not among those that were `found` in their
/// places, then the flows that the ports shall have from now on.
///
/// # Errors
/// Another one has a place.
pub fn publish(attachment: &Attachment, found: &Elements) -> Result<Vec<Change>, Taken> {
    let owner = attachment.key.owner();
    let wanted = elements(attachment);
    let mut changes = Vec::new();
    for (set, wanted) in &wanted {
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        for element in wanted {
            let mut stands = found.get(set).into_iter().flatten();
            match stands.find(|stands| stands.place() == element.place()) {
                Some(stands) if stands == element => continue,
                Some(stands) if stands.owner() == Some(&owner) => gone.push(stands.clone()),
                Some(stands) => return Err(taken(stands)),
                None => {}
            }
            new.push(element.clone());
        }
        if !gone.is_empty() {
            changes.push(Change::RemoveElements(*set, gone));
        }
        if !new.is_empty() {
            changes.push(Change::AddElements(*set, new));
        }
    }
    changes.extend(flows(&wanted, false));
    Ok(changes)
}

fn taken(stands: &Element) -> Taken {
    let what = match stands {
        Element::Port(port) => {
            let map = PortMap {
                host_port: port.port,
                container_port: port.pod.port(),
                protocol: port.protocol,
                host_ip: port.at,
            };
            format!("host port {map}")
        }
        Element::Net(_) | Element::Interface(_) | Element::Pair(..) | Element::Pod(..) => {
            format!("element {stands}")
        }
    };
    let holder = stands.owner().cloned();
    Taken {
        what,
        holder: holder.unwrap_or_else(|| Owner::named("")),
    }
}

/// What of the elements is this owner's.
#[must_use]
pub fn of(owner: &Owner, found: &Elements) -> Elements {
    let mut ours = Elements::new();
    for set in owned() {
        for element in found.get(&set).into_iter().flatten() {
            if element.owner() == Some(owner) {
                ours.entry(set).or_default().insert(element.clone());
            }
        }
    }
    ours
}

/// Changes that withdraw this attachment's ports: whatever of what was found is its own, and the flows that were led to it. Where
/// a record has named its [`elements`], also the flows of those that a DEL which was killed has withdrawn already are forgotten;
/// of a broken record nothing is known but what was found.
#[must_use]
pub fn withdraw(key: &Key, named: Option<&Elements>, found: &Elements) -> Vec<Change> {
    let ours = of(&key.owner(), found);
    let led = flows(named.unwrap_or(&ours), true);
    let gone = ours.into_iter();
    gone.map(|(set, elements)| Change::RemoveElements(set, elements.into_iter().collect()))
        .chain(led)
        .collect()
}

/// Changes that make the kernel forget the flows of UDP through these ports: those that lead to the pod (`led`), or those
/// from before the port was the pod's, which lead nowhere. Each has its own peer and would never be looked at again.
#[must_use]
pub fn flows(elements: &Elements, led: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    for element in owned().filter_map(|set| elements.get(&set)).flatten() {
        if let Element::Port(port) = element
            && port.protocol == Protocol::Udp
        {
            changes.push(Change::ForgetFlows(Flows {
                family: Family::of(port.pod.ip()),
                at: port.at,
                port: port.port,
                led: led.then_some(port.pod),
            }));
        }
    }
    changes
}

/// The ports of `want` that are not in `have`.
#[must_use]
pub fn new(want: &Elements, have: Option<&Elements>) -> Elements {
    let mut new = Elements::new();
    for set in owned() {
        let held = have.and_then(|have| have.get(&set));
        let lacks = |element: &&Element| held.is_none_or(|held| !held.contains(element));
        for element in want.get(&set).into_iter().flatten().filter(lacks) {
            new.entry(set).or_default().insert(element.clone());
        }
    }
    new
}

/// The sysctl without which no packet from 127.0.0.1 reaches the pod; none if no port of it is there. The rule that
/// keeps pods off the node's loopback must stand before it is set.
#[must_use]
pub fn localnet(attachment: &Attachment, node_end: &IfName) -> Option<Sysctl> {
    let v4 = |ip: IpAddr| Family::of(ip) == Family::V4;
    let has = attachment.addresses.iter().any(|address| v4(address.ip));
    let mut maps = attachment.ports.iter();
    let asks = maps.any(|map| map.serves(Family::V4) && map.at().is_none_or(|ip| ip.is_loopback()));
    let dev = match &attachment.mode {
        Mode::Routed => node_end,
        // Packets leave through the bridge; its ports have no IP of their own.
        Mode::Bridge(bridge) => bridge,
        Mode::Chained(way) => way,
        Mode::Leased => return None,
    };
    (has && asks).then(|| Sysctl {
        key: format!("ipv4/conf/{dev}/route_localnet"),
        value: "1".into(),
    })
}

/// What lacks or is another's of what an attachment should have in our table, each in one sentence.
#[must_use]
pub fn differences(attachment: &Attachment, found: &Elements) -> Vec<String> {
    let mut differences = Vec::new();
    for (set, wanted) in elements(attachment) {
        for element in wanted {
            let stands = found
                .get(&set)
                .into_iter()
                .flatten()
                .find(|stands| stands.place() == element.place());
            match stands {
                Some(stands) if *stands == element => {}
                Some(stands) => {
                    differences.push(format!("{set} has {stands} instead of {element}"));
                }
                None => differences.push(format!("{set} lacks {element}")),
            }
        }
    }
    differences
}

/// Addresses of Services on this node's links.
pub(crate) fn services(have: &HostState) -> impl Iterator<Item = (Set, Element)> + '_ {
    let on_them = have
        .addresses
        .iter()
        .filter(|address| SERVICE_LINKS.contains(&address.dev.as_str()));
    on_them.map(|address| {
        let ip = address.net.addr();
        (Set::Services(Family::of(ip)), Element::Net(host_prefix(ip)))
    })
}
