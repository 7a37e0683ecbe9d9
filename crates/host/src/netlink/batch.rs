//! Messages on their way to the kernel.
//!
//! Follows netlink(7): each message is padded to four bytes and numbered; the number comes back in its answer.

use super::HEADER;
use netlink_packet_core::{
    Emitable as _, NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkSerializable,
};

/// Messages that are sent together. What they mean together is the protocol's business: rtnetlink goes on after a failed
/// message, nf_tables takes all or nothing (with its begin and end messages, which are messages like others here).
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Batch {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message and returns its place, which a [`super::Failure`] names. `NLM_F_REQUEST` is set here; the acknowledgement
    /// is asked for by [`super::Socket::exchange`].
    ///
    /// No attribute may be longer than 65,535 bytes: the encoder panics.
    pub fn push(&mut self, message: &impl NetlinkSerializable, flags: u16) -> usize {
        self.starts.push(self.bytes.len());
        encode(&mut self.bytes, message, flags | NLM_F_REQUEST);
        self.starts.len() - 1
    }

    /// How many messages it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Numbers the messages from `first` on and lets the last one ask for an acknowledgement.
    pub(super) fn seal(&mut self, first: u32) {
        for (start, sequence) in self.starts.iter().zip(first..) {
            self.bytes[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
        }
        if let Some(last) = self.starts.last() {
            let flags = u16::from_ne_bytes([self.bytes[last + 6], self.bytes[last + 7]]);
            self.bytes[last + 6..last + 8].copy_from_slice(&(flags | NLM_F_ACK).to_ne_bytes());
        }
    }
}

/// Puts one message, padded to four bytes, behind `bytes`.
fn encode(bytes: &mut Vec<u8>, message: &impl NetlinkSerializable, flags: u16) {
    let (start, length) = (bytes.len(), HEADER + message.buffer_len());
    bytes.resize(start + length.next_multiple_of(4), 0);
    let mut header = NetlinkHeader::default();
    // No message comes near 4 GiB; the kernel would refuse a wrong length.
    header.length = u32::try_from(length).unwrap_or(u32::MAX);
    header.message_type = message.message_type();
    header.flags = flags;
    header.emit(&mut bytes[start..]);
    message.serialize(&mut bytes[start + HEADER..start + length]);
}
