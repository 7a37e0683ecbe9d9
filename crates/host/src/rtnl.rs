//! Links, addresses, routes and neighbours of one network namespace, through one rtnetlink socket.
//!
//! Follows rtnetlink(7) and the kernel documentation "Netlink specification rt-link, rt-addr, rt-route, rt-neigh". Changes
//! that do not need each other's result are sent together; the namespace is the one in which the socket was opened, so a
//! socket opened inside a pod works from outside. What to change is decided in `plan`.

mod decode;
mod encode;
mod group;
mod observe;
mod qdisc;
mod settle;

pub use decode::{LinkSeen, PeerSeen};
pub use observe::{LinkView, NodeView};
pub use settle::Settling;

use crate::netlink::{Batch, ROUTE, Socket};
use crate::{Error, Report};
use encode::Refusal;
use model::change::Change;
use model::name::IfName;
use model::net::LinkKind;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

/// Changes that are sent together at most: their errors fit the kernel's default receive buffer.
const BATCH: usize = 64;

/// An rtnetlink socket of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Rtnl {
    socket: Socket,
}

impl AsFd for Rtnl {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Rtnl {
    /// Opens a socket in the thread's network namespace.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::open(ROUTE)?,
        })
    }

    /// Applies changes in order and goes on after one that fails. `pod` is the network namespace in which the peers of
    /// veths are born.
    ///
    /// Removing what is gone and adding an address or a bridge that is there succeeds. A change that is not rtnetlink's
    /// business is reported as failed.
    pub fn apply(&mut self, changes: &[Change], pod: Option<BorrowedFd<'_>>) -> Report {
        let mut report = Report::default();
        for run in runs(changes) {
            self.apply_run(changes, run, pod, &mut report);
        }
        report
    }

    /// The socket's netlink port: notifications about this socket's own changes carry it.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn port(&mut self) -> Result<u32, Error> {
        self.socket.port()
    }

    fn apply_run(
        &mut self,
        changes: &[Change],
        run: Range<usize>,
        pod: Option<BorrowedFd<'_>>,
        report: &mut Report,
    ) {
        let mut links = Links::new(&self.socket);
        let mut batch = Batch::new();
        // Which change each message belongs to.
        let mut owners = Vec::new();
        let mut failed = BTreeMap::new();
        for place in run {
            let change = &changes[place];
            match encode::messages(change, &mut links, pod) {
                Ok(messages) => {
                    for (message, flags) in messages {
                        batch.push(&message, flags);
                        owners.push(place);
                    }
                }
                Err(refusal) => {
                    failed.insert(place, refusal.of(change));
                }
            }
        }
        match self.socket.exchange(batch) {
            Ok(failures) => {
                for failure in failures {
                    let place = owners[failure.message];
                    // What is there already is the usual case of an ADD: no words are made for it.
                    if is_fine(&changes[place], &Error::new("", failure.errno)) {
                        continue;
                    }
                    // Of a change's messages the first that fails says why.
                    failed
                        .entry(place)
                        .or_insert_with(|| failure.of(changes[place].to_string()));
                }
            }
            Err(error) => {
                for place in owners {
                    let named = error.clone().within(changes[place].to_string());
                    failed.entry(place).or_insert(named);
                }
            }
        }
        failed.retain(|place, error| !is_fine(&changes[*place], error));
        report.failed.extend(failed);
    }
}

/// For [`crate::heard`].
#[cfg(any(test, fuzzing))]
pub(crate) fn read_all(raw: crate::netlink::Raw<'_>) {
    drop((
        decode::link(raw),
        decode::address(raw),
        decode::routes(raw).len(),
    ));
    let _ = (
        decode::lookup(raw),
        decode::is_own(raw),
        decode::permanent(raw),
    );
    let _ = qdisc::tbf_of(raw, 1);
}

/// Whether a change has what it wanted although the kernel refused it.
fn is_fine(change: &Change, error: &Error) -> bool {
    let removes = matches!(
        change,
        Change::RemoveLink(_)
            | Change::RemoveAddress(_)
            | Change::RemoveRoute(_)
            | Change::RemoveNeighbour(_)
    );
    if let Change::AddLink(link) = change {
        return match link.kind {
            LinkKind::Bridge => error.is_there(),
            // Only the message that turns IPv6's own address off gets this answer: there is no IPv6 on the link.
            LinkKind::Veth { .. } => error.errno() == Some(Errno::AFNOSUPPORT),
        };
    }
    (removes && error.is_gone())
        || (matches!(change, Change::AddAddress(_) | Change::AskAddress(_)) && error.is_there())
}

/// Cuts the list where a change names a link that an earlier one of the same batch makes: its index is not known before.
fn runs(changes: &[Change]) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    let mut born: Vec<&IfName> = Vec::new();
    for (place, change) in changes.iter().enumerate() {
        let waits = encode::needs(change).is_some_and(|name| born.contains(&name));
        if waits || place - start == BATCH {
            runs.push(start..place);
            start = place;
            born.clear();
        }
        if let Change::AddLink(link) = change {
            born.push(&link.name);
        }
    }
    if start < changes.len() {
        runs.push(start..changes.len());
    }
    runs
}

/// Indices of links by name, asked for once per batch.
struct Links<'a> {
    socket: &'a Socket,
    known: BTreeMap<IfName, u32>,
}

impl<'a> Links<'a> {
    fn new(socket: &'a Socket) -> Self {
        Self {
            socket,
            known: BTreeMap::new(),
        }
    }

    fn index(&mut self, name: &IfName) -> Result<u32, Refusal> {
        if let Some(index) = self.known.get(name) {
            return Ok(*index);
        }
        let index = rustix::net::netdevice::name_to_index(self.socket, name.as_str())
            .map_err(Refusal::NoLink)?;
        self.known.insert(name.clone(), index);
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::addr::Mac;
    use model::net::{Link, Peer, Route, Target};

    fn name(text: &str) -> IfName {
        IfName::new(text).unwrap()
    }

    fn veth(host: &str) -> Change {
        Change::AddLink(Link {
            name: name(host),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            mtu: None,
            kind: LinkKind::Veth {
                peer: Peer {
                    name: name("eth0"),
                    mac: Mac([2, 0, 0, 0, 0, 2]),
                },
                alias: String::new(),
                port: None,
            },
        })
    }

    fn route(dev: &str) -> Change {
        Change::AddRoute(Route {
            dst: "10.244.0.2/32".parse().unwrap(),
            target: Target::Dev(name(dev)),
            src: None,
        })
    }

    #[test]
    fn one_pod_is_two_batches_and_a_list_without_new_links_is_one() {
        let changes = [veth("pw0"), route("pw0"), route("pw0")];
        assert_eq!(runs(&changes), [0..1, 1..3]);
        assert_eq!(runs(&changes[1..]).len(), 1);
        assert_eq!(runs(&[]), []);
    }

    #[test]
    fn a_link_that_nobody_names_waits_for_nothing() {
        assert_eq!(runs(&[veth("pw0"), veth("pw1"), route("lo")]).len(), 1);
    }

    #[test]
    fn a_long_list_is_sent_in_parts() {
        let many: Vec<Change> = (0..BATCH * 2 + 1).map(|_| route("lo")).collect();
        assert_eq!(runs(&many).len(), 3);
    }
}
