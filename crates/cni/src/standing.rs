//! What an earlier ADD of the same attachment left: whether it is what is wanted now, and all of it stands.
//!
//! Then a second ADD gets the same answer. Nothing is changed here.

use crate::add::Want;
use crate::answer::kernel;
use crate::check;
use crate::del::node_end;
use host::netns::Netns;
use host::rtnl::Rtnl;
use host::store::Held;
use model::attachment::Attachment;
use model::cni::CniError;
use plan::ipam;
use std::net::IpAddr;

/// The record that is there, if it is of the same namespace and everything that it says is true.
pub(crate) fn standing(
    held: &Held<'_>,
    (wanted, want): (&Attachment, &Want),
    netns: &Netns,
    rtnl: &mut Rtnl,
) -> Result<Option<Attachment>, CniError> {
    let same = |record: &&Attachment| is_same(record, wanted, want);
    let Some(record) = held.record().filter(same) else {
        return Ok(None);
    };
    if is_going(record, rtnl)? {
        return Ok(None);
    }
    let differences = check::differences(record, netns, rtnl)?;
    // The path is the runtime's word for the namespace, and it is part of the answer.
    Ok(differences.is_empty().then(|| Attachment {
        netns: wanted.netns.clone(),
        ..record.clone()
    }))
}

/// Whether a DEL that was killed has put the link among those that go next: then anybody's DEL may take it along.
fn is_going(record: &Attachment, rtnl: &mut Rtnl) -> Result<bool, CniError> {
    let link = rtnl.link(&node_end(&record.key)?);
    let link = link.map_err(|error| kernel(&error))?;
    Ok(link.is_some_and(|link| link.group != 0))
}

/// Whether the record is of the same namespace and says what is wanted now.
fn is_same(record: &Attachment, wanted: &Attachment, Want { network, asked }: &Want) -> bool {
    let has = |ip: &IpAddr| record.addresses.iter().any(|address| address.ip == *ip);
    let mut bridged = record.bridged.clone();
    if let (Some(was), Some(now)) = (&mut bridged, &network.bridged)
        && was.ipam.is_some()
    {
        // These came from the plugin that gave the addresses.
        was.routes.clone_from(&now.routes);
        was.dns.clone_from(&now.dns);
    }
    let ipam = network.ipam.as_ref();
    let fits = ipam.is_none_or(|it| ipam::fits(&record.addresses, &it.sets, &it.asked));
    (record.inode, &record.mode, &record.ports) == (wanted.inode, &wanted.mode, &wanted.ports)
        && (record.mac, record.bandwidth) == (wanted.mac, wanted.bandwidth)
        && asked.ips.iter().all(has)
        && fits
        && bridged == network.bridged
}
