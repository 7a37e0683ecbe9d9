//! One nf_tables message: netlink's type and flags, nfnetlink's header, attributes.
//!
//! Follows linux/netfilter/nfnetlink.h (`struct nfgenmsg`) and nf_tables.h (`enum nf_tables_msg_types`). The typed messages
//! of the netlink crates lack half of the expressions, and their decoders are most of a megabyte for the plugin; so this
//! and [`Attrs`] are all that Podwire has of nf_tables' encoding.

use super::attr::{Attrs, Read};
use super::number::*;
use crate::netlink::Raw;
use netlink_packet_core::NetlinkSerializable;

/// Length of `struct nfgenmsg`.
const NFGENMSG: usize = 4;

/// A message to the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Subsystem and message number.
    kind: u16,
    family: u8,
    resource: u16,
    pub(crate) attrs: Attrs,
}

impl Message {
    /// A message of `NFT_MSG_*` about a table of this family.
    pub(super) fn new(message: u16, family: u8) -> Self {
        Self::of(NFNL_SUBSYS_NFTABLES, message, family)
    }

    /// A message of any subsystem.
    pub(crate) fn of(subsystem: u16, message: u16, family: u8) -> Self {
        Self {
            kind: subsystem << 8 | message,
            family,
            resource: 0,
            attrs: Attrs::default(),
        }
    }

    /// The message that a transaction begins with; with a generation the kernel refuses it if the ruleset is another one.
    pub(super) fn begin(generation: Option<u32>) -> Self {
        let mut begin = Self::frame(NFNL_MSG_BATCH_BEGIN);
        if let Some(generation) = generation {
            begin.attrs.be32(NFNL_BATCH_GENID, generation);
        }
        begin
    }

    /// The message that commits a transaction.
    pub(super) fn end() -> Self {
        Self::frame(NFNL_MSG_BATCH_END)
    }

    fn frame(kind: u16) -> Self {
        Self {
            kind,
            family: NFPROTO_UNSPEC,
            resource: NFNL_SUBSYS_NFTABLES,
            attrs: Attrs::default(),
        }
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        NFGENMSG + self.attrs.bytes().len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        const NFNETLINK_V0: u8 = 0;
        let [high, low] = self.resource.to_be_bytes();
        buffer[..NFGENMSG].copy_from_slice(&[self.family, NFNETLINK_V0, high, low]);
        buffer[NFGENMSG..].copy_from_slice(self.attrs.bytes());
    }
}

/// What a received message says: the family of its table, and its attributes.
pub(crate) fn read(raw: Raw<'_>) -> Option<(u8, Read<'_>)> {
    let (header, attrs) = raw.body.split_at_checked(NFGENMSG)?;
    Some((header[0], Read(attrs)))
}
