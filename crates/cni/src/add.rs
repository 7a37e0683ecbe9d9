//! ADD: record, addresses, link, pod, ways, host ports, answer.
//!
//! The record is there before the first change and names what is about to be taken; its lock is held until the answer. A
//! failure removes what was made, as a DEL would. A second ADD of an attachment that stands as it should gets the same
//! answer; what an ADD that was killed left is removed first. The frame of that stands in `claim`.

use crate::addresses::{self, Part};
use crate::answer::{kernel, state};
use crate::claim::{self, Work};
use crate::del::{self, node_end};
use crate::log::Trace;
use crate::{bridged, delegate, order, ports, reserved, standing};
use host::netns::{Netns, NetnsError};
use host::rtnl::{LinkSeen, Rtnl, Settling};
use host::store::{Held, ROOT, Store};
use host::sysctl::Sysctls;
use model::attachment::{Attachment, Key, Mode};
use model::change::Change;
use model::cni::{Asked, Call, CniError, CniResult, Code, NetConf, Valid};
use model::name::IfName;
use model::net::Sysctl;
use plan::wire::{self, Bridge, Ground, Wiring};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

/// So many addresses that the kernel knows as taken, although no lease does, are passed over.
const WITNESSED: usize = 16;

/// So long the kernel may ask whether somebody else has an address: it takes one to two seconds.
const SETTLED: Duration = Duration::from_secs(10);

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
    let (netns, pod) = open(&path)?;
    let mut pod = pod.map_err(|error| kernel(&error))?;
    let mut rtnl = Rtnl::open().map_err(|error| kernel(&error))?;
    let bridge = bridgeable(&network.mode, &mut rtnl)?;
    let occupied = is_occupied(&key.ifname, &mut pod)?;
    let wanted = Attachment {
        mtu: network.mtu,
        mac: asked.mac,
        bandwidth: asked.bandwidth,
        ports: network.ports.clone(),
        bridged: network.bridged.clone(),
        ..claim::record(call, key, network.mode.clone(), Some(&netns))
    };
    trace.step("open");
    let root = Path::new(ROOT);
    let store = if occupied {
        // Only a record can say that the interface is ours: where there is none, none is made.
        let store = Store::existing(root, &conf.name).map_err(|error| state(&error))?;
        store.ok_or_else(|| not_ours(&wanted.key.ifname))?
    } else {
        Store::open(root, &conf.name).map_err(|error| state(&error))?
    };
    let data_dir = wanted.data_dir().map(Path::new);
    let must_be_known = occupied || data_dir.is_some();
    if must_be_known && !store.has(&wanted.key).map_err(|error| state(&error))? {
        // What another plugin made is not ours to undo, and it would be undone if a record were made first.
        if occupied {
            return Err(not_ours(&wanted.key.ifname));
        }
        data_dir.map_or(Ok(()), |path| reserved::first(path, &wanted.key))?;
    }
    let mut wiring = Attaching {
        conf,
        store: &store,
        want: Want { network, asked },
        node_end: &node_end,
        netns: &netns,
        rtnl,
        pod,
        occupied,
        bridge,
    };
    let record = claim::attach(&wanted, &store, conf, &mut wiring, trace)?;
    answer(&record, &node_end, wiring.bridge.as_ref(), &mut wiring.rtnl)
}

/// What the configuration says, and what is asked for this one attachment.
pub(crate) struct Want {
    pub network: NetConf,
    pub asked: Asked,
}

/// What is wanted, and where it is made: the namespace, the node's socket and the pod's.
struct Attaching<'a> {
    conf: &'a Valid,
    store: &'a Store,
    want: Want,
    node_end: &'a IfName,
    netns: &'a Netns,
    rtnl: Rtnl,
    pod: Rtnl,
    /// An interface of the wanted name was there when the call began.
    occupied: bool,
    /// The bridge as it was then.
    bridge: Option<LinkSeen>,
}

