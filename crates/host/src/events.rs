//! That something changed: links, addresses, routes, forwarding, or the ruleset.
//!
//! Follows netlink(7), rtnetlink(7) and linux/netfilter/nfnetlink.h. Only that it changed is told, not what: whoever hears
//! it observes anew, which is right also after the kernel dropped notifications (ENOBUFS). Changes made through sockets
//! whose ports are known are not told: one's own work is no news.

use crate::Error;
use netlink_sys::Socket;
use rustix::io::Errno;
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

/// Sockets that hear what changes in the network namespace in which they were opened.
#[derive(Debug)]
pub struct Events {
    route: Socket,
    nftables: Socket,
    buffer: Vec<u8>,
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
    pub fn drain(&mut self, own: &[Port]) -> Result<bool, Error> {
        let route = drain(&self.route, &mut self.buffer, |port| {
            own.contains(&Port::Route(port))
        });
        let nftables = drain(&self.nftables, &mut self.buffer, |port| {
            own.contains(&Port::Nftables(port))
        });
        let heard = |result: io::Result<bool>, what| {
            result.map_err(|error| Error::io(format!("listen to {what}"), &error))
        };
        Ok(heard(route, "links and routes")? | heard(nftables, "the ruleset")?)
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

fn drain(socket: &Socket, buffer: &mut Vec<u8>, own: impl Fn(u32) -> bool) -> io::Result<bool> {
    let mut changed = false;
    loop {
        buffer.clear();
        match socket.recv(buffer, MSG_TRUNC) {
            // Too long to be read, hence to be told apart.
            Ok(length) if length > buffer.len() => changed = true,
            Ok(_) => changed |= crate::netlink::ports(buffer).any(|port| !own(port)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(changed),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => changed = true,
            Err(error) => return Err(error),
        }
    }
}
