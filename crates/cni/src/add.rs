//! ADD: record, leases, link, pod, ways, host ports, answer.
//!
//! The record is there before the first change and names what is about to be taken; its lock is held until the answer. A
//! failure removes what was made, as a DEL would. A second ADD of an attachment that stands as it should gets the same
//! answer; what an ADD that was killed left is removed first.

use crate::answer::{kernel, state};
use crate::del::{self, node_end};
use crate::log::Trace;
use crate::standing::standing;
use crate::{addresses, bridged, delegate, order, ports};
use host::netns::{Netns, NetnsError};
use host::rtnl::{LinkSeen, Rtnl};
use host::store::{Claim, Held, ROOT, Store};
use host::sysctl::Sysctls;
use model::attachment::{Attachment, Key, Mode};
use model::change::Change;
use model::cni::{Asked, Call, CniError, CniResult, Code, NetConf, Valid};
use model::name::IfName;
use model::net::Sysctl;
use plan::wire::{self, Bridge, Ground, Wiring};
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::Path;

/// So many addresses that the kernel knows as taken, although no lease does, are passed over.
const WITNESSED: usize = 16;

/// So often the remains of an earlier ADD of the same attachment are removed.
const REMAINS: usize = 8;

/// Says whether bridged packets are shown to the IP hooks: then hairpin is needed.
const BRIDGE_NF: &str = "bridge/bridge-nf-call-iptables";

pub(crate) fn add(call: &Call, conf: &Valid, trace: &mut Trace) -> Result<CniResult, CniError> {
    let mut network = conf.network(&call.args)?;
    bridged::complete(&mut network)?;
    delegate::is_there(conf)?;
    let asked = conf.asked(&call.args, &network)?;
    let key = del::key(call, conf)?;
    let node_end = node_end(&key)?;
    let path = call.netns.clone().unwrap_or_default();
    let netns = open(&path)?;
    let mut rtnl = Rtnl::open().map_err(|error| kernel(&error))?;
    let mut pod = netns
        .enter(Rtnl::open)
        .and_then(|opened| opened)
        .map_err(|error| kernel(&error))?;
    let bridge = bridgeable(&network.mode, &mut rtnl)?;
    let occupied = is_occupied(&key.ifname, &mut pod)?;
    let attachment = Attachment {
        addresses: Vec::new(),
        key,
        netns: path,
        inode: netns.inode(),
        standpoint: Some(netns.standpoint()),
        mode: network.mode.clone(),
        mtu: network.mtu,
        mac: asked.mac,
        bandwidth: asked.bandwidth,
        pod: call.pod.clone(),
        ports: network.ports.clone(),
        bridged: network.bridged.clone(),
        born: host::clock::boottime_ns(),
    };
    trace.step("open");
    let root = Path::new(ROOT);
    let store = if occupied {
        // Only a record can say that the interface is ours: where there is none, none is made.
        let store = Store::existing(root, &conf.name).map_err(|error| state(&error))?;
        store.ok_or_else(|| not_ours(&attachment.key.ifname))?
    } else {
        Store::open(root, &conf.name).map_err(|error| state(&error))?
    };
    let mut ends = Ends {
        netns: &netns,
        rtnl: &mut rtnl,
        pod,
        occupied,
        bridge,
    };
    let want = Want { network, asked };
    if conf.delegate()?.is_none() {
        return make(&attachment, &store, &want, &node_end, &mut ends, trace);
    }
    let work = (&store, want, &node_end);
    bridged::delegated(attachment, conf, work, &mut ends, trace)
}

/// Takes the record and makes everything that it stands for.
pub(crate) fn make(
    attachment: &Attachment,
    store: &Store,
    want: &Want,
    node_end: &IfName,
    ends: &mut Ends<'_>,
    trace: &mut Trace,
) -> Result<CniResult, CniError> {
    let start = claim(store, (attachment, want), ends.netns, ends.rtnl, trace)?;
    let held = match start {
        Start::Stands(record) => {
            return answer(&record, node_end, ends.bridge.as_ref(), ends.rtnl);
        }
        Start::New(held) => held,
    };
    trace.step("record");
    finish(held, store, want, node_end, ends, trace)
}

/// What the configuration says, and what is asked for this one attachment.
pub(crate) struct Want {
    pub network: NetConf,
    pub asked: Asked,
}

/// The namespace, the node's socket and the pod's.
pub(crate) struct Ends<'a> {
    pub netns: &'a Netns,
    pub rtnl: &'a mut Rtnl,
    pub pod: Rtnl,
    /// An interface of the wanted name was there when the call began.
    pub occupied: bool,
    /// The bridge as it was then.
    pub bridge: Option<LinkSeen>,
}

enum Start<'s> {
    New(Held<'s>),
    Stands(Box<Attachment>),
}

