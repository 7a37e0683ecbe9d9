//! GC: removes every attachment of the network that the runtime does not list.
//!
//! What is being worked on right now is alive and is passed over, and so is what is younger than this call: its ADD may have
//! begun after the runtime made its list. An attachment that fails stops no other one; all of them are reported together.

use crate::answer::{kernel, state};
use crate::log::Trace;
use crate::{del, delegate, reserved};
use host::rtnl::Rtnl;
use host::store::{Attempt, Held, ROOT, Store};
use model::cni::{CniError, Code, Valid, Version};
use std::path::Path;

/// GC of the types that make an interface, and of `host-local`.
pub(crate) fn run(conf: &Valid, called: u64, trace: &mut Trace) -> Result<(), CniError> {
    conf.must_know("GC", Version::V1_1_0)?;
    let own = gc(conf, called, trace);
    let theirs = reserved::collect(conf, called).and_then(|()| delegate::pass("GC", conf));
    match (own, theirs) {
        (Err(own), Err(theirs)) => {
            let details = format!("{}; {theirs}", own.details);
            Err(own.details(details))
        }
        (own, theirs) => own.and(theirs),
    }
}

/// `called` is when the process began: whatever was born later was not known to whoever made the list.
pub(crate) fn gc(conf: &Valid, called: u64, trace: &mut Trace) -> Result<(), CniError> {
    let Some(store) =
        Store::existing(Path::new(ROOT), &conf.name).map_err(|error| state(&error))?
    else {
        return Ok(());
    };
    let mut rtnl = Rtnl::open().map_err(|error| kernel(&error))?;
    let mut failures = Vec::new();
    for name in store.attachments().map_err(|error| state(&error))? {
        if let Err(error) = collect(&store, &name, conf, called, &mut rtnl, trace) {
            failures.push(format!("{name}: {error}"));
        }
    }
    match store.reclaim_orphans() {
        Ok((_, failed)) => failures.extend(failed.iter().map(ToString::to_string)),
        Err(error) => failures.push(error.to_string()),
    }
    if failures.is_empty() {
        return Ok(());
    }
    let msg = format!(
        "{} attachments of network {} could not be removed",
        failures.len(),
        conf.name
    );
    Err(CniError::new(Code::Kernel, msg).details(failures.join("; ")))
}

fn collect(
    store: &Store,
    name: &str,
    conf: &Valid,
    called: u64,
    rtnl: &mut Rtnl,
    trace: &mut Trace,
) -> Result<(), CniError> {
    match store.try_hold(name).map_err(|error| state(&error))? {
        Attempt::Free(held) if is_listed(&held, conf) || is_younger(&held, called) => Ok(()),
        Attempt::Free(held) => del::detach(held, store, conf, rtnl, trace),
        Attempt::Busy | Attempt::Gone => Ok(()),
    }
}

fn is_listed(held: &Held<'_>, conf: &Valid) -> bool {
    let listed = conf.attachments.as_deref().unwrap_or_default();
    held.key().is_some_and(|key| {
        listed
            .iter()
            .any(|(id, name)| *id == key.container && *name == key.ifname)
    })
}

fn is_younger(held: &Held<'_>, called: u64) -> bool {
    held.record().is_some_and(|record| record.born >= called)
}
