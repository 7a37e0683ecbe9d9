//! An address of each family for one attachment.
//!
//! The record names an address before its lease is taken, so that a kill in between leaves nothing that nobody knows of.
//! Whether an address is free is known by taking it. After many misses what is taken is listed once.

use crate::answer::state;
use host::store::{Held, Store};
use model::addr::{Family, PodRange};
use model::attachment::{Attachment, PodAddress};
use model::cni::{CniError, Code};
use model::name::NetworkName;
use plan::ipam;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// So many addresses are tried one after another before what is taken is listed.
const TRIES: usize = 32;

/// So often what is taken is listed; each time others were quicker at a nearly full range.
const LISTINGS: usize = 64;

/// Takes one address of each family that `ranges` has. Those in `avoid` are passed over: they are somebody's although
/// no lease of this network says so.
///
/// # Errors
/// Code 11 if a family has no address left, 5 if the state folder fails.
pub(crate) fn take(
    held: &mut Held<'_>,
    store: &Store,
    ranges: &[PodRange],
    avoid: &BTreeSet<IpAddr>,
) -> Result<(), CniError> {
    let mut taken = Vec::new();
    for family in [Family::V4, Family::V6] {
        let of_family: Vec<&PodRange> = ranges
            .iter()
            .filter(|range| range.family() == family)
            .collect();
        if of_family.is_empty() {
            continue;
        }
        let mut found = None;
        for range in &of_family {
            found = from(held, store, range, &taken, avoid).map_err(|error| state(&error))?;
            if found.is_some() {
                break;
            }
        }
        taken.push(found.ok_or_else(|| exhausted(store, &of_family))?);
    }
    Ok(())
}

fn from(
    held: &mut Held<'_>,
    store: &Store,
    range: &PodRange,
    earlier: &[PodAddress],
    avoid: &BTreeSet<IpAddr>,
) -> Result<Option<PodAddress>, host::Error> {
    let mut last = store.hint(range);
    for _ in 0..TRIES {
        let ip = ipam::next(range, last);
        if let Some(address) = attempt(held, store, range, ip, earlier, avoid)? {
            return Ok(Some(address));
        }
        last = Some(ip);
    }
    for _ in 0..LISTINGS {
        let mut taken = store.leases()?;
        taken.extend(avoid.iter().copied());
        let Some(ip) = ipam::free(range, last, &taken) else {
            return Ok(None);
        };
        if let Some(address) = attempt(held, store, range, ip, earlier, avoid)? {
            return Ok(Some(address));
        }
        last = Some(ip);
    }
    Ok(None)
}

fn attempt(
    held: &mut Held<'_>,
    store: &Store,
    range: &PodRange,
    ip: IpAddr,
    earlier: &[PodAddress],
    avoid: &BTreeSet<IpAddr>,
) -> Result<Option<PodAddress>, host::Error> {
    if avoid.contains(&ip) {
        return Ok(None);
    }
    let address = PodAddress { ip, range: *range };
    held.rewrite_addresses(earlier.iter().copied().chain([address]).collect())?;
    if !held.lease(ip)? {
        return Ok(None);
    }
    store.set_hint(range, ip);
    Ok(Some(address))
}

/// Says which ranges are full, and who has been in them for longest: often that is the one that was forgotten.
pub(crate) fn exhausted(store: &Store, ranges: &[&PodRange]) -> CniError {
    let state: Vec<String> = ranges.iter().map(|range| usage(store, range)).collect();
    let msg = format!(
        "no address left in network {}: {}",
        store.network(),
        state.join(", ")
    );
    let oldest = ranges
        .iter()
        .find_map(|range| store.oldest(range).ok().flatten());
    let hint = "see who holds them: podwire status";
    let details = oldest.map_or_else(
        || hint.into(),
        |oldest| format!("{}; {hint}", holder(&oldest, store.network())),
    );
    CniError::new(Code::TryAgain, msg).details(details)
}

/// `10.244.0.0/24 has 253 of 253 in use`
pub(crate) fn usage(store: &Store, range: &PodRange) -> String {
    match store.used(range) {
        Ok(used) => format!("{range} has {used} of {} in use", range.capacity()),
        Err(error) => format!("{range} cannot be counted ({error})"),
    }
}

fn holder(oldest: &Attachment, network: &NetworkName) -> String {
    let addresses: Vec<String> = oldest.addresses.iter().map(|a| a.ip.to_string()).collect();
    let age = host::clock::boottime_ns().saturating_sub(oldest.born) / 1_000_000_000;
    let container = &oldest.key.container;
    let who = match &oldest.pod {
        Some(pod) => format!("pod {}/{}", pod.namespace, pod.name),
        None => format!("container {container} of network {network}"),
    };
    format!(
        "the oldest holder is {who} with {} for {age} s",
        addresses.join(" and ")
    )
}
