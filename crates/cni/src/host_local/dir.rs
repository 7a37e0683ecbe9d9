//! Type `host-local` with `dataDir`: reservations in the reference plugin's own files, under its own lock.
//!
//! What it does otherwise: a second ADD gets the same answer, GC removes what is not listed, STATUS counts, and a DEL needs no
//! ranges. The files say nothing of the life of the kernel, so after a reboot GC is what frees those of dead pods.

use crate::answer::state;
use crate::check;
use host::reserved::{Reservation, Reserved};
use model::addr::PodRange;
use model::attachment::{Key, PodAddress};
use model::cni::{CniError, Code, Ipam, Valid};
use plan::ipam;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// Files say when they were made by the second, so what is so much older than the call is older for sure.
const SURE: Duration = Duration::from_secs(2);

pub(super) fn take(path: &Path, key: &Key, asked: &Ipam) -> Result<Vec<PodAddress>, CniError> {
    let there = Reserved::open(path, &key.network).map_err(|error| state(&error))?;
    let all = there.all().map_err(|error| state(&error))?;
    let own: Vec<IpAddr> = of(&all, key).map(|it| it.ip).collect();
    if !own.is_empty() {
        return again(&own, key, asked);
    }
    let mut taken: BTreeSet<IpAddr> = all.iter().map(|it| it.ip).collect();
    let mut given = Vec::new();
    let wishes = ipam::wishes(&asked.sets, &asked.asked)
        .map_err(|why| CniError::new(Code::Config, why.to_string()))?;
    let mut outcome = Ok(());
    for (number, (set, wish)) in asked.sets.iter().zip(wishes).enumerate() {
        outcome = one(&there, key, (number, set), wish, &all, &taken).map(|address| {
            taken.insert(address.ip);
            given.push(address);
        });
        if outcome.is_err() {
            break;
        }
    }
    if outcome.is_err() {
        for address in &given {
            there.release(address.ip).map_err(|error| state(&error))?;
        }
    }
    outcome.map(|()| given)
}

/// An address of one set.
fn one(
    there: &Reserved,
    key: &Key,
    (number, set): (usize, &[PodRange]),
    wish: Option<PodAddress>,
    all: &[Reservation],
    taken: &BTreeSet<IpAddr>,
) -> Result<PodAddress, CniError> {
    let found = match wish {
        Some(wish) if taken.contains(&wish.ip) => return Err(held(&wish, all)),
        Some(wish) => Some(wish),
        None => ipam::free_in(set, there.last(number), taken)
            .map(|(ip, range)| PodAddress { ip, range }),
    };
    let address = found.ok_or_else(|| exhausted(key, set, all))?;
    let reserved = there.reserve(address.ip, &key.container, &key.ifname);
    if !reserved.map_err(|error| state(&error))? {
        return Err(held(&address, all));
    }
    there.set_last(number, address.ip);
    Ok(address)
}

pub(super) fn release(path: &Path, key: &Key) -> Result<(), CniError> {
    let there = Reserved::existing(path, &key.network).map_err(|error| state(&error))?;
    let Some(there) = there else {
        return Ok(());
    };
    for it in of(&there.all().map_err(|error| state(&error))?, key) {
        there.release(it.ip).map_err(|error| state(&error))?;
    }
    Ok(())
}

pub(super) fn holds(path: &Path, key: &Key) -> Result<(), CniError> {
    let there = Reserved::existing(path, &key.network).map_err(|error| state(&error))?;
    let all = there.as_ref().map(Reserved::all).transpose();
    let all = all.map_err(|error| state(&error))?.unwrap_or_default();
    if of(&all, key).next().is_some() {
        return Ok(());
    }
    let (container, ifname) = (&key.container, &key.ifname);
    let why = format!(
        "no address in {} is reserved for container {container} as {ifname}",
        path.display()
    );
    Err(check::different(&[why]))
}

