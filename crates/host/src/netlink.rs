//! One netlink socket, synchronous: batches of messages with one answer for all, single questions, dumps.
//!
//! The kernel works off a batch inside `send` (netlink(7); kernel documentation, "Introduction to Netlink"), so every answer
//! is queued when it returns: only the last message asks for an acknowledgement ([`netlink_packet_core::NLM_F_ACK`]), an
//! error comes unasked, and one `recv` tells that all is well. Both rtnetlink and nf_tables keep to this. An answer that
//! does not come all the same is an error, never success.
//! What is read is handed to the caller as [`Raw`]: a deserialiser of every message type would cost the plugin a third of
//! a megabyte. Nothing here knows what a message means.

mod answer;
mod batch;
mod channel;

pub(crate) use answer::notices;
pub use answer::{Failure, Raw, attributes};
pub use batch::Batch;

use crate::Error;
use answer::{failure, messages, raw};
use channel::{Channel, NOW, PATIENCE, Received};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader, NetlinkSerializable,
};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Protocol of links, addresses, routes and neighbours.
pub const ROUTE: isize = netlink_sys::protocols::NETLINK_ROUTE;
/// Protocol of nftables and connection tracking.
pub const NETFILTER: isize = netlink_sys::protocols::NETLINK_NETFILTER;

/// What a dump's part is at most: the kernel fills what the reader has space for. Only an object that is longer by itself comes
/// in a longer one.
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
/// How often a question is asked again whose answer was lost.
const QUESTIONS: usize = 8;

/// Length of `nlmsghdr`.
const HEADER: usize = 16;

/// A netlink socket of the network namespace in which it was opened, whatever namespace the thread is in later.
#[derive(Debug)]
pub struct Socket {
    channel: Channel,
    sequence: u32,
}

