//! Reservations in the reference plugin's own files, under its own lock: `ipam.dataDir` of types `host-local` and `bridge`.
//!
//! What it does otherwise: GC removes what is not listed, and a DEL needs no ranges. The files say nothing of the life of the
//! kernel, so after a reboot GC is what frees those of dead pods. Without `dataDir` only what that plugin gave away before is
//! freed here.

use crate::addresses::{Part, Taken, reserver};
use crate::answer::state;
use crate::check;
use host::reserved::{self, Reservation, Reserved};
use host::store::{ROOT, Store};
use model::addr::PodRange;
use model::attachment::{Key, PodAddress};
use model::cni::{CniError, Code, Kind, Valid};
use model::name::NetworkName;
use plan::ipam;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// Files say when they were made by the second, so what is so much older than the call is older for sure.
const SURE: Duration = Duration::from_secs(2);

/// Where the files of the network are, if it is one that gives addresses as `host-local` does: ours, or, without `dataDir`, what
/// the reference plugin left there before this one took its place.
pub(crate) fn folder(conf: &Valid) -> Option<&Path> {
    let gives = conf.kind == Kind::HostLocal || conf.gives_as_host_local();
    gives.then(|| Path::new(conf.data_dir().unwrap_or(reserved::DEFAULT)))
}

/// The addresses that are in files. No lock is needed to see them.
pub(crate) fn given(
    folder: Option<&Path>,
    network: &NetworkName,
) -> Result<BTreeSet<IpAddr>, CniError> {
    let Some(folder) = folder else {
        return Ok(BTreeSet::new());
    };
    reserved::taken(folder, network).map_err(|error| state(&error))
}

/// Reserves an address of each part.
pub(crate) fn take(
    path: &Path,
    key: &Key,
    parts: &[Part<'_>],
) -> Result<Vec<PodAddress>, CniError> {
    let there = Reserved::open(path, &key.network).map_err(|error| state(&error))?;
    let all = there.all().map_err(|error| state(&error))?;
    let mut own = all
        .iter()
        .filter(|it| it.is_of(&key.container, &key.ifname));
    if let Some(own) = own.next() {
        return Err(twice(own.ip, key));
    }
    // Of a time when the network had no `dataDir`.
    let store = Store::existing(Path::new(ROOT), &key.network).map_err(|error| state(&error))?;
    let leases = store.as_ref().map(Store::leases).transpose();
    let mut taken = leases.map_err(|error| state(&error))?.unwrap_or_default();
    taken.extend(all.iter().map(|it| it.ip));
    let mut given = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let found = one(&there, key, (number, part), &all, &taken).and_then(|found| {
            found.ok_or_else(|| {
                let all = Taken {
                    network: &key.network,
                    store: store.as_ref(),
                    folder: Some(path),
                };
                all.exhausted(part)
            })
        });
        match found {
            Ok(address) => {
                taken.insert(address.ip);
                given.push(address);
            }
            Err(error) => {
                for address in &given {
                    there.release(address.ip).map_err(|error| state(&error))?;
                }
                return Err(error);
            }
        }
    }
    Ok(given)
}

