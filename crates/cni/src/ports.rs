//! Host ports of one attachment: published as the last step of ADD; DEL withdraws them (`host::teardown`).
//!
//! An attachment without ports costs nothing here. One with ports is one transaction: another attachment's port refuses it
//! whole.

use crate::answer::{kernel, state};
use crate::order;
use host::Error;
use host::conntrack::Conntrack;
use host::nft::Nft;
use host::rtnl::Rtnl;
use host::store::{ROOT, Store};
use host::sysctl::Sysctls;
use model::attachment::{Attachment, Key};
use model::change::Change;
use model::cni::{CniError, Code, NetConf};
use model::firewall::{Elements, Owner};
use model::name::IfName;
use model::ports::Flows;
use plan::ports::{self, Taken};
use std::path::Path;

/// How often others may be quicker with the ruleset.
const ROUNDS: usize = 256;

/// Leads the ports of the node to the pod.
///
/// # Errors
/// Code 103 if another attachment has one of them; the kernel refuses.
pub(crate) fn publish(
    record: &Attachment,
    node_end: &IfName,
    (network, store): (&NetConf, &Store),
    rtnl: &mut Rtnl,
) -> Result<(), CniError> {
    if !record.has_elements() {
        return Ok(());
    }
    let mut nft = Nft::open().map_err(|error| kernel(&error))?;
    let changes = enter(record, (network, store), &mut nft)?;
    // Only now: the table holds the rule that keeps the pod off the node's loopback.
    if let Some(sysctl) = ports::localnet(record, node_end) {
        // A bridge may be somebody's who keeps it; a pod's link takes its sysctls with it.
        let notes = record.mode.bridge().map(|_| Path::new(ROOT));
        Sysctls::default()
            .change(&sysctl, notes)
            .map_err(|error| kernel(&error))?;
    }
    forget(&changes, rtnl, &mut nft).map_err(|error| kernel(&error))
}

/// Puts the elements into our table. What is left to do afterwards is among the changes.
fn enter(
    record: &Attachment,
    (network, store): (&NetConf, &Store),
    nft: &mut Nft,
) -> Result<Vec<Change>, CniError> {
    let mut found = Elements::new();
    for _ in 0..ROUNDS {
        let changes = ports::publish(record, &found).map_err(|taken| refused(&taken))?;
        let before = nft.generation().map_err(|error| kernel(&error))?;
        match nft.apply(&rules(&changes), None) {
            Ok(()) => {
                store
                    .own_work(nft, before)
                    .map_err(|error| kernel(&error))?;
                return Ok(changes);
            }
            // Without the table, or with that of another version, there is no place for them.
            Err(error) if error.is_gone() => {
                order::anew(network, store, &record.key).map_err(|error| kernel(&error))?;
                found = Elements::new();
            }
            Err(error) if error.is_taken() => {
                found = nft
                    .standing(&ports::elements(record))
                    .map_err(|error| kernel(&error))?;
            }
            Err(error) => return Err(kernel(&error)),
        }
    }
    Err(kernel(&Error::because(
        "publish host ports",
        "other programs change the ruleset all the time",
    )))
}

/// What lacks or is another's of an attachment's ports, each in one sentence.
///
/// # Errors
/// The kernel does not answer.
pub(crate) fn differences(record: &Attachment) -> Result<Vec<String>, Error> {
    if !record.has_elements() {
        return Ok(Vec::new());
    }
    let found = Nft::open()?.standing(&ports::elements(record))?;
    Ok(ports::differences(record, &found))
}

/// Carries out what is asked of connection tracking among the changes.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn forget(changes: &[Change], rtnl: &mut Rtnl, nft: &mut Nft) -> Result<(), Error> {
    let flows: Vec<Flows> = changes.iter().filter_map(Change::flows).collect();
    if flows.is_empty() {
        return Ok(());
    }
    Conntrack::open()?.forget(&flows, rtnl, nft).map(drop)
}

/// The changes of the ruleset among all.
pub(crate) fn rules(changes: &[Change]) -> Vec<Change> {
    let is_rule = |change: &&Change| change.flows().is_none();
    changes.iter().filter(is_rule).cloned().collect()
}

fn refused(taken: &Taken) -> CniError {
    let holder = match holder(&taken.holder) {
        Ok(Some(Attachment { pod: Some(pod), .. })) => {
            format!("pod {}/{} ({})", pod.namespace, pod.name, taken.holder)
        }
        Ok(Some(_)) => format!("attachment {}", taken.holder),
        Ok(None) => format!("{:?}, of which nothing is recorded", taken.holder.as_str()),
        Err(error) => return state(&error),
    };
    let msg = format!("{} is taken by {holder}", taken.what);
    CniError::new(Code::PortTaken, msg)
        .details("a port of the node leads to one pod; see who has which: podwire status --json")
}

/// The record of an owner; a broken one has none.
fn holder(owner: &Owner) -> Result<Option<Attachment>, Error> {
    let is_it = |key: &Key| key.owner() == *owner;
    for store in Store::all(Path::new(ROOT))? {
        for name in store.attachments()? {
            if let Some(record) = store.peek(&name)?.filter(|record| is_it(&record.key)) {
                return Ok(Some(record));
            }
        }
    }
    Ok(None)
}
