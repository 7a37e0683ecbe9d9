//! What an ADD of type `bridge` does besides what a bridge of type `bash-cni` needs.
//!
//! Addresses of another IPAM plugin, a bridge's address that is in the way, a resolver's file. Everything else is the same
//! record, the same plan and the same kernel objects; see `add`.

use crate::add::{self, Ends, Want};
use crate::answer::{kernel, state};
use crate::log::Trace;
use crate::standing::standing;
use crate::{del, delegate, host_local, order, resolv};
use host::rtnl::Rtnl;
use host::store::Store;
use model::attachment::{Attachment, Key};
use model::change::Change;
use model::cni::{Call, CniError, CniResult, Code, Dns, NetConf, Valid};
use model::name::IfName;
use model::net::Address;
use plan::bridge;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// An ADD with addresses that another plugin gives; they go back if it fails.
pub(crate) fn delegated(
    mut attachment: Attachment,
    conf: &Valid,
    (store, mut want, node_end): (&Store, Want, &IfName),
    ends: &mut Ends<'_>,
    trace: &mut Trace,
) -> Result<CniResult, CniError> {
    if let Some(record) = earlier(&attachment, (conf, &want), store, ends, trace)? {
        return add::answer(&record, node_end, ends.bridge.as_ref(), ends.rtnl);
    }
    let given = delegate::add(conf)?;
    attachment.addresses = delegate::addresses(given.as_ref());
    let ranges = attachment.addresses.iter().map(|address| address.range);
    want.network.ranges = ranges.collect();
    if let (Some(given), Some(bridged)) = (given, &mut attachment.bridged) {
        bridged.routes = given.routes;
        if bridged.dns == Dns::default() {
            bridged.dns = given.dns;
        }
    }
    let made = add::make(&attachment, store, &want, node_end, ends, trace);
    match made {
        Ok(result) => Ok(result),
        Err(error) => match delegate::pass("DEL", conf) {
            Ok(()) => Err(error),
            Err(left) => {
                let details = format!("{}; {left}", error.details);
                Err(error.details(details))
            }
        },
    }
}

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

/// What the reference plugin gave away on this node before this one took its place, where the addresses are given here.
pub(crate) fn given_before(network: &NetConf, store: &Store) -> Result<BTreeSet<IpAddr>, CniError> {
    match network.ipam {
        Some(_) => host_local::given_before(store.network()),
        None => Ok(BTreeSet::new()),
    }
}

/// Frees what it gave to this attachment.
pub(crate) fn release(call: &Call, conf: &Valid) -> Result<(), CniError> {
    if conf.gives_as_host_local() {
        host_local::release_before(&del::key(call, conf)?)?;
    }
    Ok(())
}

/// Frees what it gave to attachments that are not listed.
pub(crate) fn collect(conf: &Valid, called: u64) -> Result<(), CniError> {
    if conf.gives_as_host_local() {
        host_local::collect_before(conf, called)?;
    }
    Ok(())
}

/// The record of an earlier ADD whose addresses another plugin gave, if all of it stands. Else what is left of it is removed,
/// and the addresses go back.
fn earlier(
    wanted: &Attachment,
    (conf, want): (&Valid, &Want),
    store: &Store,
    ends: &mut Ends<'_>,
    trace: &mut Trace,
) -> Result<Option<Attachment>, CniError> {
    let held = store.hold(&wanted.key).map_err(|error| state(&error))?;
    let Some(held) = held else {
        return Ok(None);
    };
    if let Some(record) = standing(&held, (wanted, want), ends.netns, ends.rtnl)? {
        return Ok(Some(record));
    }
    del::detach(held, store, ends.rtnl, trace)?;
    delegate::pass("DEL", conf)?;
    Ok(None)
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