/// What became of a list.
enum Listed {
    Whole,
    /// It changed while it was read.
    Moved,
    /// A part of it was lost.
    Lost(Error),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Socket {
    /// Opens a socket for [`ROUTE`] or [`NETFILTER`].
    ///
    /// # Errors
    /// The kernel gives no such socket, or is older than 4.20.
    pub fn open(protocol: isize) -> Result<Self, Error> {
        Ok(Self {
            channel: Channel::open(protocol, ANSWER_BUFFER)?,
            sequence: 1,
        })
    }

    /// The socket's port: the kernel's notifications about what this socket changed carry it.
    ///
    /// # Errors
    /// The kernel gives the socket no address.
    pub fn port(&mut self) -> Result<u32, Error> {
        self.channel.port()
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
        self.channel.send(&batch.bytes)?;
        let last = batch.len() - 1;
        let mut failed = Vec::new();
        let mut answered = false;
        while !answered {
            // Of a transaction that it refuses nf_tables acknowledges nothing: its errors are all that there is.
            let refused = self.channel.protocol() == NETFILTER && !failed.is_empty();
            match self
                .channel
                .receive(if refused { &NOW } else { &PATIENCE })?
            {
                Received::Whole => {}
                Received::Nothing if refused => break,
                Received::Nothing => return Err(self.channel.silent()),
                Received::Lost(error) => return Err(error),
            }
            for (header, body) in messages(self.channel.datagram()) {
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
        let mut question = question(message, 0);
        let sequence = self.answered(operation, &mut question)?;
        decode(self.answer(operation, sequence)?).ok_or_else(|| unreadable(operation))
    }

    /// Asks until the answer is in the buffer, and says its number. Whatever is still queued of an earlier question is passed
    /// over.
    fn answered(&mut self, operation: &str, question: &mut Batch) -> Result<u32, Error> {
        let mut lost = 0;
        'again: loop {
            let sequence = self.ask(question)?;
            loop {
                match self.channel.receive(&PATIENCE)? {
                    Received::Whole => {}
                    Received::Nothing => return Err(self.channel.silent().within(operation)),
                    Received::Lost(error) if lost == QUESTIONS => {
                        return Err(error.within(operation));
                    }
                    Received::Lost(_) => {
                        lost += 1;
                        continue 'again;
                    }
                }
                let mut all = messages(self.channel.datagram());
                if all.any(|(header, body)| is_answer(&header, body, sequence)) {
                    return Ok(sequence);
                }
            }
        }
    }

    /// The answer in the buffer.
    fn answer(&self, operation: &str, sequence: u32) -> Result<Raw<'_>, Error> {
        let mut all = messages(self.channel.datagram());
        let (header, body) = all
            .find(|(header, body)| is_answer(header, body, sequence))
            .ok_or_else(|| unreadable(operation))?;
        if header.message_type != NLMSG_ERROR {
            return Ok(raw(&header, body));
        }
        Err(match failure(0, &header, body) {
            Some(failure) => failure.of(operation),
            None => unreadable(operation),
        })
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
        let mut found = Vec::new();
        self.list(
            operation,
            &mut question(message, NLM_F_DUMP),
            &mut |part| match part {
                Some(raw) => found.extend(decode(raw)),
                None => found.clear(),
            },
        )?;
        Ok(found)
    }

    /// Reads a list until it stood still. `see` gets each part, and nothing where it begins anew.
    fn list(
        &mut self,
        operation: &str,
        question: &mut Batch,
        see: &mut dyn FnMut(Option<Raw<'_>>),
    ) -> Result<(), Error> {
        let deadline = Instant::now() + DUMP_DEADLINE;
        let mut asked = 0;
        loop {
            see(None);
            let why = match self.list_once(operation, question, see)? {
                Listed::Whole => return Ok(()),
                Listed::Moved => {
                    Error::because(operation, "the list changed each time that it was read")
                }
                Listed::Lost(error) => {
                    asked += 1;
                    error.within(operation)
                }
            };
            if asked > QUESTIONS || Instant::now() > deadline {
                return Err(why);
            }
        }
    }

    /// Reads a list once.
    fn list_once(
        &mut self,
        operation: &str,
        question: &mut Batch,
        see: &mut dyn FnMut(Option<Raw<'_>>),
    ) -> Result<Listed, Error> {
        self.channel.make_space(DUMP_BUFFER);
        self.channel.be_strict()?;
        let sequence = self.ask(question)?;
        let mut still = true;
        loop {
            match self.channel.receive(&PATIENCE)? {
                Received::Whole => {}
                Received::Nothing => return Err(self.channel.silent().within(operation)),
                Received::Lost(error) => return Ok(Listed::Lost(error)),
            }
            for (header, body) in messages(self.channel.datagram()) {
                if header.sequence_number != sequence {
                    continue;
                }
                still &= header.flags & NLM_F_DUMP_INTR == 0;
                match header.message_type {
                    NLMSG_ERROR | NLMSG_DONE => {
                        return match failure(0, &header, body) {
                            Some(failure) => Err(failure.of(operation)),
                            None if still => Ok(Listed::Whole),
                            None => Ok(Listed::Moved),
                        };
                    }
                    _ => see(Some(raw(&header, body))),
                }
            }
        }
    }

    fn ask(&mut self, question: &mut Batch) -> Result<u32, Error> {
        let sequence = self.number(1);
        question.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.channel.send(&question.bytes)?;
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
}

fn question(message: &impl NetlinkSerializable, flags: u16) -> Batch {
    let mut question = Batch::new();
    question.push(message, flags);
    question
}

fn unreadable(operation: &str) -> Error {
    Error::because(operation, "the answer cannot be read")
}

/// Whether a message is what was asked for, or the refusal; an acknowledgement alone is neither.
fn is_answer(header: &NetlinkHeader, body: &[u8], sequence: u32) -> bool {
    header.sequence_number == sequence
        && (header.message_type != NLMSG_ERROR || failure(0, header, body).is_some())
}

#[cfg(any(test, fuzzing))]
/// For [`crate::heard`].
pub(crate) fn read_all(datagram: &[u8]) {
    for (header, body) in messages(datagram) {
        drop(failure(0, &header, body));
    }
}

fn name(protocol: isize) -> &'static str {
    match protocol {
        ROUTE => "rtnetlink",
        NETFILTER => "nfnetlink",
        _ => "netlink",
    }
}
