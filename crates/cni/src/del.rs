//! DEL: removes exactly what the attachment holds.
//!
//! Needs only network, container and interface: no `prevResult`, no namespace, no configuration that fits. A lease or a
//! kernel object of ours implies a record, so nothing is ever searched but what the reference plugin may have left in files; without
//! a record there is nothing, and that is success. The record goes last: a kill anywhere leaves it to the next DEL, GC or ADD.

use crate::answer::{kernel, state};
use crate::log::Trace;
use crate::{delegate, reserved};
use host::rtnl::Rtnl;
use host::store::{Held, ROOT, Store};
use host::teardown::{self, Ports};
use model::attachment::Key;
use model::cni::{Call, CniError, Code, Valid};
use model::name::IfName;
use std::path::Path;

/// DEL of the types that make an interface, and of `host-local`.
pub(crate) fn run(call: &Call, conf: &Valid, trace: &mut Trace) -> Result<(), CniError> {
    let mut had = del(call, conf, trace)?;
    // Of a pod from before this plugin came, or from before the machine was started anew.
    if let Some(folder) = reserved::folder(conf) {
        let key = key(call, conf)?;
        had |= reserved::give_back(folder, &key)?;
    }
    told(had, conf)
}

/// What is gone is success, and so is what was never there. But by a configuration that can give nothing, nothing was ever
/// there: then somebody looks for what is wrong, and a runtime shows what DEL says.
pub(crate) fn told(had: bool, conf: &Valid) -> Result<(), CniError> {
    if had { Ok(()) } else { conf.could_give() }
}

/// Ends what the call names. Whether there was anything.
pub(crate) fn del(call: &Call, conf: &Valid, trace: &mut Trace) -> Result<bool, CniError> {
    let key = key(call, conf)?;
    let Some(store) =
        Store::existing(Path::new(ROOT), &conf.name).map_err(|error| state(&error))?
    else {
        return delegate::pass("DEL", conf).map(|()| false);
    };
    let Some(held) = store.hold(&key).map_err(|error| state(&error))? else {
        return delegate::pass("DEL", conf).map(|()| false);
    };
    trace.step("record");
    let mut rtnl = Rtnl::open().map_err(|error| kernel(&error))?;
    detach(held, &store, conf, &mut rtnl, trace).map(|()| true)
}

/// Ends the attachment of a record: host ports, link, addresses, record.
///
/// # Errors
/// The ports or the link stand and cannot be removed; then addresses and record stay, because the pod may be alive. Or the
/// plugin that gave the addresses does not take them back; then the record stays, for whoever asks it again.
pub(crate) fn detach(
    held: Held<'_>,
    store: &Store,
    conf: &Valid,
    rtnl: &mut Rtnl,
    trace: &mut Trace,
) -> Result<(), CniError> {
    let ports = Ports {
        elements: plan::ports::elements,
        withdraw: plan::ports::withdraw,
    };
    let step: &mut dyn FnMut(&'static str) = &mut |step| trace.step(step);
    teardown::unwire(&held, store, ports, rtnl, step).map_err(|error| kernel(&error))?;
    delegate::take_back(&held, conf)?;
    teardown::forget(held, step).map_err(|error| state(&error))
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
