//! One netlink socket, synchronous: batches of messages with one answer for all, single questions, dumps.
//!
//! The kernel works off a batch inside `send` (netlink(7); kernel documentation, "Introduction to Netlink"), so every answer
//! is queued when it returns: only the last message asks for an acknowledgement ([`netlink_packet_core::NLM_F_ACK`]), an
//! error comes unasked, and one `recv` tells that all is well. Both rtnetlink and nf_tables keep to this.
//! What is read is handed to the caller as [`Raw`]: a deserialiser of every message type would cost the plugin a third of
//! a megabyte. Nothing here knows what a message means.

mod answer;
mod batch;

pub(crate) use answer::notices;
pub use answer::{Failure, Raw, attributes};
pub use batch::Batch;

use crate::Error;
use answer::{failure, messages, raw};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkSerializable,
};
use netlink_sys::SocketAddr;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Protocol of links, addresses, routes and neighbours.
pub const ROUTE: isize = netlink_sys::protocols::NETLINK_ROUTE;
/// Protocol of nftables and connection tracking.
pub const NETFILTER: isize = netlink_sys::protocols::NETLINK_NETFILTER;

/// What a dump's part is at most; the kernel never sends more at once than the reader has space for.
const DUMP_BUFFER: usize = 32 << 10;
/// Space for an answer to a single question or for an acknowledgement.
const ANSWER_BUFFER: usize = 4 << 10;
/// A batch larger than this needs a larger send buffer than the kernel's default of 208 KiB, which counts overhead too.
const PLAIN_SEND: usize = 96 << 10;
/// More errors than this in one batch overflow the default receive buffer.
const PLAIN_ANSWERS: usize = 200;
/// How much of a receive buffer one error takes, with the kernel's overhead.
const ANSWER_COST: usize = 2 << 10;
/// For how long a dump that other people's changes interrupt is begun anew.
const DUMP_DEADLINE: Duration = Duration::from_secs(2);

/// Length of `nlmsghdr`.
const HEADER: usize = 16;
const MSG_DONTWAIT: i32 = 0x40;
const MSG_TRUNC: i32 = 0x20;

