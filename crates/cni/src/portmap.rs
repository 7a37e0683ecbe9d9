//! Type `portmap`: host ports for whatever interface the plugins before it in the chain have made. All its verbs.
//!
//! Follows the CNI specification, "chaining", and the keys of the reference plugin (v1.9.1). The ports are those of `ports`, on
//! the addresses of `prevResult`. Their record stands in a network of its own, `<network>.portmap`, beside that of the plugin
//! that made the interface, if that is one of ours: so DEL needs nothing but the key, and GC, the agent and
//! `podwire status` know them.

use crate::answer::{Answer, kernel, state};
use crate::claim::{self, Work};
use crate::log::Trace;
use crate::{check, del, gc, order, ports};
use host::netns::Netns;
use host::rtnl::{LinkSeen, Rtnl};
use host::store::{Held, ROOT, Store};
use model::attachment::{Attachment, Mode};
use model::cni::{Call, CniError, Code, NetConf, Valid, Verb, Version, hand_on};
use model::name::IfName;
use std::net::IpAddr;
use std::path::Path;

pub(crate) fn run(
    call: &Call,
    conf: &Valid,
    began: u64,
    trace: &mut Trace,
) -> Result<Answer, CniError> {
    let conf = conf.for_ports()?;
    match call.verb {
        Verb::Add => return add(call, &conf, trace),
        Verb::Del => {
            del::del(call, &conf, trace)?;
        }
        Verb::Check => check(call, &conf)?,
        Verb::Gc => {
            conf.must_know("GC", Version::V1_1_0)?;
            gc::gc(&conf, began, trace)?;
        }
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
    let link = way(addresses[0].ip, &mut rtnl)?;
    let way = link.name;
    if link.kind.as_deref() == Some("bridge") {
        // Its pods answer each other past us; see `Set::Bridges`.
        network.mode = Mode::Chained(way.clone());
    }
    let netns = Netns::open(Path::new(call.netns.as_deref().unwrap_or_default())).ok();
    let mode = Mode::Chained(way.clone());
    let wanted = Attachment {
        addresses,
        ports: network.ports.clone(),
        bridged: network.bridged.clone(),
        ..claim::record(call, key, mode, netns.as_ref())
    };
    let mut publishing = Publishing {
        way: &way,
        network: &network,
        store: &store,
        rtnl: &mut rtnl,
    };
    claim::attach(&wanted, &store, conf, &mut publishing, trace)?;
    Ok(Answer::Object(handed_on))
}

/// The link that leads to the pod. An address behind a gateway is somebody else's: what is led there comes back past us.
fn way(ip: IpAddr, rtnl: &mut Rtnl) -> Result<LinkSeen, CniError> {
    let why = match rtnl.way(ip).map_err(|error| kernel(&error))? {
        Some((link, None)) => return Ok(link),
        Some((_, Some(gateway))) => format!("the way to {ip} leads over gateway {gateway}"),
        None => format!("the node has no route to {ip}"),
    };
    Err(CniError::new(Code::Config, why)
        .details("prevResult must have an address on a link of this node"))
}

struct Publishing<'a> {
    way: &'a IfName,
    network: &'a NetConf,
    store: &'a Store,
    rtnl: &'a mut Rtnl,
}

impl Work for Publishing<'_> {
    /// What an ADD before this one published may be something else, or lead elsewhere.
    fn standing(&mut self, _: &Held<'_>, _: &Attachment) -> Result<Option<Attachment>, CniError> {
        Ok(None)
    }

    fn make(&mut self, held: &mut Held<'_>, trace: &mut Trace) -> Result<(), CniError> {
        let (network, store) = (self.network, self.store);
        order::node(network, store, held.key()).map_err(|error| kernel(&error))?;
        let record = held.record().ok_or_else(claim::unreadable)?;
        let made = ports::publish(record, self.way, (network, store), self.rtnl);
        trace.step("ports");
        made
    }

    fn rtnl(&mut self) -> Result<&mut Rtnl, CniError> {
        Ok(self.rtnl)
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
