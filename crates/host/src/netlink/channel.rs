//! Datagrams to the kernel and from it, whatever befalls a single call.
//!
//! Follows netlink(7). A call that is interrupted, or that has nothing although something came, is made again, so many times
//! and no more; an answer is waited for by poll(2), and a second at most: the kernel works a request off inside `send`, and
//! what it says is there when that returns. A datagram that was too long for the buffer, or for which the kernel had no
//! memory (ENOBUFS), is told as lost, and with it whatever else was queued; what that means is the caller's business.

use super::name;
use crate::Error;
use netlink_sys::SocketAddr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

/// How long an answer may be in coming.
pub(super) const PATIENCE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// For what is there already, or not at all.
pub(super) const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// How often a call is made again.
const TRIES: usize = 64;
/// So much is taken out of a queue that is to be emptied, and no more: a list of a hundred thousand links is shorter.
const QUEUED: usize = 10_000;

const MSG_TRUNC: i32 = 0x20;
const MSG_DONTWAIT: i32 = 0x40;

/// What became of the next datagram.
pub(super) enum Received {
    /// It is in the buffer.
    Whole,
    /// There is none.
    Nothing,
    /// It is gone, and so is all that was queued. If it was too long, the buffer has space for such a one now.
    Lost(Error),
}

#[derive(Debug)]
pub(super) struct Channel {
    inner: netlink_sys::Socket,
    protocol: isize,
    buffer: Vec<u8>,
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Channel {
    pub(super) fn open(protocol: isize, space: usize) -> Result<Self, Error> {
        let open = || {
            let inner = netlink_sys::Socket::new(protocol)?;
            inner.set_ext_ack(true)?;
            inner.set_cap_ack(true)?;
            Ok(inner)
        };
        let inner =
            open().map_err(|error| Error::io(format!("open {} socket", name(protocol)), &error))?;
        Ok(Self {
            inner,
            protocol,
            buffer: Vec::with_capacity(space),
        })
    }

    pub(super) fn port(&mut self) -> Result<u32, Error> {
        let mut address = SocketAddr::new(0, 0);
        self.inner
            .get_address(&mut address)
            .and_then(|()| match address.port_number() {
                // Nothing was sent yet, so the kernel has not chosen one.
                0 => Ok(self.inner.bind_auto()?.port_number()),
                port => Ok(port),
            })
            .map_err(|error| self.broken("bind", &error))
    }

    pub(super) fn protocol(&self) -> isize {
        self.protocol
    }

    /// The datagram that was received last.
    pub(super) fn datagram(&self) -> &[u8] {
        &self.buffer
    }

    pub(super) fn make_space(&mut self, space: usize) {
        self.buffer.clear();
        self.buffer.reserve(space);
    }

    /// Lets the kernel be strict about what a question says; only a dump's filter needs that.
    pub(super) fn be_strict(&self) -> Result<(), Error> {
        self.inner
            .set_netlink_get_strict_chk(true)
            .map_err(|error| self.broken("set up", &error))
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut last = None;
        for _ in 0..TRIES {
            match self.inner.send_to(bytes, &SocketAddr::new(0, 0), 0) {
                Ok(_) => return Ok(()),
                Err(error) if is_passing(&error) => last = Some(error),
                Err(error) => return Err(self.broken("send to", &error)),
            }
        }
        Err(self.given_up("send to", last))
    }

    /// Takes the next datagram, which may be so long in coming.
    pub(super) fn receive(&mut self, patience: &Timespec) -> Result<Received, Error> {
        let mut last = None;
        for _ in 0..TRIES {
            self.buffer.clear();
            let flags = MSG_DONTWAIT | MSG_TRUNC;
            match self.inner.recv(&mut self.buffer, flags) {
                Ok(length) if length > self.buffer.len() => {
                    self.empty();
                    self.make_space(length);
                    let reason = format!("an answer of {length} bytes was too long");
                    let operation = format!("read from {}", name(self.protocol));
                    return Ok(Received::Lost(Error::because(operation, reason)));
                }
                Ok(_) => return Ok(Received::Whole),
                Err(error) if is_passing(&error) => {
                    if error.kind() == ErrorKind::WouldBlock && !self.comes(patience)? {
                        return Ok(Received::Nothing);
                    }
                    last = Some(error);
                }
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                    self.empty();
                    return Ok(Received::Lost(self.broken("read from", &error)));
                }
                Err(error) => return Err(self.broken("read from", &error)),
            }
        }
        Err(self.given_up("read from", last))
    }

    /// Takes out whatever is queued. A socket that has overflowed gets nothing more until then, and the kernel goes on with a
    /// list only as it is read.
    fn empty(&mut self) {
        for _ in 0..QUEUED {
            self.buffer.clear();
            let taken = self.inner.recv(&mut self.buffer, MSG_DONTWAIT);
            if taken.is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                break;
            }
        }
        self.buffer.clear();
    }

    /// Waits; false if nothing comes.
    fn comes(&self, patience: &Timespec) -> Result<bool, Error> {
        match poll(&mut [PollFd::new(self, PollFlags::IN)], Some(patience)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR | Errno::AGAIN) => Ok(true),
            Err(errno) => Err(Error::new(
                format!("wait for {}", name(self.protocol)),
                errno,
            )),
        }
    }

    /// The error of a question to which nothing came.
    pub(super) fn silent(&self) -> Error {
        let operation = format!("read from {}", name(self.protocol));
        Error::because(operation, "the kernel does not answer")
    }

    fn broken(&self, doing: &str, error: &io::Error) -> Error {
        Error::io(format!("{doing} {}", name(self.protocol)), error)
    }

    fn given_up(&self, doing: &str, last: Option<io::Error>) -> Error {
        match last {
            Some(error) => self.broken(doing, &error),
            None => self.silent(),
        }
    }
}

/// Whether the same call may succeed the next time.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}
