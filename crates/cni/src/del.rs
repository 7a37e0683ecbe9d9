//! DEL: removes exactly what the attachment holds.
//!
//! Needs only network, container and interface: no `prevResult`, no namespace, no configuration that fits. A lease or a
//! kernel object of ours implies a record, so nothing is ever searched; without a record there is nothing, and that is
//! success. The record goes last: a kill anywhere leaves it to the next DEL, GC or ADD.

use crate::answer::{kernel, state};
use crate::log::Trace;
use crate::ports;
use host::rtnl::Rtnl;
use host::store::{Held, ROOT, Store};
use model::attachment::Key;
use model::change::Change;
use model::cni::{Call, CniError, Code, Valid};
use model::name::IfName;
use std::path::Path;

pub(crate) fn del(call: &Call, conf: &Valid, trace: &mut Trace) -> Result<(), CniError> {
    let key = key(call, conf)?;
    let Some(store) =
        Store::existing(Path::new(ROOT), &conf.name).map_err(|error| state(&error))?
    else {
        return Ok(());
    };
    let Some(held) = store.hold(&key).map_err(|error| state(&error))? else {
        return Ok(());
    };
    trace.step("record");
    let mut rtnl = Rtnl::open().map_err(|error| kernel(&error))?;
    detach(held, &store, &mut rtnl, trace)
}

/// Removes what a record stands for: host ports, the link, which takes routes and neighbours along, then the leases, then
/// the record.
///
/// # Errors
/// The ports or the link stand and cannot be removed; then leases and record stay, because the pod may be alive.
pub(crate) fn detach(
    held: Held<'_>,
    store: &Store,
    rtnl: &mut Rtnl,
    trace: &mut Trace,
) -> Result<(), CniError> {
    ports::withdraw(&held, rtnl, store)?;
    trace.step("ports");
    if let Some(name) = held.key().map(node_end).transpose()?
        && is_ours(&held, &name, rtnl)?
    {
        rtnl.apply(&[Change::RemoveLink(name)], None)
            .ok()
            .map_err(|error| kernel(&error))?;
    }
    trace.step("link");
    held.release_all().map_err(|error| state(&error))?;
    trace.step("leases");
    held.remove().map_err(|error| state(&error))?;
    trace.step("forget");
    Ok(())
}

/// Whether the link of that name carries this record's alias. The alias comes right behind the birth of the link, so a link
/// that has none yet is one whose ADD was killed.
fn is_ours(held: &Held<'_>, name: &IfName, rtnl: &mut Rtnl) -> Result<bool, CniError> {
    let seen = rtnl.link(name).map_err(|error| kernel(&error))?;
    Ok(seen.is_some_and(|link| {
        let alias = held.record().map(model::attachment::Attachment::alias);
        link.alias.is_none() || alias.is_none_or(|alias| link.alias == Some(alias))
    }))
}

/// The attachment's key out of a call that names a container and an interface.
pub(crate) fn key(call: &Call, conf: &Valid) -> Result<Key, CniError> {
    let missing = || {
        CniError::new(
            Code::Environment,
            "CNI_CONTAINERID and CNI_IFNAME are needed",
        )
    };
    Ok(Key {
        network: conf.name.clone(),
        container: call.container.clone().ok_or_else(missing)?,
        ifname: call.ifname.clone().ok_or_else(missing)?,
    })
}

/// The name of the node's end of an attachment's link.
pub(crate) fn node_end(key: &Key) -> Result<IfName, CniError> {
    let name = key.host_interface();
    IfName::new(&name)
        .map_err(|why| CniError::new(Code::Kernel, format!("host interface {name:?}: {why}")))
}