/// Frees what the list does not have. `called` is when the process began.
pub(super) fn collect(path: &Path, conf: &Valid, called: u64) -> Result<(), CniError> {
    let there = Reserved::existing(path, &conf.name).map_err(|error| state(&error))?;
    let Some(there) = there else {
        return Ok(());
    };
    // Only a clock that does not jump says how long ago the call began, and only that of files how old a file is.
    let ago = Duration::from_nanos(host::clock::boottime_ns().saturating_sub(called));
    let now = there.now().map_err(|error| state(&error))?;
    let before = now.checked_sub(ago + SURE);
    let listed = conf.attachments.as_deref().unwrap_or_default();
    for it in there.all().map_err(|error| state(&error))? {
        let is_listed = listed.iter().any(|(id, ifname)| it.is_of(id, ifname));
        if !is_listed && before.is_some_and(|before| it.since < before) {
            there.release(it.ip).map_err(|error| state(&error))?;
        }
    }
    Ok(())
}

pub(super) fn has_room(path: &Path, conf: &Valid, asked: &Ipam) -> Result<(), CniError> {
    let there = Reserved::existing(path, &conf.name).map_err(|error| state(&error))?;
    let Some(there) = there else {
        return Ok(());
    };
    let all = there.all().map_err(|error| state(&error))?;
    let taken: BTreeSet<IpAddr> = all.iter().map(|it| it.ip).collect();
    let full = |set: &&Vec<PodRange>| ipam::free_in(set, None, &taken).is_none();
    match asked.sets.iter().find(full) {
        None => Ok(()),
        Some(set) => Err(CniError {
            code: Code::Unavailable,
            ..no_room(conf.name.as_str(), set, &all)
        }),
    }
}

fn of<'a>(all: &'a [Reservation], key: &'a Key) -> impl Iterator<Item = &'a Reservation> {
    all.iter()
        .filter(|it| it.is_of(&key.container, &key.ifname))
}

/// The answer to a second ADD of one attachment.
fn again(own: &[IpAddr], key: &Key, asked: &Ipam) -> Result<Vec<PodAddress>, CniError> {
    let range = |ip: &IpAddr| {
        let mut all = asked.sets.iter().flatten();
        all.find(|range| range.offers(*ip))
    };
    let mut addresses: Vec<PodAddress> = own
        .iter()
        .filter_map(|ip| {
            range(ip).map(|range| PodAddress {
                ip: *ip,
                range: *range,
            })
        })
        .collect();
    addresses.sort_by_key(|address| {
        asked
            .sets
            .iter()
            .position(|set| set.contains(&address.range))
    });
    if ipam::fits(&addresses, &asked.sets, &asked.asked) {
        return Ok(addresses);
    }
    let has: Vec<String> = own.iter().map(IpAddr::to_string).collect();
    let msg = format!(
        "container {} has {} as {} already, which is not what is asked for now",
        key.container,
        has.join(" and "),
        key.ifname
    );
    Err(CniError::new(Code::InTheWay, msg).details("DEL it first"))
}

fn held(wish: &PodAddress, all: &[Reservation]) -> CniError {
    let holder = all.iter().find(|it| it.ip == wish.ip);
    let holder = holder.map_or_else(|| "somebody".into(), who);
    let msg = format!("address {} is asked for and is held by {holder}", wish.ip);
    CniError::new(Code::InTheWay, msg)
}

/// How old it is only a clock that jumps could say.
fn who(it: &Reservation) -> String {
    let holder = it.holder.trim();
    let (container, ifname) = holder.split_once("\r\n").unwrap_or((holder, ""));
    format!("container {container} {ifname} with {}", it.ip)
}

fn exhausted(key: &Key, set: &[PodRange], all: &[Reservation]) -> CniError {
    no_room(key.network.as_str(), set, all)
}

fn no_room(network: &str, set: &[PodRange], all: &[Reservation]) -> CniError {
    let inside = |range: &PodRange| all.iter().filter(|it| range.offers(it.ip)).count();
    let ranges = set.iter();
    let ranges: Vec<String> = ranges
        .map(|range| {
            format!(
                "{range} has {} of {} in use",
                inside(range),
                range.capacity()
            )
        })
        .collect();
    let msg = format!(
        "no address left in network {network}: {}",
        ranges.join(", ")
    );
    let within = |it: &&Reservation| set.iter().any(|range| range.offers(it.ip));
    let oldest = all.iter().filter(within).min_by_key(|it| it.since);
    let error = CniError::new(Code::TryAgain, msg);
    match oldest {
        Some(oldest) => error.details(format!("the oldest holder is {}", who(oldest))),
        None => error,
    }
}
