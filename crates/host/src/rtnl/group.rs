//! Groups of links: a number that a link bears, by which many are removed with one request.
//!
//! Follows rtnetlink(7), `IFLA_GROUP`. Whatever bears the number in this network namespace goes, so a number must be one that
//! nobody else uses.

use super::{Rtnl, encode};
use crate::Error;
use crate::netlink::Batch;
use model::name::IfName;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use rustix::io::Errno;
use std::num::NonZeroU32;

impl Rtnl {
    /// Puts a link into a group. One that is gone is fine.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn put_in_group(&mut self, name: &IfName, group: NonZeroU32) -> Result<(), Error> {
        let mut message = encode::named(name);
        message.attributes.push(LinkAttribute::Group(group.get()));
        let message = RouteNetlinkMessage::NewLink(message);
        let operation = format!("put link {name} into group {group}");
        match self.order(&operation, &message) {
            Err(error) if error.is_gone() => Ok(()),
            other => other,
        }
    }

    /// Removes all links of a group. One that has no members, or one with a member of hardware, is left as it is.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn remove_group(&mut self, group: NonZeroU32) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Group(group.get()));
        let message = RouteNetlinkMessage::DelLink(message);
        match self.order(&format!("delete the links of group {group}"), &message) {
            Err(error) if error.is_gone() || error.errno() == Some(Errno::OPNOTSUPP) => Ok(()),
            other => other,
        }
    }

    fn order(&mut self, operation: &str, message: &RouteNetlinkMessage) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.push(message, 0);
        match self.socket.exchange(batch)?.pop() {
            Some(failure) => Err(failure.of(operation)),
            None => Ok(()),
        }
    }
}