fn open(path: &str) -> Result<(Netns, Result<Rtnl, host::Error>), CniError> {
    Netns::open_and(Path::new(path), Rtnl::open).map_err(|why| {
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

/// What is told. A bridge's MAC is asked for, because the bridge may be older than we, and one that nobody set changes with
/// the ports; that which we give a bridge stays.
fn answer(
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

impl Work for Attaching<'_> {
    fn standing(
        &mut self,
        held: &Held<'_>,
        wanted: &Attachment,
    ) -> Result<Option<Attachment>, CniError> {
        standing::standing(held, (wanted, &self.want), self.netns, &mut self.rtnl)
    }

    fn make(&mut self, held: &mut Held<'_>, trace: &mut Trace) -> Result<(), CniError> {
        // What was ours is gone by now.
        if let Some(Key { ifname, .. }) = held.key().filter(|_| self.occupied)
            && is_occupied(ifname, &mut self.pod)?
        {
            return Err(not_ours(ifname));
        }
        if self.want.network.bridged.is_none() {
            order::node(&self.want.network, self.store, held.key())
                .map_err(|error| kernel(&error))?;
        }
        trace.step("node");
        self.given_by_others(held)?;
        self.wire(held, trace)
    }

    fn rtnl(&mut self) -> Result<&mut Rtnl, CniError> {
        Ok(&mut self.rtnl)
    }
}

impl Attaching<'_> {
    /// Addresses that are not leased here: another plugin's, and those that are reserved in files.
    fn given_by_others(&mut self, held: &mut Held<'_>) -> Result<(), CniError> {
        if let Some(name) = self.conf.delegate()? {
            delegate::add(held, name, self.conf)?;
        } else if let (Some(path), Some(key)) = (self.data_dir(), held.key()) {
            let given = reserved::take(path, key, &self.parts()?)?;
            held.rewrite_addresses(given)
                .map_err(|error| state(&error))?;
        } else {
            return Ok(());
        }
        let record = held.record().ok_or_else(claim::unreadable)?;
        let ranges = record.addresses.iter().map(|address| address.range);
        self.want.network.ranges = ranges.collect();
        Ok(())
    }

    fn data_dir(&self) -> Option<&Path> {
        let ipam = self.want.network.ipam.as_ref()?;
        ipam.data_dir.as_deref().map(Path::new)
    }

    fn parts(&self) -> Result<Vec<Part<'_>>, CniError> {
        addresses::parts(&self.want.network, &self.want.asked.ips)
    }

    /// Addresses of other people's pods that no lease of this network says.
    fn avoid(&self) -> Result<BTreeSet<IpAddr>, CniError> {
        // Bridges of somebody's own are apart from each other, and may have the same addresses.
        match self.want.network.bridged {
            Some(_) => reserved::given(reserved::folder(self.conf), &self.conf.name),
            None => self.store.leased_elsewhere().map_err(|error| state(&error)),
        }
    }

    /// Makes the link and all around it, with addresses that are leased here if nobody else has given any.
    fn wire(&mut self, held: &mut Held<'_>, trace: &mut Trace) -> Result<(), CniError> {
        let is_bridge = matches!(self.want.network.mode, Mode::Bridge(_));
        let bridge_nf = is_bridge && bridged_packets_are_filtered();
        let leases = held.record().is_none_or(Attachment::has_leases);
        let mut avoid = if leases {
            self.avoid()?
        } else {
            BTreeSet::new()
        };
        let mut witnessed: Vec<IpAddr> = Vec::new();
        while witnessed.len() < WITNESSED {
            if leases {
                let folder = reserved::folder(self.conf);
                addresses::take(held, self.store, &self.parts()?, &avoid, folder)?;
            }
            trace.step("lease");
            let record = held.record().ok_or_else(claim::unreadable)?;
            let network = &self.want.network;
            if network.bridged.is_some() {
                // In this order: an address in the way refuses the pod, and then nothing is made for it.
                bridged::clear(record, self.bridge.is_some(), &mut self.rtnl)?;
                bridged::node(network, self.store, held.key())?;
            }
            let bridge = found(record, self.bridge.as_ref());
            let wiring = wire::wire(record, self.node_end, Ground { bridge_nf, bridge });
            let taken = self
                .apply(&wiring, trace)
                .map_err(|error| refused(&error))?;
            let Some(taken) = taken else {
                let network = (&self.want.network, self.store);
                ports::publish(record, self.node_end, network, &mut self.rtnl)?;
                trace.step("ports");
                return Ok(());
            };
            if self.want.asked.ips.contains(&taken) {
                return Err(addresses::routed(taken));
            }
            witnessed.push(taken);
            avoid.extend(&witnessed);
            // Somebody's pod has that address although nobody leased it: begin again with another one.
            let undo = [Change::RemoveLink(self.node_end.clone())];
            self.rtnl
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

    /// Does what is planned. `Some` if the kernel has a route to that address already: it is somebody's.
    fn apply(&mut self, wiring: &Wiring, trace: &mut Trace) -> Result<Option<IpAddr>, host::Error> {
        let (sysctls, links) = apart(&wiring.node);
        self.rtnl.apply(&links, Some(self.netns.as_fd())).ok()?;
        write(&sysctls)?;
        trace.step("link");
        let (sysctls, inside) = apart(&wiring.pod);
        let asks = wire::asks(&inside);
        let settling = self.netns.enter(|| {
            write(&sysctls)?;
            asks.is_some().then(Settling::open).transpose()
        })??;
        self.pod.apply(&inside, None).ok()?;
        if let (Some((ifname, ips)), Some(settling)) = (asks, settling) {
            settling.wait(&mut self.pod, &ifname, &ips, SETTLED)?;
        }
        trace.step("pod");
        let report = self.rtnl.apply(&wiring.ways, None);
        trace.step("ways");
        let Some((place, error)) = report.failed.into_iter().next() else {
            return Ok(None);
        };
        match wiring.ways.get(place) {
            Some(Change::AddRoute(route)) if error.is_there() => Ok(Some(route.dst.addr())),
            _ => Err(error),
        }
    }
}

/// What the call began with, in the plan's words.
fn found(record: &Attachment, bridge: Option<&LinkSeen>) -> Bridge {
    bridge.map_or(Bridge::Absent, |link| Bridge::Standing {
        up: link.up,
        foreign: link
            .mac
            .filter(|mac| wire::bridge_mac(record) != Some(*mac)),
    })
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