/// A netlink socket of the network namespace in which it was opened, whatever namespace the thread is in later.
#[derive(Debug)]
pub struct Socket {
    inner: netlink_sys::Socket,
    protocol: isize,
    sequence: u32,
    buffer: Vec<u8>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Socket {
    /// Opens a socket for [`ROUTE`] or [`NETFILTER`].
    ///
    /// # Errors
    /// The kernel gives no such socket, or is older than 4.20.
    pub fn open(protocol: isize) -> Result<Self, Error> {
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
            sequence: 1,
            buffer: Vec::with_capacity(ANSWER_BUFFER),
        })
    }

    /// The socket's port: the kernel's notifications about what this socket changed carry it.
    ///
    /// # Errors
    /// The kernel gives the socket no address.
    pub fn port(&mut self) -> Result<u32, Error> {
        let mut address = SocketAddr::new(0, 0);
        self.inner
            .get_address(&mut address)
            .and_then(|()| match address.port_number() {
                // Nothing was sent yet, so the kernel has not chosen one.
                0 => Ok(self.inner.bind_auto()?.port_number()),
                port => Ok(port),
            })
            .map_err(|error| Error::io(format!("bind {} socket", name(self.protocol)), &error))
    }

    /// Sends a batch and collects what failed, in the batch's order.
    ///
    /// # Errors
    /// The batch could not be sent, or answers were lost; what the kernel did is unknown then.
    pub fn exchange(&mut self, mut batch: Batch) -> Result<Vec<Failure>, Error> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let first = self.number(batch.len());
        batch.seal(first);
        self.make_space(&batch);
        self.send(&batch.bytes)?;
        let last = batch.len() - 1;
        let mut failed = Vec::new();
        let mut answered = false;
        while !answered && self.receive(MSG_DONTWAIT)? {
            for (header, body) in messages(&self.buffer) {
                let message = header.sequence_number.wrapping_sub(first) as usize;
                if header.message_type != NLMSG_ERROR || message > last {
                    continue;
                }
                answered |= message == last;
                failed.extend(failure(message, &header, body));
            }
        }
        Ok(failed)
    }

    /// Asks a question with one answer. `flags` are those besides `NLM_F_REQUEST`.
    ///
    /// # Errors
    /// The kernel's refusal, as the error of `operation` (what does not exist: [`Error::is_gone`]), or an answer that
    /// `decode` does not understand.
    pub fn get<T>(
        &mut self,
        operation: &str,
        message: &impl NetlinkSerializable,
        decode: impl FnOnce(Raw<'_>) -> Option<T>,
    ) -> Result<T, Error> {
        let sequence = self.ask(message, 0)?;
        loop {
            self.receive(0)?;
            for (header, body) in messages(&self.buffer) {
                if header.sequence_number != sequence {
                    continue;
                }
                if header.message_type == NLMSG_ERROR {
                    if let Some(failure) = failure(0, &header, body) {
                        return Err(failure.of(operation));
                    }
                    continue;
                }
                return decode(raw(&header, body))
                    .ok_or_else(|| Error::because(operation, "the answer cannot be read"));
            }
        }
    }

    /// Reads a whole list; `decode` picks what matters out of each message. A list that changed while it was read is read
    /// again, for two seconds at most.
    ///
    /// # Errors
    /// The kernel's refusal, as the error of `operation`, or a list that never stood still.
    pub fn dump<T>(
        &mut self,
        operation: &str,
        message: &impl NetlinkSerializable,
        mut decode: impl FnMut(Raw<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let deadline = Instant::now() + DUMP_DEADLINE;
        loop {
            let mut found = Vec::new();
            let still = self.dump_once(operation, message, &mut |raw| found.extend(decode(raw)))?;
            if still {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(Error::because(
                    operation,
                    "the list changed each time that it was read",
                ));
            }
        }
    }

    /// Reads a list once; says whether it stood still meanwhile.
    fn dump_once(
        &mut self,
        operation: &str,
        message: &impl NetlinkSerializable,
        see: &mut dyn FnMut(Raw<'_>),
    ) -> Result<bool, Error> {
        self.buffer.clear();
        self.buffer.reserve(DUMP_BUFFER);
        // Only a dump has a filter to be strict about.
        self.inner
            .set_netlink_get_strict_chk(true)
            .map_err(|error| self.broken("set up", &error))?;
        let sequence = self.ask(message, NLM_F_DUMP)?;
        let mut still = true;
        loop {
            self.receive(0)?;
            for (header, body) in messages(&self.buffer) {
                if header.sequence_number != sequence {
                    continue;
                }
                still &= header.flags & NLM_F_DUMP_INTR == 0;
                match header.message_type {
                    NLMSG_ERROR | NLMSG_DONE => {
                        return match failure(0, &header, body) {
                            Some(failure) => Err(failure.of(operation)),
                            None => Ok(still),
                        };
                    }
                    _ => see(raw(&header, body)),
                }
            }
        }
    }

    fn ask(&mut self, message: &impl NetlinkSerializable, flags: u16) -> Result<u32, Error> {
        let mut batch = Batch::new();
        batch.push(message, flags);
        let sequence = self.number(1);
        batch.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.send(&batch.bytes)?;
        Ok(sequence)
    }

    /// The first of `count` numbers for messages.
    fn number(&mut self, count: usize) -> u32 {
        let first = self.sequence;
        self.sequence = first.wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
        first
    }

    /// Large batches need more than the default buffers. In a user namespace the kernel gives only as much as
    /// `net.core.wmem_max` allows; where that is too little, the exchange itself tells.
    fn make_space(&self, batch: &Batch) {
        if batch.bytes.len() > PLAIN_SEND {
            let size = batch.bytes.len() * 2;
            let _refused = rustix::net::sockopt::set_socket_send_buffer_size_force(self, size)
                .or_else(|_| rustix::net::sockopt::set_socket_send_buffer_size(self, size));
        }
        if batch.len() > PLAIN_ANSWERS {
            let size = batch.len() * ANSWER_COST;
            let _refused = rustix::net::sockopt::set_socket_recv_buffer_size_force(self, size);
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        loop {
            match self.inner.send_to(bytes, &SocketAddr::new(0, 0), 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken("send to", &error)),
            }
        }
    }

    /// Fills the buffer with the next datagram; false if there is none and `flags` say not to wait.
    fn receive(&mut self, flags: i32) -> Result<bool, Error> {
        loop {
            self.buffer.clear();
            match self.inner.recv(&mut self.buffer, flags | MSG_TRUNC) {
                Ok(length) if length > self.buffer.len() => {
                    let reason = format!("an answer of {length} bytes");
                    let operation = format!("read from {}", name(self.protocol));
                    return Err(Error::because(operation, reason));
                }
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(self.broken("read from", &error)),
            }
        }
    }

    fn broken(&self, doing: &str, error: &std::io::Error) -> Error {
        Error::io(format!("{doing} {}", name(self.protocol)), error)
    }
}

fn name(protocol: isize) -> &'static str {
    match protocol {
        ROUTE => "rtnetlink",
        NETFILTER => "nfnetlink",
        _ => "netlink",
    }
}