/// An address of one part; none if all are taken.
fn one(
    there: &Reserved,
    key: &Key,
    (number, part): (usize, &Part<'_>),
    all: &[Reservation],
    taken: &BTreeSet<IpAddr>,
) -> Result<Option<PodAddress>, CniError> {
    let found = match part.wish {
        Some(wish) if taken.contains(&wish) => return Err(held(wish, all)),
        Some(wish) => Some(wish),
        None => {
            let ranges: Vec<PodRange> = part.ranges.iter().map(|range| **range).collect();
            ipam::free_in(&ranges, there.last(number), taken).map(|(ip, _)| ip)
        }
    };
    let Some(address) = found.and_then(|ip| part.offered(ip)) else {
        return Ok(None);
    };
    let reserved = there.reserve(address.ip, &key.container, &key.ifname);
    if !reserved.map_err(|error| state(&error))? {
        return Err(held(address.ip, all));
    }
    there.set_last(number, address.ip);
    Ok(Some(address))
}

/// Refuses an attachment that has a reservation and no record: somebody else's pod may live by it.
///
/// # Errors
/// Code 102, or the files cannot be read.
pub(crate) fn first(path: &Path, key: &Key) -> Result<(), CniError> {
    let all = reserved::look(path, &key.network).map_err(|error| state(&error))?;
    let own = all.iter().find(|it| it.is_of(&key.container, &key.ifname));
    own.map_or(Ok(()), |own| Err(twice(own.ip, key)))
}

/// Frees what an attachment without a record has, and says whether it had anything. One that has got a record meanwhile is
/// another ADD's, and so are its files.
///
/// # Errors
/// The files or the records cannot be read, or a file not be removed.
pub(crate) fn give_back(path: &Path, key: &Key) -> Result<bool, CniError> {
    let there = Reserved::existing(path, &key.network).map_err(|error| state(&error))?;
    let Some(there) = there else {
        return Ok(false);
    };
    let store = Store::existing(Path::new(ROOT), &key.network).map_err(|error| state(&error))?;
    let has = store.map(|store| store.has(key)).transpose();
    if has.map_err(|error| state(&error))? == Some(true) {
        return Ok(false);
    }
    there.release_all(key).map_err(|error| state(&error))
}

/// What the attachment lacks of its reservations.
pub(crate) fn lacking(
    path: &Path,
    key: &Key,
    addresses: Option<&[PodAddress]>,
) -> Result<Vec<String>, CniError> {
    let all = reserved::look(path, &key.network).map_err(|error| state(&error))?;
    let is_its = |it: &&Reservation| it.is_of(&key.container, &key.ifname);
    let own: BTreeSet<IpAddr> = all.iter().filter(is_its).map(|it| it.ip).collect();
    let is_whole = match addresses {
        Some(addresses) => addresses.iter().all(|address| own.contains(&address.ip)),
        None => !own.is_empty(),
    };
    if is_whole {
        return Ok(Vec::new());
    }
    let (container, ifname) = (&key.container, &key.ifname);
    let path = path.display();
    Ok(vec![format!(
        "no such address in {path} is reserved for container {container} as {ifname}"
    )])
}

/// As [`lacking`], for whoever knows no more than the key.
pub(crate) fn holds(path: &Path, key: &Key) -> Result<(), CniError> {
    match lacking(path, key, None)? {
        found if found.is_empty() => Ok(()),
        found => Err(check::different(&found)),
    }
}

/// Frees what the list does not have. `called` is when the process began.
pub(crate) fn collect(conf: &Valid, called: u64) -> Result<(), CniError> {
    let Some(path) = folder(conf) else {
        return Ok(());
    };
    let there = Reserved::existing(path, &conf.name).map_err(|error| state(&error))?;
    let Some(there) = there else {
        return Ok(());
    };
    // Only a clock that does not jump says how long ago the call began, and only that of files how old a file is.
    let ago = Duration::from_nanos(host::clock::boottime_ns().saturating_sub(called));
    let now = there.now().map_err(|error| state(&error))?;
    let before = now.checked_sub(ago + SURE);
    let listed = conf.attachments.as_deref().unwrap_or_default();
    // Whoever has a record works on it, or may be alive: its end gives the address back. A record is there before its file.
    let store = Store::existing(Path::new(ROOT), &conf.name).map_err(|error| state(&error))?;
    let recorded = store.as_ref().map(Store::attachments).transpose();
    let recorded = recorded.map_err(|error| state(&error))?.unwrap_or_default();
    for it in there.all().map_err(|error| state(&error))? {
        let is_listed = listed.iter().any(|(id, ifname)| it.is_of(id, ifname));
        if !is_listed
            && !is_recorded(&it, &recorded, conf)
            && before.is_some_and(|before| it.since < before)
        {
            there.release(it.ip).map_err(|error| state(&error))?;
        }
    }
    Ok(())
}

/// Whether an attachment has a record to which this may belong: the oldest files name no interface.
fn is_recorded(it: &Reservation, recorded: &[String], conf: &Valid) -> bool {
    match it.key(&conf.name) {
        Some(key) => recorded.contains(&key.file()),
        None => {
            let of_container = format!("{}@", it.holder.trim());
            recorded.iter().any(|name| name.starts_with(&of_container))
        }
    }
}

/// As the reference plugin has it, word for word: whoever keeps its files expects its answers.
fn twice(ip: IpAddr, key: &Key) -> CniError {
    let container = &key.container;
    let msg =
        format!("{ip} has been allocated to {container}, duplicate allocation is not allowed");
    CniError::new(Code::InTheWay, msg)
}

fn held(wish: IpAddr, all: &[Reservation]) -> CniError {
    let holder = all.iter().find(|it| it.ip == wish);
    let holder = holder.map_or_else(|| "somebody".into(), reserver);
    let msg = format!("address {wish} is asked for and is held by {holder}");
    CniError::new(Code::InTheWay, msg)
}
