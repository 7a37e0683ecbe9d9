//! Type `portmap`: host ports for whatever interface the plugins before it in the chain have made. All its verbs.
//!
//! Follows the CNI specification, "chaining", and the keys of the reference plugin (v1.9.1). The ports are those of `ports`, on
//! the addresses of `prevResult`. Their record stands in a network of its own, `<network>.portmap`, beside that of the plugin
//! that made the interface, if that is one of ours: so DEL needs nothing but the key, and GC, the agent and
//! `podwire status` know them.

use crate::answer::{Answer, kernel, state};
use crate::log::Trace;
use crate::{check, del, gc, order, ports};
use host::netns::Netns;
use host::rtnl::Rtnl;
use host::store::{Claim, Held, ROOT, Store};
use model::attachment::{Attachment, Key, Mode};
use model::bandwidth::Bandwidth;
use model::cni::{Call, CniError, Code, NetConf, Valid, Verb, Version, hand_on};
use model::name::IfName;
use model::state::Lookup;
use std::net::IpAddr;
use std::path::Path;

/// So often the remains of an earlier ADD of the same attachment are removed.
const REMAINS: usize = 8;

pub(crate) fn run(
    call: &Call,
    conf: &Valid,
    began: u64,
    trace: &mut Trace,
) -> Result<Answer, CniError> {
    let conf = conf.for_ports()?;
    match call.verb {
        Verb::Add => return add(call, &conf, trace),
        Verb::Del => del::del(call, &conf, trace)?,
        Verb::Check => check(call, &conf)?,
        Verb::Gc => gc::gc(&conf, began, trace)?,
        Verb::Status => {
            conf.must_know("STATUS", Version::V1_1_0)?;
            conf.port_maps(&[])?;
        }
        Verb::Version => {}
    }
    Ok(Answer::Nothing)
}

fn add(call: &Call, conf: &Valid, trace: &mut Trace) -> Result<Answer, CniError> {
    let previous = conf.previous.as_ref().ok_or_else(|| {
        CniError::new(Code::Config, "portmap needs prevResult: it must be chained")
    })?;
    let handed_on = hand_on(previous, conf.version)?;
    let key = del::key(call, conf)?;
    let addresses = conf.chained(&key.ifname)?;
    let mut network = conf.port_maps(&addresses)?;
    if network.ports.is_empty() || addresses.is_empty() {
        // What an ADD before this one published is not asked for any more.
        del::del(call, conf, trace)?;
        return Ok(Answer::Object(handed_on));
    }
    let store = Store::open(Path::new(ROOT), &conf.name).map_err(|error| state(&error))?;
    let mut rtnl = Rtnl::open().map_err(|error| kernel(&error))?;
    let way = way(addresses[0].ip, &mut rtnl)?;
    if is_bridge(&way, &mut rtnl)? {
        // Its pods answer each other past us; see `Set::Bridges`.
        network.mode = Mode::Chained(way.clone());
    }
    let wanted = Attachment {
        addresses,
        mode: Mode::Chained(way.clone()),
        ..record(call, key, &network)
    };
    publish(&wanted, &way, (&network, &store), &mut rtnl, trace)?;
    Ok(Answer::Object(handed_on))
}

/// The link that leads to the pod. An address behind a gateway is somebody else's: what is led there comes back past us.
fn way(ip: IpAddr, rtnl: &mut Rtnl) -> Result<IfName, CniError> {
    let ways = rtnl.ways(&[ip]).map_err(|error| kernel(&error))?;
    let why = match ways.into_values().next() {
        Some(Lookup { dev, gateway: None }) => return Ok(dev),
        Some(Lookup {
            gateway: Some(gateway),
            ..
        }) => format!("the way to {ip} leads over gateway {gateway}"),
        None => format!("the node has no route to {ip}"),
    };
    Err(CniError::new(Code::Config, why)
        .details("prevResult must have an address on a link of this node"))
}

fn is_bridge(link: &IfName, rtnl: &mut Rtnl) -> Result<bool, CniError> {
    let seen = rtnl.link(link).map_err(|error| kernel(&error))?;
    Ok(seen.and_then(|seen| seen.kind).as_deref() == Some("bridge"))
}

fn publish(
    wanted: &Attachment,
    way: &IfName,
    (network, store): (&NetConf, &Store),
    rtnl: &mut Rtnl,
    trace: &mut Trace,
) -> Result<(), CniError> {
    for _ in 0..REMAINS {
        let held = match store.claim(wanted).map_err(|error| state(&error))? {
            Claim::New(held) => held,
            Claim::Again(held) => {
                del::detach(held, store, rtnl, trace)?;
                continue;
            }
        };
        trace.step("record");
        let made = order::node(network, store, held.key()).map_err(|error| kernel(&error));
        let made = made.and_then(|()| ports::publish(wanted, way, (network, store), rtnl));
        trace.step("ports");
        return match made {
            Ok(()) => Ok(()),
            Err(error) => match del::detach(held, store, rtnl, trace) {
                Ok(()) => Err(error),
                Err(left) => {
                    let details = format!("{}; withdrawing failed as well: {left}", error.details);
                    Err(error.details(details))
                }
            },
        };
    }
    let container = &wanted.key.container;
    let msg = format!("container {container} is attached by several callers at once");
    Err(CniError::new(Code::TryAgain, msg))
}

fn record(call: &Call, key: Key, network: &NetConf) -> Attachment {
    let path = call.netns.clone().unwrap_or_default();
    // Where the path means nothing to us, nobody may judge the pod by it.
    let inode = Netns::open(Path::new(&path))
        .map(|netns| netns.inode())
        .ok();
    Attachment {
        addresses: Vec::new(),
        key,
        netns: path,
        inode: inode.unwrap_or_default(),
        standpoint: inode.and_then(|_| host::netns::standpoint().ok()),
        mode: network.mode.clone(),
        mtu: None,
        pod: call.pod.clone(),
        ports: network.ports.clone(),
        mac: None,
        bandwidth: Bandwidth::default(),
        bridged: network.bridged.clone(),
        born: host::clock::boottime_ns(),
    }
}

fn check(call: &Call, conf: &Valid) -> Result<(), CniError> {
    conf.must_know("CHECK", Version::V0_4_0)?;
    let key = del::key(call, conf)?;
    let addresses = conf.chained(&key.ifname)?;
    let network = conf.port_maps(&addresses)?;
    if network.ports.is_empty() || addresses.is_empty() {
        return Ok(());
    }
    let store = Store::existing(Path::new(ROOT), &conf.name).map_err(|error| state(&error))?;
    let held = match &store {
        Some(store) => store.hold(&key).map_err(|error| state(&error))?,
        None => None,
    };
    let found = match held.as_ref().and_then(Held::record) {
        Some(record) if record.ports == network.ports => {
            ports::differences(record).map_err(|error| kernel(&error))?
        }
        Some(_) | None => vec![format!(
            "no such host ports of container {} as {} are recorded",
            key.container, key.ifname
        )],
    };
    if found.is_empty() {
        return Ok(());
    }
    Err(check::different(&found))
}
