//! The addresses of one attachment: those that were asked for, or the next ones that are free.
//!
//! The record names an address before its lease is taken, so that a kill in between leaves nothing that nobody knows of.
//! Whether an address is free is known by taking it. After many misses what is taken is listed once.

use crate::answer::state;
use host::reserved::{self, Reservation};
use host::store::{Held, ROOT, Store};
use model::addr::{Family, PodRange};
use model::attachment::{Attachment, PodAddress};
use model::cni::{CniError, Code, Ipam, NetConf};
use model::name::NetworkName;
use plan::ipam;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

/// So many addresses are tried one after another before what is taken is listed.
const TRIES: usize = 32;

/// So often what is taken is listed; each time others were quicker at a nearly full range.
const LISTINGS: usize = 64;

/// Ranges that together give one address.
pub(crate) struct Part<'a> {
    pub ranges: Vec<&'a PodRange>,
    /// The one that is asked for.
    pub wish: Option<IpAddr>,
}

impl Part<'_> {
    /// The address with its range, if one of the ranges gives it.
    pub(crate) fn offered(&self, ip: IpAddr) -> Option<PodAddress> {
        let range = self.ranges.iter().find(|range| range.offers(ip))?;
        let range = range.whole();
        Some(PodAddress { ip, range })
    }
}

/// An address for each family that the network has, or for each set of its IPAM.
///
/// # Errors
/// Code 7 if an address is asked for that no set has.
pub(crate) fn parts<'a>(network: &'a NetConf, asked: &[IpAddr]) -> Result<Vec<Part<'a>>, CniError> {
    if let Some(ipam) = &network.ipam {
        return parts_of(ipam);
    }
    let of = |family| Part {
        ranges: network
            .ranges
            .iter()
            .filter(|range| range.family() == family)
            .collect(),
        wish: asked.iter().find(|ip| Family::of(**ip) == family).copied(),
    };
    let mut parts = Vec::from([Family::V4, Family::V6].map(of));
    parts.retain(|part| !part.ranges.is_empty());
    Ok(parts)
}

/// An address for each set.
///
/// # Errors
/// As [`parts`].
pub(crate) fn parts_of(ipam: &Ipam) -> Result<Vec<Part<'_>>, CniError> {
    let wishes = ipam::wishes(&ipam.sets, &ipam.asked).map_err(|why| {
        // The reference plugin's words, and ours behind them.
        let msg = format!("failed to allocate all requested IPs: {}", why.ip());
        CniError::new(Code::Config, msg).details(why.to_string())
    })?;
    let pairs = ipam.sets.iter().zip(wishes);
    Ok(pairs
        .map(|(set, wish)| Part {
            ranges: set.iter().collect(),
            wish: wish.map(|wish| wish.ip),
        })
        .collect())
}

