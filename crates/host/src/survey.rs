//! What a node shows of its records, and of what could be left without one.
//!
//! It looks and judges nothing (`plan::reclaim` does). A record that shows itself whole, with its link or its namespace, is not
//! locked: no ADD, DEL or CHECK waits for a survey. Links are asked for after the records: what has a link has had a record
//! before.

use crate::error::Error;
use crate::mounts::{self, Mounts};
use crate::netns;
use crate::nft::Nft;
use crate::rtnl::Rtnl;
use crate::store::{Glance, Held, Store};
use model::attachment::Attachment;
use model::firewall::{Element, Owner};
use model::name::{IfName, NetworkName};
use model::reclaim::{Door, Folder, Sighting, Survey};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Everything of these networks; owners of host ports only if `nft` is given.
///
/// # Errors
/// The state folder or the kernel does not answer.
pub fn survey(stores: &[Store], rtnl: &mut Rtnl, nft: Option<&mut Nft>) -> Result<Survey, Error> {
    let mut failed = Vec::new();
    let seen = look(stores, rtnl, nft, &mut failed)?;
    failed.into_iter().next().map_or(Ok(seen), Err)
}

/// The same for whoever makes do with what can be seen: what of the state folder could not be looked at is added to `failed`,
/// and is not in the survey.
///
/// # Errors
/// The kernel does not answer.
pub fn look(
    stores: &[Store],
    rtnl: &mut Rtnl,
    nft: Option<&mut Nft>,
    failed: &mut Vec<Error>,
) -> Result<Survey, Error> {
    let here = netns::standpoint()?;
    let mounts = Mounts::read()?;
    let owners = owners(nft)?;
    let mut records = Vec::new();
    let mut leases = BTreeSet::new();
    for store in stores {
        let first = records.len();
        for file in keep(store.attachments(), failed).unwrap_or_default() {
            if let Some(record) = keep(store.peek(&file), failed) {
                records.push(sighting(store.network(), &file, record, &mounts));
            }
        }
        let orphans = unrecorded(store, &records[first..]);
        leases.extend(keep(orphans, failed).into_iter().flatten());
    }
    let links = links(rtnl)?;
    let mut closer = Vec::new();
    for sighting in records {
        if is_whole(&sighting, &links) {
            closer.push(sighting);
        } else {
            closer.extend(keep(look_closer(sighting, stores), failed).flatten());
        }
    }
    Ok(Survey {
        here,
        links,
        records: closer,
        leases,
        owners,
    })
}

fn keep<T>(looked: Result<T, Error>, failed: &mut Vec<Error>) -> Option<T> {
    looked.map_err(|error| failed.push(error)).ok()
}

/// The same of records whose locks the caller has: nothing changes any more.
///
/// # Errors
/// The kernel does not answer.
pub fn again(held: &[Held<'_>], rtnl: &mut Rtnl) -> Result<Survey, Error> {
    let mounts = Mounts::read()?;
    let sight =
        |held: &Held<'_>| sighting(held.network(), held.name(), held.record().cloned(), &mounts);
    Ok(Survey {
        here: netns::standpoint()?,
        records: held.iter().map(sight).collect(),
        links: links(rtnl)?,
        leases: BTreeSet::new(),
        owners: BTreeSet::new(),
    })
}

fn sighting(
    network: &NetworkName,
    file: &str,
    record: Option<Attachment>,
    mounts: &Mounts,
) -> Sighting {
    let path = record.as_ref().map(|record| mounts::here(&record.netns));
    let (door, folder) = match &path {
        Some(path) => (netns::door(path), mounts.folder(path)),
        None => (Door::Shut, Folder::Absent),
    };
    Sighting {
        network: network.clone(),
        file: file.to_owned(),
        record,
        busy: false,
        door,
        folder,
    }
}

/// What it is under its lock; none if it is gone by now.
fn look_closer(mut sighting: Sighting, stores: &[Store]) -> Result<Option<Sighting>, Error> {
    let mut stores = stores.iter();
    let Some(store) = stores.find(|store| *store.network() == sighting.network) else {
        return Ok(None);
    };
    match store.glance(&sighting.file)? {
        Glance::Gone => return Ok(None),
        Glance::Busy => sighting.busy = true,
        Glance::Says(record) => sighting.record = record.map(|record| *record),
    }
    Ok(Some(sighting))
}

fn is_whole(sighting: &Sighting, links: &BTreeMap<IfName, Option<String>>) -> bool {
    sighting.record.as_ref().is_some_and(|record| {
        let name = IfName::new(&record.key.host_interface());
        name.is_ok_and(|name| links.contains_key(&name))
            && sighting.door == Door::Namespace(record.inode)
    })
}

fn links(rtnl: &mut Rtnl) -> Result<BTreeMap<IfName, Option<String>>, Error> {
    let links = rtnl.links()?;
    Ok(links
        .into_iter()
        .map(|link| (link.name, link.alias))
        .collect())
}

/// Leases that no record has. Looked into only where the records do not name them all: each costs an open file.
fn unrecorded(
    store: &Store,
    records: &[Sighting],
) -> Result<BTreeSet<(NetworkName, IpAddr)>, Error> {
    let mut leases = store.leases()?;
    let named = records
        .iter()
        .filter_map(|sighting| sighting.record.as_ref());
    for address in named.flat_map(|record| &record.addresses) {
        leases.remove(&address.ip);
    }
    if leases.is_empty() {
        return Ok(BTreeSet::new());
    }
    let orphans = store.orphans()?.into_iter();
    Ok(orphans.map(|ip| (store.network().clone(), ip)).collect())
}

fn owners(nft: Option<&mut Nft>) -> Result<BTreeSet<Owner>, Error> {
    let table = match nft {
        Some(nft) => nft.table()?,
        None => None,
    };
    let elements = table.iter().flat_map(|table| table.elements.values());
    Ok(elements
        .flatten()
        .filter_map(Element::owner)
        .cloned()
        .collect())
}
