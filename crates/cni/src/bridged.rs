//! What an ADD of type `bridge` does besides what a bridge of type `bash-cni` needs.
//!
//! A bridge's address that is in the way, a node that is left alone, a resolver's file. Everything else is the same record, the
//! same plan and the same kernel objects; see `add`.

use crate::answer::kernel;
use crate::{order, resolv};
use host::rtnl::Rtnl;
use host::store::Store;
use model::attachment::{Attachment, Key};
use model::change::Change;
use model::cni::{CniError, Code, Dns, NetConf};
use model::net::Address;
use plan::bridge;

/// What a resolver's file says, where the configuration itself names no servers.
pub(crate) fn complete(network: &mut NetConf) -> Result<(), CniError> {
    let path = network.ipam.as_ref().and_then(|it| it.resolv_conf.clone());
    if let Some(bridged) = &mut network.bridged
        && bridged.dns == Dns::default()
    {
        bridged.dns = resolv::dns(path.as_deref())?;
    }
    Ok(())
}

/// Puts the node in order where the pod needs more of it than a wire.
///
/// # Errors
/// As [`order::node`].
pub(crate) fn node(network: &NetConf, store: &Store, own: Option<&Key>) -> Result<(), CniError> {
    let bridged = network.bridged.as_ref();
    let is_wire = bridged.is_some_and(|it| !it.gateway && !it.masquerade);
    if is_wire && network.ports.is_empty() {
        return Ok(());
    }
    order::node(network, store, own).map_err(|error| kernel(&error))
}

/// Takes away what the bridge has in the place of its gateway's address, or refuses if that is not asked for.
pub(crate) fn clear(record: &Attachment, stood: bool, rtnl: &mut Rtnl) -> Result<(), CniError> {
    let (Some(own), Some(name)) = (&record.bridged, record.mode.bridge()) else {
        return Ok(());
    };
    if !own.gateway || !stood {
        return Ok(());
    }
    let view = rtnl.observe_link(name).map_err(|error| kernel(&error))?;
    let there = view.map(|view| view.addresses).unwrap_or_default();
    let in_the_way = bridge::in_the_way(record, &there);
    if !own.force
        && let Some(net) = in_the_way.first()
    {
        let msg = format!("{name} has address {net} in the network of the gateway");
        let hint = format!("set forceAddress, or type: ip addr del {net} dev {name}");
        return Err(CniError::new(Code::InTheWay, msg).details(hint));
    }
    let dev = name.clone();
    let changes: Vec<Change> = in_the_way
        .into_iter()
        .map(|net| {
            Change::RemoveAddress(Address {
                net,
                dev: dev.clone(),
            })
        })
        .collect();
    let removed = rtnl.apply(&changes, None).ok();
    removed.map_err(|error| kernel(&error))
}