/// Takes one address of each part. Those in `avoid` are passed over: they are somebody's although no lease of this network says
/// so.
///
/// # Errors
/// Code 11 if a part has no address left, 102 if one that is asked for is somebody's, 5 if the state folder fails.
pub(crate) fn take(
    held: &mut Held<'_>,
    store: &Store,
    parts: &[Part<'_>],
    avoid: &BTreeSet<IpAddr>,
    folder: Option<&Path>,
) -> Result<(), CniError> {
    let mut taken = Vec::new();
    for part in parts {
        if let Some(wish) = part.wish {
            taken.push(exactly(wish, held, part, &taken, avoid)?);
            continue;
        }
        let mut found = None;
        for range in &part.ranges {
            found = from(held, store, range, &taken, avoid).map_err(|error| state(&error))?;
            if found.is_some() {
                break;
            }
        }
        let full = || {
            let network = store.network();
            let store = Some(store);
            let all = Taken {
                network,
                store,
                folder,
            };
            all.exhausted(part)
        };
        taken.push(found.ok_or_else(full)?);
    }
    Ok(())
}

/// The address that is asked for, and no other.
fn exactly(
    ip: IpAddr,
    held: &mut Held<'_>,
    part: &Part<'_>,
    earlier: &[PodAddress],
    avoid: &BTreeSet<IpAddr>,
) -> Result<PodAddress, CniError> {
    let offered = part.offered(ip).filter(|_| !avoid.contains(&ip));
    let found = match offered {
        None => None,
        Some(address) => claim(address, held, earlier).map_err(|error| state(&error))?,
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
    let whole = range.whole();
    let address = claim(PodAddress { ip, range: whole }, held, earlier)?;
    if address.is_some() {
        store.set_hint(range, ip);
    }
    Ok(address)
}

/// Names the address in the record, then takes its lease; none if it is another's.
fn claim(
    address: PodAddress,
    held: &mut Held<'_>,
    earlier: &[PodAddress],
) -> Result<Option<PodAddress>, host::Error> {
    held.rewrite_addresses(earlier.iter().copied().chain([address]).collect())?;
    Ok(held.lease(address.ip)?.then_some(address))
}

/// What is taken of a network's ranges. No lock is needed to count it.
pub(crate) struct Taken<'a> {
    pub network: &'a NetworkName,
    /// Leases.
    pub store: Option<&'a Store>,
    /// Where the reference plugin's files are, ours among them with `dataDir`.
    pub folder: Option<&'a Path>,
}

impl Taken<'_> {
    /// Whether every part has an address left.
    ///
    /// # Errors
    /// Code 50 with numbers if one has not.
    pub(crate) fn has_room(&self, parts: &[Part<'_>]) -> Result<(), CniError> {
        let (taken, _) = self.all().map_err(|error| state(&error))?;
        let is_full = |part: &&Part<'_>| {
            let mut ranges = part.ranges.iter();
            ranges.all(|range| used(range, &taken) >= range.capacity())
        };
        match parts.iter().find(is_full) {
            None => Ok(()),
            Some(full) => Err(CniError {
                code: Code::Unavailable,
                ..self.exhausted(full)
            }),
        }
    }

    /// Says which ranges are full, and who has been in them for longest: often that is the one that was forgotten.
    pub(crate) fn exhausted(&self, part: &Part<'_>) -> CniError {
        let (taken, files) = match self.all() {
            Ok(all) => all,
            Err(error) => return state(&error),
        };
        let usage = |range: &&PodRange| {
            let used = used(range, &taken);
            format!("{range} has {used} of {} in use", range.capacity())
        };
        let usage: Vec<String> = part.ranges.iter().map(usage).collect();
        let msg = format!(
            "no address left in network {}: {}",
            self.network,
            usage.join(", ")
        );
        // How old a file is only a clock that jumps could say, and all are older than what is leased here.
        let within = |it: &&Reservation| part.offered(it.ip).is_some();
        let oldest = files.iter().filter(within).min_by_key(|it| it.since);
        let leased = || self.store?.oldest(&part.ranges).ok().flatten();
        let oldest = oldest
            .map(reserver)
            .or_else(|| leased().map(|oldest| holder(&oldest, self.network)));
        let mut details =
            oldest.map_or_else(String::new, |who| format!("the oldest holder is {who}; "));
        details.push_str("see who holds them: podwire status");
        CniError::new(Code::TryAgain, msg).details(details)
    }

    fn all(&self) -> Result<(BTreeSet<IpAddr>, Vec<Reservation>), host::Error> {
        let files = match self.folder {
            Some(folder) => reserved::look(folder, self.network)?,
            None => Vec::new(),
        };
        let mut taken = match self.store {
            Some(store) => store.leases()?,
            None => BTreeSet::new(),
        };
        taken.extend(files.iter().map(|it| it.ip));
        Ok((taken, files))
    }
}

fn used(range: &PodRange, taken: &BTreeSet<IpAddr>) -> u64 {
    taken.iter().filter(|ip| range.offers(**ip)).count() as u64
}

/// Who has made a reservation.
pub(crate) fn reserver(it: &Reservation) -> String {
    let holder = it.holder.trim();
    let (container, ifname) = holder.split_once("\r\n").unwrap_or((holder, ""));
    format!("container {container} {ifname} with {}", it.ip)
}

fn holder(oldest: &Attachment, network: &NetworkName) -> String {
    let addresses: Vec<String> = oldest.addresses.iter().map(|a| a.ip.to_string()).collect();
    let age = host::clock::boottime_ns().saturating_sub(oldest.born) / 1_000_000_000;
    let container = &oldest.key.container;
    let who = match &oldest.pod {
        Some(pod) => format!("pod {}/{}", pod.namespace, pod.name),
        None => format!("container {container} of network {network}"),
    };
    format!("{who} with {} for {age} s", addresses.join(" and "))
}
