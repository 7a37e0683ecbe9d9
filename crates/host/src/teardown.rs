//! The end of one attachment: host ports, link, then leases, and the record last.
//!
//! DEL, GC, an ADD that clears away what another one left, and the agent that reclaims all end an attachment here, so that the
//! order is the same everywhere: a kill anywhere leaves a record that names what is left. Only what carries the record's key
//! is removed. What that is in our table is decided elsewhere, and anew whenever the ruleset has changed meanwhile. There are
//! two halves, because addresses that another plugin gave go back between them, and only the plugin can run that one.

use crate::conntrack::Conntrack;
use crate::error::Error;
use crate::nft::Nft;
use crate::removal;
use crate::reserved;
use crate::rtnl::Rtnl;
use crate::store::{Held, Store};
use model::attachment::{Attachment, Key};
use model::change::Change;
use model::firewall::Elements;
use model::name::IfName;
use model::ports::Flows;
use rustix::io::Errno;
use std::path::Path;

/// How often others may be quicker with the ruleset.
const ROUNDS: usize = 256;

/// What `plan` says of an attachment's host ports. Functions and not values, because the ruleset may change between the look
/// and the transaction, and then it is decided anew.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// What an attachment has in our table.
    pub elements: fn(&Attachment) -> Elements,
    /// What is to be done about what was found there: all that is this attachment's goes. A broken record names no elements;
    /// then the whole table was looked through.
    pub withdraw: fn(&Key, Option<&Elements>, &Elements) -> Vec<Change>,
}

/// Takes away what leads to the pod. `step` hears what has been done: `ports`, `link`.
///
/// # Errors
/// The kernel keeps a port or the link. Leases and record have to stay then, because the pod may be alive.
pub fn unwire(
    held: &Held<'_>,
    store: &Store,
    ports: Ports,
    rtnl: &mut Rtnl,
    step: &mut dyn FnMut(&'static str),
) -> Result<(), Error> {
    if let Some(key) = held.key() {
        withdraw(key, held.record(), store, ports, rtnl)?;
    }
    step("ports");
    remove_link(held, store, rtnl)?;
    step("link");
    Ok(())
}

/// Gives back the addresses, and removes the record. `step` hears what has been done: `leases`, `forget`.
///
/// # Errors
/// The state folder keeps a lease or the record, or the reservations' folder one of those.
pub fn forget(held: Held<'_>, step: &mut dyn FnMut(&'static str)) -> Result<(), Error> {
    held.release_all()?;
    let reserved_in = held.record().and_then(Attachment::data_dir);
    if let (Some(path), Some(key)) = (reserved_in, held.key()) {
        reserved::release(Path::new(path), key)?;
    }
    step("leases");
    held.remove()?;
    step("forget");
    Ok(())
}

fn withdraw(
    key: &Key,
    record: Option<&Attachment>,
    store: &Store,
    ports: Ports,
    rtnl: &mut Rtnl,
) -> Result<(), Error> {
    if record.is_some_and(|record| !record.has_elements()) {
        return Ok(());
    }
    let places = record.map(ports.elements);
    let mut nft = match Nft::open() {
        // What has no nftables has nothing of ours in them; its ADD has failed for that.
        Err(error) if error.is_unsupported() => return Ok(()),
        other => other?,
    };
    for _ in 0..ROUNDS {
        let generation = match nft.generation() {
            // So nfnetlink says that it does not know whom the question is for.
            Err(error) if error.is_unsupported() || error.errno() == Some(Errno::INVAL) => {
                return Ok(());
            }
            other => other?,
        };
        let found = match &places {
            Some(places) => nft.standing(places)?,
            None => nft.table()?.map(|table| table.elements).unwrap_or_default(),
        };
        let changes = (ports.withdraw)(key, places.as_ref(), &found);
        let (flows, rules): (Vec<Change>, Vec<Change>) = changes
            .into_iter()
            .partition(|change| change.flows().is_some());
        if !rules.is_empty() {
            match nft.apply(&rules, Some(generation)) {
                Err(error) if error.is_stale() => continue,
                other => other?,
            }
            store.own_work(&mut nft, generation)?;
        }
        let flows: Vec<Flows> = flows.iter().filter_map(Change::flows).collect();
        if !flows.is_empty() {
            Conntrack::open()?.forget(&flows, rtnl, &mut nft)?;
        }
        return Ok(());
    }
    Err(Error::because(
        "withdraw host ports",
        "other programs change the ruleset all the time",
    ))
}

/// The link takes routes and neighbours along.
fn remove_link(held: &Held<'_>, store: &Store, rtnl: &mut Rtnl) -> Result<(), Error> {
    let Some(name) = held
        .key()
        .and_then(|key| IfName::new(&key.host_interface()).ok())
    else {
        return Ok(());
    };
    if is_ours(held, &name, rtnl)? {
        removal::remove(&name, store, rtnl)?;
    }
    Ok(())
}

/// Whether the link of that name carries this record's alias. The alias comes right behind the birth of the link, so a link
/// that has none yet is one whose ADD was killed.
fn is_ours(held: &Held<'_>, name: &IfName, rtnl: &mut Rtnl) -> Result<bool, Error> {
    let seen = rtnl.link(name)?;
    Ok(seen.is_some_and(|link| {
        let alias = held.record().map(Attachment::alias);
        link.alias.is_none() || alias.is_none_or(|alias| link.alias == Some(alias))
    }))
}
