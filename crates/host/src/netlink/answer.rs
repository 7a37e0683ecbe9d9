//! Messages as they come from the kernel, and its refusals.
//!
//! Follows netlink(7) and, for the kernel's own words, the kernel documentation "Extended ACK".

use super::HEADER;
use crate::Error;
use netlink_packet_core::{
    NLA_TYPE_MASK, NLM_F_ACK_TLVS, NLMSG_ERROR, NetlinkDeserializable, NetlinkHeader,
};
use rustix::io::Errno;

/// A message of a batch that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its place in the batch.
    pub message: usize,
    /// The error number.
    pub errno: Errno,
    /// The kernel's own words; often empty.
    pub kernel: String,
    /// Where in the message the attribute stands that displeased, if the kernel says so.
    pub offset: Option<u32>,
}

impl Failure {
    /// The failure as the error of `operation`.
    #[must_use]
    pub fn of(self, operation: impl Into<String>) -> Error {
        Error::new(operation, self.errno).kernel(self.kernel)
    }
}

/// A message as it was received.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// Its type.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// What follows its netlink header: the family's own header, then the attributes.
    pub body: &'a [u8],
}

impl<'a> Raw<'a> {
    /// The message through the crates' typed deserialiser; none if that does not understand it.
    #[must_use]
    pub fn parse<T: NetlinkDeserializable>(&self) -> Option<T> {
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(HEADER + self.body.len()).ok()?;
        header.message_type = self.kind;
        header.flags = self.flags;
        T::deserialize(&header, self.body).ok()
    }

    /// The attributes behind a family header of `header` bytes: type without its flag bits, and value.
    pub fn attributes(
        &self,
        header: usize,
    ) -> impl Iterator<Item = (u16, &'a [u8])> + Clone + use<'a> {
        attributes(self.body.get(header..).unwrap_or_default())
    }
}

/// The attributes in `bytes`: type without its flag bits, and value. Ends where something is no attribute. By hand, because the
/// crate's readers say in words what they refuse, which nobody would read here, and that is a page of the plugin.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> + Clone {
    let mut rest = bytes;
    std::iter::from_fn(move || attribute(&mut rest))
}

fn attribute<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let [short, long, low, high] = *rest.first_chunk()?;
    let length = usize::from(u16::from_ne_bytes([short, long]));
    let value = rest.get(4..length)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((u16::from_ne_bytes([low, high]) & NLA_TYPE_MASK, value))
}

pub(super) fn raw<'a>(header: &NetlinkHeader, body: &'a [u8]) -> Raw<'a> {
    Raw {
        kind: header.message_type,
        flags: header.flags,
        body,
    }
}

/// The messages of a notification, each with its port: that of the socket through which the change was made, 0 if the
/// kernel itself made it.
pub(crate) fn notices(datagram: &[u8]) -> impl Iterator<Item = (u32, Raw<'_>)> {
    messages(datagram).map(|(header, body)| (header.port_number, raw(&header, body)))
}

/// The messages of a datagram.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = (NetlinkHeader, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || message(&mut rest))
}

fn message<'a>(rest: &mut &'a [u8]) -> Option<(NetlinkHeader, &'a [u8])> {
    let four = |at: usize| Some(u32::from_ne_bytes(*rest.get(at..)?.first_chunk()?));
    let two = |at: usize| Some(u16::from_ne_bytes(*rest.get(at..)?.first_chunk()?));
    let mut header = NetlinkHeader::default();
    header.length = four(0)?;
    header.message_type = two(4)?;
    header.flags = two(6)?;
    header.sequence_number = four(8)?;
    header.port_number = four(12)?;
    let length = usize::try_from(header.length).ok()?;
    let body = rest.get(HEADER..length)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((header, body))
}

/// Reads `nlmsgerr`, or the number in `NLMSG_DONE`; none if all went well.
pub(super) fn failure(message: usize, header: &NetlinkHeader, body: &[u8]) -> Option<Failure> {
    const WORDS: u16 = 1;
    const OFFSET: u16 = 2;
    let errno = match body.first_chunk().map(|four| i32::from_ne_bytes(*four)) {
        Some(0..) => return None,
        Some(code @ -4095..0) => Errno::from_raw_os_error(-code),
        // Half an answer is none that can be taken for success.
        Some(_) | None => Errno::BADMSG,
    };
    let mut failure = Failure {
        message,
        errno,
        kernel: String::new(),
        offset: None,
    };
    if header.flags & NLM_F_ACK_TLVS != 0 {
        // NETLINK_CAP_ACK: of the refused message only its header stands before the attributes.
        let start = if header.message_type == NLMSG_ERROR {
            size_of::<i32>() + HEADER
        } else {
            size_of::<i32>()
        };
        for (kind, value) in attributes(body.get(start..).unwrap_or_default()) {
            match kind {
                WORDS => {
                    let text = value.strip_suffix(&[0]).unwrap_or(value);
                    failure.kernel = String::from_utf8_lossy(text).into_owned();
                }
                OFFSET => failure.offset = value.first_chunk().map(|b| u32::from_ne_bytes(*b)),
                _ => {}
            }
        }
    }
    Some(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_error_and_one_that_no_kernel_has_are_no_success() {
        let mut header = NetlinkHeader::default();
        header.message_type = NLMSG_ERROR;
        let errno = |body: &[u8]| failure(0, &header, body).map(|failure| failure.errno);
        assert_eq!(errno(&0_i32.to_ne_bytes()), None);
        assert_eq!(errno(&(-17_i32).to_ne_bytes()), Some(Errno::EXIST));
        assert_eq!(errno(&[1, 0]), Some(Errno::BADMSG));
        assert_eq!(errno(&[]), Some(Errno::BADMSG));
        for code in [-70_000, i32::MIN] {
            assert_eq!(errno(&i32::to_ne_bytes(code)), Some(Errno::BADMSG));
        }
    }
}
