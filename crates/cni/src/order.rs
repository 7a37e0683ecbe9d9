//! Puts the node in order for a pod that comes: our table, forwarding, other people's forward chains.
//!
//! What is in order is remembered by the ruleset's generation, so that the next call with the same configuration asks the
//! kernel one question. The check and the change are one transaction that names the generation: of sixty-four calls at once
//! one wins, the others look again. With an agent's own configuration the agent does all that; a network of type `bash-cni`
//! is put in order beside an agent too, which learns of it from the records and may be slow or stuck.
//! A table that was lost comes back with the host ports of every attachment; they go in under the lock of their record,
//! because its DEL, once it has withdrawn them, does not look again.

use crate::ports;
use host::Error;
use host::nft::Nft;
use host::rtnl::Rtnl;
use host::store::{Attempt, Held, ROOT, Store};
use host::sysctl::Sysctls;
use model::attachment::Key;
use model::change::Change;
use model::cni::NetConf;
use model::firewall::{Elements, TableState};
use model::state::HostState;
use plan::node::IPV6_FORWARD;
use plan::order::{self, By};
use plan::{diff, masquerade};
use std::path::Path;

/// How often others may be quicker with the ruleset. Each of them brings the node nearer to order.
const ROUNDS: usize = 256;

/// In the place of a generation, of which none is 0: the table stands, but host ports may lack in it.
const INCOMPLETE: u32 = 0;

/// Sees to it that pods of this network can talk. `own` is the attachment whose record the caller holds.
///
/// # Errors
/// The kernel refuses to show or to change what stands in the way.
pub(crate) fn node(conf: &NetConf, store: &Store, own: Option<&Key>) -> Result<(), Error> {
    let by = by()?;
    if by == By::BesideAgent && !conf.alone {
        return Ok(());
    }
    look(conf, by, store, own)
}

/// The same with an agent in charge, for a caller who cannot wait until it has put the table back.
///
/// # Errors
/// As [`node`].
pub(crate) fn anew(conf: &NetConf, store: &Store, own: &Key) -> Result<(), Error> {
    look(conf, by()?, store, Some(own))
}

fn by() -> Result<By, Error> {
    let taken = host::charge::is_taken(Path::new(ROOT))?;
    Ok(if taken { By::BesideAgent } else { By::Alone })
}

fn look(conf: &NetConf, by: By, store: &Store, own: Option<&Key>) -> Result<(), Error> {
    let mut have = HostState::default();
    read_forwarding(conf, &mut have)?;
    let mark = order::mark(conf, by);
    let mut nft = Nft::open()?;
    for _ in 0..ROUNDS {
        have.generation = nft.generation()?;
        let forwards = order::forwarding(conf)
            .iter()
            .all(|key| have.sysctls.get(*key).is_none_or(|value| value != "0"));
        let remembered = store.in_order();
        if forwards && remembered == Some((mark, have.generation)) {
            return Ok(());
        }
        have.table = nft.table()?;
        // With an agent's configuration other people's chains are the agent's business, whether it runs or not.
        have.foreign = if conf.alone {
            nft.foreign()?
        } else {
            Vec::new()
        };
        let stores = if remembered.is_some_and(|(_, generation)| generation == INCOMPLETE)
            || !stands(have.table.as_ref())
        {
            Store::all(Path::new(ROOT))?
        } else {
            Vec::new()
        };
        // Held until the transaction is over.
        let (records, complete) = publishing(&stores, own)?;
        have.publishing = records
            .iter()
            .filter_map(|held| held.record().cloned())
            .collect();
        let changes = order::order(conf, by, &have);
        let rules = after_sysctls(changes, &mut have)?;
        if rules.is_empty() {
            let generation = if complete {
                have.generation
            } else {
                INCOMPLETE
            };
            store.set_in_order(mark, generation);
            return Ok(());
        }
        match nft.apply(&ports::rules(&rules), Some(have.generation)) {
            Ok(()) => {
                if !complete {
                    store.set_in_order(mark, INCOMPLETE);
                }
                forget(&rules, &mut nft)?;
            }
            Err(error) if error.is_stale() => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::because(
        "put the ruleset in order",
        "other programs change it all the time",
    ))
}

/// Whether the node forwards, and if IPv6 is about to begin to: who hears a router.
fn read_forwarding(conf: &NetConf, have: &mut HostState) -> Result<(), Error> {
    let sysctls = Sysctls::default();
    for key in order::forwarding(conf) {
        if let Some(value) = sysctls.read(key)? {
            have.sysctls.insert(key.into(), value);
        }
    }
    if have
        .sysctls
        .get(IPV6_FORWARD)
        .is_none_or(|value| value != "0")
    {
        return Ok(());
    }
    for link in Rtnl::open()?.links()? {
        let key = format!("ipv6/conf/{}/accept_ra", link.name);
        if let Some(value) = sysctls.read(&key)? {
            have.sysctls.insert(key, value);
        }
    }
    Ok(())
}

/// Writes what is a sysctl; the rest is the ruleset's.
fn after_sysctls(changes: Vec<Change>, have: &mut HostState) -> Result<Vec<Change>, Error> {
    let mut rules = Vec::new();
    for change in changes {
        if let Change::SetSysctl(sysctl) = change {
            Sysctls::default().change(&sysctl, Some(Path::new(ROOT)))?;
            have.sysctls.insert(sysctl.key, sysctl.value);
        } else {
            rules.push(change);
        }
    }
    Ok(rules)
}

/// Whether the table is there and of this version: then whatever host ports there are stand in it.
fn stands(table: Option<&TableState>) -> bool {
    table.is_some_and(|table| diff::intact(&masquerade::table(Elements::new()), table))
}

/// The records with host ports, held, and whether that is all of them: what somebody works on is passed over. An ADD puts
/// its ports in itself, and the caller's own attachment is one.
fn publishing<'s>(stores: &'s [Store], own: Option<&Key>) -> Result<(Vec<Held<'s>>, bool), Error> {
    let (mut records, mut complete) = (Vec::new(), true);
    for store in stores {
        for name in store.attachments()? {
            let publishes = store
                .peek(&name)?
                .is_some_and(|record| record.has_elements() && Some(&record.key) != own);
            if !publishes {
                continue;
            }
            match store.try_hold(&name)? {
                Attempt::Free(held) => records.push(held),
                Attempt::Busy => complete = false,
                Attempt::Gone => {}
            }
        }
    }
    Ok((records, complete))
}

fn forget(changes: &[Change], nft: &mut Nft) -> Result<(), Error> {
    if changes.iter().any(|change| change.flows().is_some()) {
        ports::forget(changes, &mut Rtnl::open()?, nft)?;
    }
    Ok(())
}
