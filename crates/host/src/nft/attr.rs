//! Netlink attributes as nfnetlink has them: numbers in network order, texts with a terminator, nests flagged.
//!
//! Follows linux/netlink.h (`struct nlattr`). The writer builds in place, so that a nest costs no second buffer; the reader
//! ends at the first malformed attribute instead of failing, because what others put into the kernel is not ours to judge.

use crate::netlink::attributes;
use netlink_packet_core::{NLA_ALIGNTO, NLA_F_NESTED};

/// A list of attributes under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attrs(Vec<u8>);

impl Attrs {
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let start = self.open(kind);
        self.0.extend_from_slice(value);
        self.close(start);
        self
    }

    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    pub(crate) fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let start = self.open(kind);
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(0);
        self.close(start);
        self
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.open(kind | NLA_F_NESTED);
        fill(self);
        self.close(start);
        self
    }

    /// Puts a nest whose content is there already.
    pub(crate) fn nested(&mut self, kind: u16, content: &[u8]) -> &mut Self {
        self.put(kind | NLA_F_NESTED, content)
    }

    /// Puts another list behind this one.
    pub(crate) fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    /// Writes the length that is known by now, and pads; the padding does not count.
    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.0.len() - start)
            .expect("long lists are cut into messages long before 64 KiB");
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(NLA_ALIGNTO), 0);
    }
}

/// Attributes to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read<'a>(pub(crate) &'a [u8]);

impl<'a> Read<'a> {
    /// Every attribute's number and value, in order.
    pub(crate) fn each(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        attributes(self.0)
    }

    /// The value of the first attribute of this number.
    pub(crate) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.each()
            .find(|(k, _)| *k == kind)
            .map(|(_, value)| value)
    }

    pub(crate) fn nested(self, kind: u16) -> Option<Self> {
        self.get(kind).map(Self)
    }

    pub(crate) fn be32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    pub(crate) fn be64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A text up to its terminator; what is not UTF-8 is shown as such.
    pub(crate) fn text(self, kind: u16) -> Option<String> {
        self.get(kind).map(text)
    }
}

/// Bytes up to the first zero, as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Looks up a comment among the type-length-value triples of nftables' user data, where every object has its own number.
pub(crate) fn comment(udata: &[u8], kind: u8) -> Option<String> {
    let mut rest = udata;
    while let [k, len, tail @ ..] = rest {
        let value = tail.get(..usize::from(*len))?;
        if *k == kind {
            return Some(text(value));
        }
        rest = &tail[value.len()..];
    }
    None
}

/// A comment as user data; cut to what nft(8) itself allows.
pub(crate) fn udata(kind: u8, comment: &str) -> Vec<u8> {
    const NFTNL_UDATA_COMMENT_MAXLEN: usize = 128;
    let text = &comment[..comment.floor_char_boundary(NFTNL_UDATA_COMMENT_MAXLEN - 1)];
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    let mut bytes = vec![kind, length];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut attrs = Attrs::default();
        attrs.text(1, "odd").nest(2, |inner| {
            inner.be32(7, 9).put(8, &[1, 2, 3]);
        });
        assert_eq!(attrs.bytes().len() % 4, 0);
        let read = Read(attrs.bytes());
        assert_eq!(read.text(1).as_deref(), Some("odd"));
        assert_eq!(read.nested(2).and_then(|r| r.be32(7)), Some(9));
        assert_eq!(read.nested(2).and_then(|r| r.get(8)), Some(&[1, 2, 3][..]));
    }

    #[test]
    fn garbage_ends_a_list_without_a_panic() {
        assert_eq!(Read(&[200, 0, 1, 0, 1]).each().count(), 0);
        assert_eq!(Read(&[0, 0, 0, 0]).each().count(), 0);
        assert_eq!(comment(&[1, 200, 3], 0), None);
        assert_eq!(
            comment(&[5, 1, 9, 0, 3, b'a', b'b', 0], 0).as_deref(),
            Some("ab")
        );
    }

    #[test]
    fn a_long_comment_is_cut_between_characters() {
        let bytes = udata(0, &"ä".repeat(100));
        assert_eq!(comment(&bytes, 0), Some("ä".repeat(63)));
    }
}
