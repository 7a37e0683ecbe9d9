//! DEL: removes exactly what the attachment holds.
//!
//! Needs only network, container and interface: no `prevResult`, no namespace, no configuration that fits. A lease or a
//! kernel object of ours implies a record, so nothing is ever searched; without a record there is nothing, and that is
//! success. The record goes last: a kill anywhere leaves it to the next DEL, GC or ADD.

use crate::answer::{kernel, state};
use crate::log::Trace;
use crate::{bridged, delegate};
use host::rtnl::Rtnl;
use host::store::{Held, ROOT, Store};
use host::teardown::{self, Ports, Stuck};
use model::attachment::Key;
use model::cni::{Call, CniError, Code, Valid};
use model::name::IfName;
use std::path::Path;

/// DEL of the types that make an interface: the addresses go back after the link is gone.
pub(crate) fn run(call: &Call, conf: &Valid, trace: &mut Trace) -> Result<(), CniError> {
    del(call, conf, trace)?;
    bridged::release(call, conf)?;
    delegate::pass("DEL", conf)
}

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

/// Ends the attachment of a record: host ports, link, leases, record.
///
/// # Errors
/// The ports or the link stand and cannot be removed; then leases and record stay, because the pod may be alive.
pub(crate) fn detach(
    held: Held<'_>,
    store: &Store,
    rtnl: &mut Rtnl,
    trace: &mut Trace,
) -> Result<(), CniError> {
    let ports = Ports {
        elements: plan::ports::elements,
        withdraw: plan::ports::withdraw,
    };
    let ended = teardown::tear_down(held, store, ports, rtnl, &mut |step| trace.step(step));
    ended.map_err(|stuck| match stuck {
        Stuck::Kernel(error) => kernel(&error),
        Stuck::State(error) => state(&error),
    })
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
