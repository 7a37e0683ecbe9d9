//! Waits until the kernel has asked whether somebody else has an address (RFC 4862, section 5.4).
//!
//! The kernel tells the group of IPv6 addresses when it has finished with one, whether it is a duplicate or not. What it tells is
//! only the sign to look: a notification may be lost, and the address be settled before anybody listens.

use super::{Rtnl, decode};
use crate::Error;
use model::name::IfName;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_sys::Socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// `RTNLGRP_IPV6_IFADDR`.
const GROUP: u32 = 9;

/// Hears of addresses in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Settling {
    news: Socket,
}

impl Settling {
    /// Begins to listen. To be done before the addresses are added.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn open() -> Result<Self, Error> {
        let open = || {
            let mut news = Socket::new(netlink_sys::protocols::NETLINK_ROUTE)?;
            news.bind_auto()?;
            news.add_membership(GROUP)?;
            news.set_non_blocking(true)?;
            Ok(news)
        };
        let news = open().map_err(|error| Error::io("listen to addresses", &error))?;
        Ok(Self { news })
    }

    /// Waits until these addresses of the link can be used.
    ///
    /// # Errors
    /// Another node of the link has one ([`Error::is_there`]), or the kernel has not found out within that time.
    pub fn wait(
        &self,
        rtnl: &mut Rtnl,
        name: &IfName,
        addresses: &[IpAddr],
        within: Duration,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + within;
        loop {
            let mut pending = Vec::new();
            for (ip, detection) in rtnl.detections(name)? {
                match detection {
                    _ if !addresses.contains(&ip) => {}
                    Detection::Duplicate => {
                        let operation = format!(
                            "use {ip} on {name} (duplicate detection found another node that has it)"
                        );
                        return Err(Error::new(operation, Errno::EXIST));
                    }
                    Detection::Pending => pending.push(ip.to_string()),
                    Detection::Over => {}
                }
            }
            if pending.is_empty() {
                return Ok(());
            }
            let operation = || {
                let pending = pending.join(" and ");
                format!("wait for duplicate detection of {pending} on {name}")
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left)
                .map_err(|_| Error::because(operation(), "no such time"))?;
            let mut fds = [PollFd::new(&self.news, PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Ok(0) => {
                    let why = format!("it is not over after {} s", within.as_secs());
                    return Err(Error::because(operation(), why));
                }
                Ok(_) | Err(Errno::INTR) => self.drain(),
                Err(errno) => return Err(Error::new(operation(), errno)),
            }
        }
    }

    fn drain(&self) {
        let mut buffer = Vec::with_capacity(4096);
        // Also after a loss (ENOBUFS) there may be more.
        while self.news.recv(&mut buffer, 0).is_ok() {
            buffer.clear();
        }
    }
}

/// What the kernel knows of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detection {
    Pending,
    Duplicate,
    Over,
}

impl Rtnl {
    fn detections(&mut self, name: &IfName) -> Result<Vec<(IpAddr, Detection)>, Error> {
        let Some(link) = self.link(name)? else {
            return Ok(Vec::new());
        };
        let mut message = AddressMessage::default();
        message.header.index = link.index;
        let message = RouteNetlinkMessage::GetAddress(message);
        self.socket.dump("list addresses", &message, |raw| {
            let (index, net) = decode::address(raw)?;
            (index == link.index).then_some((net.addr(), decode::detection(raw)?))
        })
    }
}