fn open(path: &str) -> Result<Netns, CniError> {
    Netns::open(Path::new(path)).map_err(|why| {
        let error = CniError::new(Code::Netns, format!("CNI_NETNS {path:?}: {why}"));
        match why {
            NetnsError::Own(_) => error.details("a container needs a network namespace of its own"),
            NetnsError::Gone(_) | NetnsError::NotOne(_) | NetnsError::Other(_) => error,
        }
    })
}

/// Whether the container has an interface of that name.
fn is_occupied(ifname: &IfName, pod: &mut Rtnl) -> Result<bool, CniError> {
    let link = pod.link(ifname).map_err(|error| kernel(&error))?;
    Ok(link.is_some())
}

fn not_ours(ifname: &IfName) -> CniError {
    let msg = format!(
        "interface {ifname} is already in the container's network namespace and is not ours"
    );
    let hint = format!("see: ip link show {ifname}, in the namespace");
    CniError::new(Code::InTheWay, msg).details(hint)
}

/// Refuses a bridge's name that is another link's, before the node is put in order for it. The bridge, if it is there.
fn bridgeable(mode: &Mode, rtnl: &mut Rtnl) -> Result<Option<LinkSeen>, CniError> {
    let Mode::Bridge(bridge) = mode else {
        return Ok(None);
    };
    let link = rtnl.link(bridge).map_err(|error| kernel(&error))?;
    let kind = link
        .as_ref()
        .map(|link| link.kind.as_deref().unwrap_or("hardware"));
    match kind.filter(|kind| *kind != "bridge") {
        None => Ok(link),
        Some(kind) => {
            let msg = format!("link {bridge} is no bridge but of type {kind}");
            let hint = "name another one with the key \"bridge\"";
            Err(CniError::new(Code::InTheWay, msg).details(hint))
        }
    }
}

fn claim<'s>(
    store: &'s Store,
    (attachment, want): (&Attachment, &Want),
    netns: &Netns,
    rtnl: &mut Rtnl,
    trace: &mut Trace,
) -> Result<Start<'s>, CniError> {
    for _ in 0..REMAINS {
        match store.claim(attachment).map_err(|error| state(&error))? {
            Claim::New(held) => return Ok(Start::New(held)),
            Claim::Again(held) => {
                if let Some(record) = standing(&held, (attachment, want), netns, rtnl)? {
                    return Ok(Start::Stands(Box::new(record)));
                }
                del::detach(held, store, rtnl, trace)?;
            }
        }
    }
    let msg = format!(
        "container {} is attached by several callers at once",
        attachment.key.container
    );
    Err(CniError::new(Code::TryAgain, msg))
}

/// What is told. A bridge's MAC is asked for, because the bridge may be older than we, and one that nobody set changes with
/// the ports; that which we give a bridge stays.
pub(crate) fn answer(
    record: &Attachment,
    node_end: &IfName,
    before: Option<&LinkSeen>,
    rtnl: &mut Rtnl,
) -> Result<CniResult, CniError> {
    let before = before.and_then(|link| link.mac);
    let mac = match &record.mode {
        Mode::Routed | Mode::Leased | Mode::Chained(_) => None,
        Mode::Bridge(_) if before.is_some() && before == wire::bridge_mac(record) => before,
        Mode::Bridge(bridge) => {
            let link = rtnl.link(bridge).map_err(|error| kernel(&error))?;
            link.and_then(|link| link.mac)
        }
    };
    Ok(wire::answer(record, node_end, mac))
}

/// Makes everything, or removes what was made and says why.
fn finish(
    mut held: Held<'_>,
    store: &Store,
    want: &Want,
    node_end: &IfName,
    ends: &mut Ends<'_>,
    trace: &mut Trace,
) -> Result<CniResult, CniError> {
    let made = attach(&mut held, store, want, node_end, ends, trace);
    match (made, held.record().cloned()) {
        (Ok(()), Some(record)) => answer(&record, node_end, ends.bridge.as_ref(), ends.rtnl),
        (Ok(()), None) => Err(CniError::new(
            Code::Io,
            "the record of this attachment has become unreadable",
        )),
        (Err(error), _) => match del::detach(held, store, ends.rtnl, trace) {
            Ok(()) => Err(error),
            Err(left) => {
                let details = format!(
                    "{}; removing what was made failed as well: {left}",
                    error.details
                );
                Err(error.details(details))
            }
        },
    }
}

