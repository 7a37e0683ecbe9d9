//! An address of each family for one attachment: the one that was asked for, or the next one that is free.
//!
//! The record names an address before its lease is taken, so that a kill in between leaves nothing that nobody knows of.
//! Whether an address is free is known by taking it. After many misses what is taken is listed once.

use crate::answer::state;
use host::store::{Held, ROOT, Store};
use model::addr::Family;
use model::attachment::{Attachment, PodAddress};
use model::cni::{CniError, Code, Ipam};
use model::name::NetworkName;
use model::span::Span;
use plan::ipam;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

/// So many addresses are tried one after another before what is taken is listed.
const TRIES: usize = 32;

/// So often what is taken is listed; each time others were quicker at a nearly full range.
const LISTINGS: usize = 64;

/// Takes one address of each family that `spans` has: that of `asked`, or any. Those in `avoid` are passed over: they are
/// somebody's although no lease of this network says so.
///
/// # Errors
/// Code 11 if a family has no address left, 102 if one that is asked for is somebody's, 5 if the state folder fails.
pub(crate) fn take(
    held: &mut Held<'_>,
    store: &Store,
    (spans, asked): (&[Span], &[IpAddr]),
    avoid: &BTreeSet<IpAddr>,
) -> Result<(), CniError> {
    let mut taken = Vec::new();
    for family in [Family::V4, Family::V6] {
        let of_family: Vec<&Span> = spans
            .iter()
            .filter(|span| span.family() == family)
            .collect();
        if of_family.is_empty() {
            continue;
        }
        if let Some(ip) = asked.iter().find(|ip| Family::of(**ip) == family) {
            taken.push(exactly(*ip, held, &of_family, &taken, avoid)?);
            continue;
        }
        let mut found = None;
        for span in &of_family {
            found = from(held, store, span, &taken, avoid).map_err(|error| state(&error))?;
            if found.is_some() {
                break;
            }
        }
        taken.push(found.ok_or_else(|| exhausted(store, &of_family))?);
    }
    Ok(())
}

/// Takes one address of each set of an IPAM, as type `host-local` gives them. Those in `avoid` are passed over.
///
/// # Errors
/// Code 11 if a set has no address left, 102 if one that is asked for is somebody's, 7 if no set has it, 5 if the state
/// folder fails.
pub(crate) fn take_of(
    ipam: &Ipam,
    held: &mut Held<'_>,
    store: &Store,
    avoid: &BTreeSet<IpAddr>,
) -> Result<(), CniError> {
    let wishes = ipam::wishes(&ipam.sets, &ipam.asked)
        .map_err(|why| CniError::new(Code::Config, why.to_string()))?;
    let mut taken = Vec::new();
    for (set, wish) in ipam.sets.iter().zip(wishes) {
        let spans: Vec<Span> = set.iter().copied().map(Span::whole).collect();
        let spans: Vec<&Span> = spans.iter().collect();
        if let Some(wish) = wish {
            taken.push(exactly(wish.ip, held, &spans, &taken, avoid)?);
            continue;
        }
        let mut found = None;
        for span in &spans {
            found = from(held, store, span, &taken, avoid).map_err(|error| state(&error))?;
            if found.is_some() {
                break;
            }
        }
        taken.push(found.ok_or_else(|| exhausted(store, &spans))?);
    }
    Ok(())
}

/// Whether every set of an IPAM has an address left.
///
/// # Errors
/// Code 50 with numbers if one has not.
pub(crate) fn has_room(ipam: &Ipam, store: &Store) -> Result<(), CniError> {
    for set in &ipam.sets {
        let spans: Vec<Span> = set.iter().copied().map(Span::whole).collect();
        let full = |span: &Span| store.used(span).is_ok_and(|used| used >= span.capacity());
        if spans.iter().all(full) {
            let spans: Vec<&Span> = spans.iter().collect();
            return Err(CniError {
                code: Code::Unavailable,
                ..exhausted(store, &spans)
            });
        }
    }
    Ok(())
}

/// The address that is asked for, and no other.
fn exactly(
    ip: IpAddr,
    held: &mut Held<'_>,
    spans: &[&Span],
    earlier: &[PodAddress],
    avoid: &BTreeSet<IpAddr>,
) -> Result<PodAddress, CniError> {
    let span = spans.iter().find(|span| span.offers(ip));
    let found = match span.filter(|_| !avoid.contains(&ip)) {
        None => None,
        Some(span) => claim(ip, held, span, earlier).map_err(|error| state(&error))?,
    };
    found.map_or_else(|| Err(taken(ip)), Ok)
}

