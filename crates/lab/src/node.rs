//! A node: one machine, with a network, a disk, and cables into LAN segments.
//!
//! It starts as a machine that was just installed: addresses and a default route on its uplinks,
//! nothing else set. What a pod network needs beyond that is the business of the programs under
//! test. A reboot keeps `/etc` and `/var` and nothing else.

use std::net::IpAddr;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::book::{Book, lock};
use crate::place::{Doors, Place};
use crate::pod::Pod;
use crate::segment::Segment;
use crate::{disk, namespace, wire};

/// Describes a machine before it is switched on.
#[derive(Debug)]
#[must_use = "a node exists only once it is started"]
pub struct NodeBuilder {
    book: Arc<Book>,
    name: String,
    uplinks: Vec<(Segment, Vec<String>)>,
    gateways: Vec<String>,
    addresses: Vec<String>,
    forwarding: bool,
}

impl NodeBuilder {
    pub(crate) fn new(book: &Arc<Book>, name: &str) -> Self {
        Self {
            book: Arc::clone(book),
            name: name.to_owned(),
            uplinks: Vec::new(),
            gateways: Vec::new(),
            addresses: Vec::new(),
            forwarding: false,
        }
    }

    /// Plugs it into a segment: `eth0` for the first, `eth1` for the next, with these addresses.
    pub fn uplink(mut self, segment: &Segment, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|&text| text.to_owned()).collect();
        self.uplinks.push((segment.clone(), addresses));
        self
    }

    /// Default route of the gateway's family.
    pub fn gateway(mut self, address: &str) -> Self {
        self.gateways.push(address.to_owned());
        self
    }

    /// Addresses of the machine itself, on `lo`.
    pub fn addresses(mut self, addresses: &[&str]) -> Self {
        self.addresses
            .extend(addresses.iter().map(|&text| text.to_owned()));
        self
    }

    /// Makes it a router between its uplinks.
    pub fn forwarding(mut self) -> Self {
        self.forwarding = true;
        self
    }

    /// Switches it on.
    pub fn start(self) -> Result<Node> {
        let name = self.name.clone();
        self.build().with_context(|| format!("start node {name}"))
    }

    fn build(self) -> Result<Node> {
        let setup = Setup {
            uplinks: self
                .uplinks
                .into_iter()
                .map(|(segment, addresses)| Ok((segment, parse_all(&addresses)?)))
                .collect::<Result<_>>()?,
            gateways: self
                .gateways
                .iter()
                .map(|text| text.parse().with_context(|| format!("gateway {text}")))
                .collect::<Result<_>>()?,
            addresses: parse_all(&self.addresses)?,
            forwarding: self.forwarding,
        };
        let (network, mounts) = namespace::apart(&self.name, || -> Result<_> {
            let mounts = namespace::new_mounts()?;
            disk::install()?;
            let network = namespace::new_network()?;
            disk::boot()?;
            Ok((network, mounts))
        })??;
        let doors = Doors {
            network: Arc::new(network),
            mounts: Some(Arc::new(mounts)),
        };
        let node = Node {
            machine: Arc::new(Machine {
                place: Place::new(&self.book, &self.name, doors),
                setup,
                ports: Mutex::default(),
                pods: Mutex::default(),
            }),
        };
        node.connect()?;
        Ok(node)
    }
}

/// A running machine; a handle, cheap to clone. The [`Lab`](crate::Lab) owns the machine.
#[derive(Debug, Clone)]
pub struct Node {
    machine: Arc<Machine>,
}

#[derive(Debug)]
struct Machine {
    place: Arc<Place>,
    setup: Setup,
    /// The ports that it is plugged into, in the order of the uplinks.
    ports: Mutex<Vec<String>>,
    pods: Mutex<Vec<Arc<Place>>>,
}

#[derive(Debug)]
struct Setup {
    uplinks: Vec<(Segment, Vec<IpNet>)>,
    gateways: Vec<IpAddr>,
    addresses: Vec<IpNet>,
    forwarding: bool,
}

impl Node {
    /// Makes a pod's network namespace and mounts it on `/run/netns/<name>`, as a runtime does.
    pub fn pod(&self, name: &str) -> Result<Pod> {
        let pod = Pod::new(self, name)?;
        lock(&self.machine.pods).push(Arc::clone(pod.place()));
        Ok(pod)
    }

    /// The addresses of its uplinks, in the order in which they were given.
    pub fn uplink_addresses(&self) -> Vec<IpAddr> {
        let uplinks = &self.machine.setup.uplinks;
        let nets = uplinks.iter().flat_map(|(_, addresses)| addresses);
        nets.map(IpNet::addr).collect()
    }

    /// Power off and on: processes, pods, `/run` and everything in the network are gone.
    ///
    /// `/etc` and `/var` persist, the boot id is another, the uplinks are plugged in again.
    pub fn reboot(&self) -> Result<()> {
        let name = self.name();
        self.restart().with_context(|| format!("reboot {name}"))
    }

    fn restart(&self) -> Result<()> {
        let place = &self.machine.place;
        let book = place.book()?;
        book.kill_in(self.name());
        for pod in lock(&self.machine.pods).drain(..) {
            book.strike(&pod);
        }
        for ((segment, _), port) in self.machine.setup.uplinks.iter().zip(self.take_ports()) {
            segment.unplug(&port)?;
        }
        let network: OwnedFd = place.attempt(|| {
            disk::halt()?;
            let network = namespace::new_network()?;
            disk::boot()?;
            Ok(network)
        })?;
        place.replace(Doors {
            network: Arc::new(network),
            mounts: place.doors()?.mounts,
        });
        self.connect()
    }

    /// Plugs in and configures the uplinks of an empty network namespace.
    fn connect(&self) -> Result<()> {
        let Machine { place, setup, .. } = &*self.machine;
        let doors = place.doors()?;
        for (number, (segment, _)) in setup.uplinks.iter().enumerate() {
            let interface = format!("eth{number}");
            let mac = wire::mac_of(&format!("{} {interface}", place.name()));
            let port = segment.plug(doors.network.as_fd(), &interface, mac)?;
            lock(&self.machine.ports).push(port);
        }
        place.attempt(|| configure(setup))
    }

    fn take_ports(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.machine.ports))
    }
}

impl Deref for Node {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.machine.place
    }
}

fn configure(setup: &Setup) -> Result<()> {
    wire::set_up("lo")?;
    for address in &setup.addresses {
        wire::add_address("lo", *address)?;
    }
    for (number, (_, addresses)) in setup.uplinks.iter().enumerate() {
        let interface = format!("eth{number}");
        // The link-local address must serve at once too; pods' interfaces keep the default.
        wire::set_parameter(&format!("ipv6/conf/{interface}/accept_dad"), "0")?;
        for address in addresses {
            wire::add_address(&interface, *address)?;
        }
        wire::set_up(&interface)?;
    }
    for gateway in &setup.gateways {
        let everything = match gateway {
            IpAddr::V4(_) => IpNet::V4(Ipv4Net::default()),
            IpAddr::V6(_) => IpNet::V6(Ipv6Net::default()),
        };
        wire::add_route(everything, *gateway)?;
    }
    if setup.forwarding {
        wire::set_parameter("ipv4/ip_forward", "1")?;
        wire::set_parameter("ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

fn parse_all(texts: &[String]) -> Result<Vec<IpNet>> {
    texts
        .iter()
        .map(|text| text.parse().with_context(|| format!("address {text}")))
        .collect()
}
