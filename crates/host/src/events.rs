//! That something changed: links, addresses, routes, forwarding, or the ruleset.
//!
//! Follows netlink(7), rtnetlink(7) and linux/netfilter/nfnetlink.h. Only that it changed is told, not what: whoever hears
//! it observes anew, which is right also after the kernel dropped notifications (ENOBUFS). Changes made through sockets
//! whose ports are known are not told: one's own work is no news. What moves nobody's way is told apart, because some of it
//! happens all the time: what becomes of pods' links.

use crate::Error;
use crate::netlink::{Raw, notices};
use model::net::is_pod_link;
use netlink_sys::Socket;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

/// `RTNLGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE`, `_IPV4_NETCONF`, `_IPV6_NETCONF`. The last
/// two tell of forwarding and of the reverse path filter; no other event does.
const ROUTE_GROUPS: [u32; 7] = [1, 5, 7, 9, 11, 24, 25];
/// `NFNLGRP_NFTABLES`.
const NFTABLES_GROUPS: [u32; 1] = [7];

/// Longest notification that is looked into.
const BUFFER: usize = 16 << 10;
const MSG_TRUNC: i32 = 0x20;

/// The port of one of one's own sockets. Each protocol counts its ports for itself: another program's rtnetlink socket may
/// have the number of our nftables socket (in containers both are often 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Of an rtnetlink socket.
    Route(u32),
    /// Of an nftables socket.
    Nftables(u32),
}

/// What was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Something changed.
    pub news: bool,
    /// It may lead packets another way: it was more than a pod's link, forwarding, a filter or the ruleset.
    pub ways: bool,
}

/// Sockets that hear what changes in the network namespace in which they were opened.
#[derive(Debug)]
pub struct Events {
    route: Socket,
    nftables: Socket,
    buffer: Vec<u8>,
    /// Indices of the pods' links that were heard of.
    pods: BTreeSet<u32>,
}

impl Events {
    /// Begins to listen; what changed before is not told.
    ///
    /// # Errors
    /// The kernel gives no sockets.
    pub fn open() -> Result<Self, Error> {
        let listen = |protocol, groups: &[u32], what| {
            joined(protocol, groups).map_err(|e| Error::io(format!("listen to {what}"), &e))
        };
        use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
        Ok(Self {
            route: listen(NETLINK_ROUTE, &ROUTE_GROUPS, "links and routes")?,
            nftables: listen(NETLINK_NETFILTER, &NFTABLES_GROUPS, "the ruleset")?,
            buffer: Vec::with_capacity(BUFFER),
            pods: BTreeSet::new(),
        })
    }

    /// What to wait for: one of these becomes readable.
    #[must_use]
    pub fn as_fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.route.as_fd(), self.nftables.as_fd()]
    }

    /// Takes what is there, without waiting, and says whether anything changed that was not done through the sockets
    /// of `own`.
    ///
    /// # Errors
    /// A socket is broken.
    pub fn drain(&mut self, own: &[Port]) -> Result<Heard, Error> {
        let mut heard = Heard::default();
        let pods = &mut self.pods;
        let route = drain(&self.route, &mut self.buffer, |message| {
            // Learnt from one's own doing as well.
            let is_still = message.is_some_and(|(_, raw)| moves_no_way(&raw, pods));
            let is_own = message.is_some_and(|(port, _)| own.contains(&Port::Route(port)));
            heard.news |= !is_own;
            heard.ways |= !is_own && !is_still;
        });
        let nftables = drain(&self.nftables, &mut self.buffer, |message| {
            heard.news |= !message.is_some_and(|(port, _)| own.contains(&Port::Nftables(port)));
        });
        let failed = |what| move |error| Error::io(format!("listen to {what}"), &error);
        route.map_err(failed("links and routes"))?;
        nftables.map_err(failed("the ruleset"))?;
        Ok(heard)
    }
}

fn joined(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    // An unbound socket has port 0, and the kernel tells it nothing.
    socket.bind_auto()?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// Hands over each message with the port that it carries; none for what was lost or is too long to be read.
fn drain(
    socket: &Socket,
    buffer: &mut Vec<u8>,
    mut hear: impl FnMut(Option<(u32, Raw<'_>)>),
) -> io::Result<()> {
    loop {
        buffer.clear();
        match socket.recv(buffer, MSG_TRUNC) {
            Ok(length) if length > buffer.len() => hear(None),
            Ok(_) => notices(buffer).for_each(|message| hear(Some(message))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => hear(None),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(any(test, fuzzing))]
/// For [`crate::heard`].
pub(crate) fn read_all(raw: Raw<'_>) {
    let mut pods = BTreeSet::from([0, 1]);
    let _ = moves_no_way(&raw, &mut pods);
}

const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const DEL_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;
const NEW_CONF: u16 = 80;
const DEL_CONF: u16 = 81;

/// A name of an attribute, which ends with a zero.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()
}

/// Whether a message is about a pod's link, or about forwarding and filters only. A pod's link that comes or goes is noted.
/// See linux/rtnetlink.h.
fn moves_no_way(message: &Raw<'_>, pods: &mut BTreeSet<u32>) -> bool {
    const NAME: u16 = 3;
    const OUT: u16 = 4;
    let number = |bytes: &[u8]| bytes.first_chunk().map(|four| u32::from_ne_bytes(*four));
    // `ifinfomsg` and `ifaddrmsg` have it at the same place.
    let index = || message.body.get(4..).and_then(number);
    let attribute = |header: usize, wanted: u16| {
        let mut all = message.attributes(header);
        all.find_map(|(kind, value)| (kind == wanted).then_some(value))
    };
    let of = match message.kind {
        NEW_LINK | DEL_LINK => {
            let name = attribute(16, NAME);
            let is_pods = name.and_then(text).is_some_and(is_pod_link);
            if let Some(index) = index() {
                if is_pods && message.kind == NEW_LINK {
                    pods.insert(index);
                } else {
                    pods.remove(&index);
                }
            }
            return is_pods;
        }
        NEW_ADDRESS | DEL_ADDRESS => index(),
        NEW_ROUTE | DEL_ROUTE => attribute(12, OUT).and_then(number),
        NEW_CONF | DEL_CONF => return true,
        _ => None,
    };
    of.is_some_and(|index| pods.contains(&index))
}