/// Says who has the address that was asked for.
fn taken(ip: IpAddr) -> CniError {
    let holder = match owner(ip) {
        Ok(Some(Attachment {
            pod: Some(pod),
            key,
            ..
        })) => format!(
            "is held by pod {}/{} (network {}, container {})",
            pod.namespace, pod.name, key.network, key.container
        ),
        Ok(Some(Attachment { key, .. })) => format!(
            "is held by container {} of network {}",
            key.container, key.network
        ),
        Ok(None) => "has a lease that nobody's record stands for".into(),
        Err(error) => return state(&error),
    };
    let msg = format!("address {ip} is asked for and {holder}");
    CniError::new(Code::InTheWay, msg)
        .details("ask for another one, or for none; see who holds which: podwire status")
}

/// What is said when nobody has leased the address that was asked for, and the node has a route to it all the same.
pub(crate) fn routed(ip: IpAddr) -> CniError {
    let msg = format!(
        "address {ip} is asked for, and the node has a route to it although no attachment holds it"
    );
    CniError::new(Code::InTheWay, msg).details(format!("see: ip route show {ip}"))
}

/// Who has the address, in whichever network of the node.
fn owner(ip: IpAddr) -> Result<Option<Attachment>, host::Error> {
    for store in Store::all(Path::new(ROOT))? {
        let owner = store.owner(ip)?;
        if owner.is_some() {
            return Ok(owner);
        }
    }
    Ok(None)
}

fn from(
    held: &mut Held<'_>,
    store: &Store,
    span: &Span,
    earlier: &[PodAddress],
    avoid: &BTreeSet<IpAddr>,
) -> Result<Option<PodAddress>, host::Error> {
    let mut last = store.hint(&span.range());
    for _ in 0..TRIES {
        let ip = ipam::next(span, last);
        if let Some(address) = attempt(held, store, span, ip, earlier, avoid)? {
            return Ok(Some(address));
        }
        last = Some(ip);
    }
    for _ in 0..LISTINGS {
        let mut taken = store.leases()?;
        taken.extend(avoid.iter().copied());
        let Some(ip) = ipam::free(span, last, &taken) else {
            return Ok(None);
        };
        if let Some(address) = attempt(held, store, span, ip, earlier, avoid)? {
            return Ok(Some(address));
        }
        last = Some(ip);
    }
    Ok(None)
}

fn attempt(
    held: &mut Held<'_>,
    store: &Store,
    span: &Span,
    ip: IpAddr,
    earlier: &[PodAddress],
    avoid: &BTreeSet<IpAddr>,
) -> Result<Option<PodAddress>, host::Error> {
    if avoid.contains(&ip) {
        return Ok(None);
    }
    let address = claim(ip, held, span, earlier)?;
    if address.is_some() {
        store.set_hint(&span.range(), ip);
    }
    Ok(address)
}

/// Names the address in the record, then takes its lease; none if it is another's.
fn claim(
    ip: IpAddr,
    held: &mut Held<'_>,
    span: &Span,
    earlier: &[PodAddress],
) -> Result<Option<PodAddress>, host::Error> {
    let range = span.range();
    let address = PodAddress { ip, range };
    held.rewrite_addresses(earlier.iter().copied().chain([address]).collect())?;
    Ok(held.lease(ip)?.then_some(address))
}

/// Says which ranges are full, and who has been in them for longest: often that is the one that was forgotten.
pub(crate) fn exhausted(store: &Store, spans: &[&Span]) -> CniError {
    let state: Vec<String> = spans.iter().map(|span| usage(store, span)).collect();
    let msg = format!(
        "no address left in network {}: {}",
        store.network(),
        state.join(", ")
    );
    let oldest = spans
        .iter()
        .find_map(|span| store.oldest(span).ok().flatten());
    let hint = "see who holds them: podwire status";
    let details = oldest.map_or_else(
        || hint.into(),
        |oldest| format!("{}; {hint}", holder(&oldest, store.network())),
    );
    CniError::new(Code::TryAgain, msg).details(details)
}

/// `10.244.0.0/24 has 253 of 253 in use`
pub(crate) fn usage(store: &Store, span: &Span) -> String {
    match store.used(span) {
        Ok(used) => format!("{span} has {used} of {} in use", span.capacity()),
        Err(error) => format!("{span} cannot be counted ({error})"),
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
