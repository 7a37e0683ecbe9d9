//! Waiting until something is so in a place, by the kernel's own notifications.
//!
//! A condition is looked at again whenever a link, an address, a route, a neighbour, a forwarding switch or an nftables
//! object has changed, or something happened in the folders of the named files. It never polls. See rtnetlink(7),
//! inotify(7); multicast groups from `linux/rtnetlink.h` and `linux/netfilter/nfnetlink.h`.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use netlink_sys::Socket;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::place::Place;

/// Links, neighbours, addresses, routes and forwarding switches of both families.
const ROUTE_GROUPS: [u32; 8] = [1, 3, 5, 7, 9, 11, 24, 25];
/// `NFNLGRP_NFTABLES`.
const NFTABLES_GROUPS: [u32; 1] = [7];
const MSG_DONTWAIT: i32 = 0x40;

/// Waits until the condition gives a value; it is looked at inside the place, at first and after each event.
///
/// # Errors
/// When the deadline comes first, with what was waited for; and when the condition fails.
pub fn until<T: Send>(
    place: &Place,
    what: &str,
    files: &[&str],
    within: Duration,
    mut condition: impl FnMut() -> Result<Option<T>> + Send,
) -> Result<T> {
    place.attempt(|| {
        let deadline = Instant::now() + within;
        let mut ears = Ears::open()?;
        loop {
            ears.watch(files)?;
            if let Some(value) = condition().with_context(|| format!("wait for {what}"))? {
                return Ok(value);
            }
            if !ears.hear(deadline)? {
                bail!("{what}: not so within {within:?}");
            }
        }
    })
}

struct Ears {
    netlink: [Socket; 2],
    files: OwnedFd,
}

impl Ears {
    fn open() -> Result<Self> {
        Ok(Self {
            netlink: [
                subscribe(NETLINK_ROUTE, &ROUTE_GROUPS)?,
                subscribe(NETLINK_NETFILTER, &NFTABLES_GROUPS)?,
            ],
            files: inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
                .context("open inotify")?,
        })
    }

    /// Watches the folders of the files; where one is missing, the nearest one above it. One that comes between the look for it
    /// and the watch above it is found by the next look.
    fn watch(&self, files: &[&str]) -> Result<()> {
        use inotify::WatchFlags as Flags;
        let events = Flags::CREATE
            | Flags::DELETE
            | Flags::MOVED_TO
            | Flags::MOVED_FROM
            | Flags::CLOSE_WRITE
            | Flags::MODIFY;
        for file in files {
            let nearest = || {
                let mut folders = Path::new(file).ancestors().skip(1);
                folders
                    .position(|folder| inotify::add_watch(&self.files, folder, events).is_ok())
                    .with_context(|| format!("no folder of {file} can be watched"))
            };
            let mut before = nearest()?;
            loop {
                let now = nearest()?;
                if now == before {
                    break;
                }
                before = now;
            }
        }
        Ok(())
    }

    /// Waits for an event and forgets it; false when the deadline comes first.
    fn hear(&mut self, deadline: Instant) -> Result<bool> {
        let rest = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(rest).context("a deadline")?;
        let mut fds = [
            PollFd::new(&self.netlink[0], PollFlags::IN),
            PollFd::new(&self.netlink[1], PollFlags::IN),
            PollFd::new(&self.files, PollFlags::IN),
        ];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for an event"),
        }
        // What an event says does not matter, and neither does that some were lost: the condition looks by itself.
        for socket in &mut self.netlink {
            while socket
                .recv(&mut Vec::with_capacity(64 << 10), MSG_DONTWAIT)
                .is_ok()
            {}
        }
        let mut buffer = [0; 16 << 10];
        while rustix::io::read(&self.files, &mut buffer).is_ok_and(|length| length > 0) {}
        Ok(true)
    }
}

fn subscribe(protocol: isize, groups: &[u32]) -> Result<Socket> {
    let mut socket = Socket::new(protocol).context("open a netlink socket")?;
    // Without a port of its own a socket gets no events.
    socket.bind_auto().context("bind a netlink socket")?;
    for &group in groups {
        socket
            .add_membership(group)
            .with_context(|| format!("listen to netlink group {group}"))?;
    }
    Ok(socket)
}