fn attach(
    held: &mut Held<'_>,
    store: &Store,
    Want { network, asked }: &Want,
    node_end: &IfName,
    ends: &mut Ends<'_>,
    trace: &mut Trace,
) -> Result<(), CniError> {
    // What was ours is gone by now.
    if let Some(Key { ifname, .. }) = held.key().filter(|_| ends.occupied)
        && is_occupied(ifname, &mut ends.pod)?
    {
        return Err(not_ours(ifname));
    }
    if network.bridged.is_none() {
        order::node(network, store, held.key()).map_err(|error| kernel(&error))?;
    }
    trace.step("node");
    let bridge_nf = matches!(network.mode, Mode::Bridge(_)) && bridged_packets_are_filtered();
    // Bridges of somebody's own are apart from each other, and may have the same addresses.
    let mut avoid = match network.bridged {
        Some(_) => bridged::given_before(network, store)?,
        None => store.leased_elsewhere().map_err(|error| state(&error))?,
    };
    let mut witnessed: Vec<IpAddr> = Vec::new();
    while witnessed.len() < WITNESSED {
        if held.record().is_none_or(Attachment::has_leases) {
            match &network.ipam {
                Some(ipam) => addresses::take_of(ipam, held, store, &avoid)?,
                None => addresses::take(held, store, (&network.spans, &asked.ips), &avoid)?,
            }
        }
        trace.step("lease");
        let Some(record) = held.record() else {
            return Err(CniError::new(
                Code::Io,
                "the record of this attachment has become unreadable",
            ));
        };
        if network.bridged.is_some() {
            // In this order: an address in the way refuses the pod, and then nothing is made for it.
            bridged::clear(record, ends.bridge.is_some(), ends.rtnl)?;
            bridged::node(network, store, held.key())?;
        }
        let bridge = found(record, ends.bridge.as_ref());
        let wiring = wire::wire(record, node_end, Ground { bridge_nf, bridge });
        match apply(&wiring, ends, trace).map_err(|error| refused(&error))? {
            None => {
                ports::publish(record, node_end, (network, store), ends.rtnl)?;
                trace.step("ports");
                return Ok(());
            }
            Some(taken) if asked.ips.contains(&taken) => return Err(addresses::routed(taken)),
            Some(taken) => witnessed.push(taken),
        }
        avoid.extend(&witnessed);
        // Somebody's pod has that address although nobody leased it: begin again with another one.
        let undo = [Change::RemoveLink(node_end.clone())];
        ends.rtnl
            .apply(&undo, None)
            .ok()
            .map_err(|error| kernel(&error))?;
        held.release_all().map_err(|error| state(&error))?;
    }
    let routes: Vec<String> = witnessed.iter().map(IpAddr::to_string).collect();
    let msg = format!(
        "the node has routes to addresses that no attachment holds: {}",
        routes.join(", ")
    );
    Err(CniError::new(Code::InTheWay, msg).details("see: ip route show proto 112"))
}

/// What the call began with, in the plan's words.
fn found(record: &Attachment, bridge: Option<&LinkSeen>) -> Bridge {
    bridge.map_or(Bridge::Absent, |link| Bridge::Standing {
        up: link.up,
        ours: link.mac.is_some() && link.mac == wire::bridge_mac(record),
    })
}

/// Does what is planned. `Some` if the kernel has a route to that address already: it is somebody's.
fn apply(
    wiring: &Wiring,
    ends: &mut Ends<'_>,
    trace: &mut Trace,
) -> Result<Option<IpAddr>, host::Error> {
    let (sysctls, links) = apart(&wiring.node);
    ends.rtnl.apply(&links, Some(ends.netns.as_fd())).ok()?;
    write(&sysctls)?;
    trace.step("link");
    let (sysctls, inside) = apart(&wiring.pod);
    ends.netns.enter(|| write(&sysctls))??;
    ends.pod.apply(&inside, None).ok()?;
    trace.step("pod");
    let report = ends.rtnl.apply(&wiring.ways, None);
    trace.step("ways");
    let Some((place, error)) = report.failed.into_iter().next() else {
        return Ok(None);
    };
    match wiring.ways.get(place) {
        Some(Change::AddRoute(route)) if error.is_there() => Ok(Some(route.dst.addr())),
        _ => Err(error),
    }
}

/// Sysctls are files, the rest goes through the socket. A link's sysctls appear with the link.
fn apart(changes: &[Change]) -> (Vec<Sysctl>, Vec<Change>) {
    let (mut sysctls, mut rest) = (Vec::new(), Vec::new());
    for change in changes {
        if let Change::SetSysctl(sysctl) = change {
            sysctls.push(sysctl.clone());
        } else {
            rest.push(change.clone());
        }
    }
    (sysctls, rest)
}

/// Writes sysctls of the namespace that this thread is in.
fn write(sysctls: &[Sysctl]) -> Result<(), host::Error> {
    for sysctl in sysctls {
        match Sysctls::default().write(sysctl) {
            // A kernel without IPv6 has no advertisements; an IPv6 address fails by itself there.
            Err(error) if error.is_gone() => {}
            other => {
                other?;
            }
        }
    }
    Ok(())
}

fn bridged_packets_are_filtered() -> bool {
    Sysctls::default()
        .read(BRIDGE_NF)
        .is_ok_and(|value| value.as_deref() == Some("1"))
}

/// The kernel's refusal.
fn refused(error: &host::Error) -> CniError {
    let code = if error.is_there() {
        Code::InTheWay
    } else {
        Code::Kernel
    };
    CniError::new(code, error.to_string())
}
