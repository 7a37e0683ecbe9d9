//! What is there: one link with all that hangs on it (CHECK), or a node without its pods (the agent).
//!
//! Follows rtnetlink(7); lists are filtered by the kernel (`NETLINK_GET_STRICT_CHK`) and once more here, because an older
//! kernel ignores a filter that it does not know. One link alone is asked for by name, without a list.

use super::Rtnl;
use super::decode::{self, LinkSeen, RouteKind, RouteSeen};
use super::encode::PROTOCOL;
use crate::Error;
use ipnet::IpNet;
use model::addr::{Mac, host_prefix};
use model::name::IfName;
use model::net::{Address, Route, Target, is_pod_link};
use model::state::{End, LinkState, Lookup};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// One link and what hangs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// The link.
    pub link: LinkSeen,
    /// Its addresses, link-local ones included.
    pub addresses: BTreeSet<IpNet>,
    /// Routes of the main table out of it, of every protocol.
    pub routes: BTreeSet<Route>,
    /// Its permanent neighbour entries.
    pub neighbours: BTreeMap<IpAddr, Mac>,
}

/// A node without its pods' links; the fields are those of [`model::state::HostState`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Links by name, without the pods' veths.
    pub links: BTreeMap<IfName, LinkState>,
    /// Addresses on those links.
    pub addresses: BTreeSet<Address>,
    /// Routes of Podwire's protocol in the main table, without those out of the pods' veths.
    pub routes: BTreeSet<Route>,
    /// How the kernel would reach the addresses that were asked for.
    pub lookups: BTreeMap<IpAddr, Lookup>,
}

impl Rtnl {
    /// The link with this name, if there is one.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn link(&mut self, name: &IfName) -> Result<Option<LinkSeen>, Error> {
        let mut message = without_statistics();
        let text = name.as_str().to_owned();
        message.attributes.push(LinkAttribute::IfName(text));
        let message = RouteNetlinkMessage::GetLink(message);
        let operation = format!("show link {name}");
        match self.socket.get(&operation, &message, decode::link) {
            Ok(link) => Ok(Some(link)),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All links.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn links(&mut self) -> Result<Vec<LinkSeen>, Error> {
        let message = RouteNetlinkMessage::GetLink(without_statistics());
        self.socket.dump("list links", &message, decode::link)
    }

    /// The addresses of the link with this name; none if there is no such link.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn addresses_of(&mut self, name: &IfName) -> Result<BTreeSet<IpNet>, Error> {
        let Some(link) = self.link(name)? else {
            return Ok(BTreeSet::new());
        };
        let addresses = self.addresses(link.index)?;
        Ok(addresses.into_iter().map(|(_, net)| net).collect())
    }

    /// The link with this name and its addresses, routes and permanent neighbours, if there is one.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn observe_link(&mut self, name: &IfName) -> Result<Option<LinkView>, Error> {
        let Some(link) = self.link(name)? else {
            return Ok(None);
        };
        let addresses = self.addresses(link.index)?;
        let routes = self.routes(Some(link.index), None)?;
        let names = BTreeMap::from([(link.index, link.name.clone())]);
        Ok(Some(LinkView {
            addresses: addresses.into_iter().map(|(_, net)| net).collect(),
            routes: routes
                .into_iter()
                .filter_map(|r| known(r, &names))
                .collect(),
            neighbours: self.neighbours(link.index)?,
            link,
        }))
    }

    /// The link with this name as one end of a pod's link, if there is one. `bridge` is the one that it may be a port of.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn observe_end(
        &mut self,
        name: &IfName,
        bridge: Option<&IfName>,
    ) -> Result<Option<End>, Error> {
        let Some(view) = self.observe_link(name)? else {
            return Ok(None);
        };
        let master = match bridge {
            None => None,
            Some(bridge) => self
                .link(bridge)?
                .filter(|seen| view.link.master == Some(seen.index))
                .map(|_| bridge.clone()),
        };
        Ok(Some(End {
            up: view.link.up,
            alias: view.link.alias.unwrap_or_default(),
            bridge: master,
            addresses: view.addresses,
            routes: view.routes,
            neighbours: view.neighbours,
        }))
    }

    /// Whether packets to `ip` are for this node.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn is_own(&mut self, ip: IpAddr) -> Result<bool, Error> {
        let answer = self
            .socket
            .get(&format!("get route to {ip}"), &way_to(ip), |raw| {
                Some(decode::is_own(raw))
            });
        match answer {
            Err(error) if error.errno().is_some_and(is_no_way) => Ok(false),
            other => other,
        }
    }

    /// The node's own links, addresses and routes, and how it would reach each of `lookups`.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn observe_node(&mut self, lookups: &[IpAddr]) -> Result<NodeView, Error> {
        let links = self.links()?;
        let names: BTreeMap<u32, IfName> = links
            .iter()
            .map(|link| (link.index, link.name.clone()))
            .collect();
        let mut view = NodeView::default();
        for ip in lookups {
            if let Some(lookup) = self.lookup(*ip, &names)? {
                view.lookups.insert(*ip, lookup);
            }
        }
        let own: BTreeMap<u32, IfName> = names
            .into_iter()
            .filter(|(_, name)| !is_pod_link(name.as_str()))
            .collect();
        view.links = links
            .into_iter()
            .filter(|link| own.contains_key(&link.index))
            .map(|link| (link.name.clone(), state(&link)))
            .collect();
        for (index, net) in self.addresses(0)? {
            if let Some(dev) = own.get(&index).cloned() {
                view.addresses.insert(Address { net, dev });
            }
        }
        let routes = self.routes(None, Some(PROTOCOL))?;
        view.routes = routes.into_iter().filter_map(|r| known(r, &own)).collect();
        Ok(view)
    }

    /// The links with a route that the kernel or somebody in its place took from a router's advertisement.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn advertised(&mut self) -> Result<BTreeSet<IfName>, Error> {
        let routes = self.routes(None, Some(RouteProtocol::Ra.into()))?;
        let out = |route: RouteSeen| match route.kind {
            RouteKind::Out(index, _) => Some(index),
            RouteKind::Unreachable => None,
        };
        let indexes: BTreeSet<u32> = routes.into_iter().filter_map(out).collect();
        if indexes.is_empty() {
            return Ok(BTreeSet::new());
        }
        let links = self.links()?.into_iter();
        let links = links.filter(|link| indexes.contains(&link.index));
        Ok(links.map(|link| link.name).collect())
    }

    /// Addresses of the link with this index; of all links with 0.
    fn addresses(&mut self, index: u32) -> Result<Vec<(u32, IpNet)>, Error> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        let message = RouteNetlinkMessage::GetAddress(message);
        self.socket.dump("list addresses", &message, |raw| {
            decode::address(raw).filter(|(of, _)| index == 0 || *of == index)
        })
    }

    /// Routes of the main tables. One list of both families: asked for one family alone, the kernel calls it an error
    /// that no route was ever made there.
    fn routes(&mut self, dev: Option<u32>, protocol: Option<u8>) -> Result<Vec<RouteSeen>, Error> {
        let mut message = RouteMessage::default();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::from(protocol.unwrap_or(0));
        message.attributes.extend(dev.map(RouteAttribute::Oif));
        let message = RouteNetlinkMessage::GetRoute(message);
        let found = self
            .socket
            .dump("list routes", &message, |raw| Some(decode::routes(raw)))?;
        let all = found.into_iter().flatten();
        Ok(all
            .filter(|route| protocol.is_none_or(|p| route.protocol == p))
            .collect())
    }

    fn neighbours(&mut self, index: u32) -> Result<BTreeMap<IpAddr, Mac>, Error> {
        let mut message = NeighbourMessage::default();
        message.attributes = vec![NeighbourAttribute::IfIndex(index)];
        let message = RouteNetlinkMessage::GetNeighbour(message);
        let found = self.socket.dump("list neighbours", &message, |raw| {
            let (of, ip, mac) = decode::permanent(raw)?;
            (of == index).then_some((ip, mac))
        })?;
        Ok(found.into_iter().collect())
    }

    /// How the kernel would reach these addresses; one without a way is absent.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn ways(&mut self, to: &[IpAddr]) -> Result<BTreeMap<IpAddr, Lookup>, Error> {
        let mut ways = BTreeMap::new();
        if to.is_empty() {
            return Ok(ways);
        }
        let links = self.links()?.into_iter();
        let names = links.map(|link| (link.index, link.name)).collect();
        for ip in to {
            if let Some(lookup) = self.lookup(*ip, &names)? {
                ways.insert(*ip, lookup);
            }
        }
        Ok(ways)
    }

    /// By which link, and by way of which gateway, the kernel would reach this address; none without a way. No list is read.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn way(&mut self, ip: IpAddr) -> Result<Option<(LinkSeen, Option<IpAddr>)>, Error> {
        let Some((index, gateway)) = self.way_out(ip)? else {
            return Ok(None);
        };
        let mut message = without_statistics();
        message.header.index = index;
        let message = RouteNetlinkMessage::GetLink(message);
        let operation = format!("show the link that leads to {ip}");
        let link = self.socket.get(&operation, &message, decode::link)?;
        Ok(Some((link, gateway)))
    }

    fn lookup(
        &mut self,
        ip: IpAddr,
        names: &BTreeMap<u32, IfName>,
    ) -> Result<Option<Lookup>, Error> {
        let found = self.way_out(ip)?;
        Ok(found.and_then(|(index, gateway)| {
            let dev = names.get(&index)?.clone();
            Some(Lookup { dev, gateway })
        }))
    }

    /// The link's index and the gateway.
    fn way_out(&mut self, ip: IpAddr) -> Result<Option<(u32, Option<IpAddr>)>, Error> {
        let operation = format!("get route to {ip}");
        let answer = self
            .socket
            .get(&operation, &way_to(ip), |raw| Some(decode::lookup(raw)));
        match answer {
            Ok(found) => Ok(found),
            Err(error) if error.errno().is_some_and(is_no_way) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The kernel's answers to a lookup that mean "by no way": no route, or one of type unreachable, prohibit or blackhole, or
/// no such address family.
fn is_no_way(errno: Errno) -> bool {
    [
        Errno::NETUNREACH,
        Errno::HOSTUNREACH,
        Errno::ACCESS,
        Errno::INVAL,
        Errno::AFNOSUPPORT,
        Errno::OPNOTSUPP,
    ]
    .contains(&errno)
}

/// The question how the kernel would reach `ip`.
fn way_to(ip: IpAddr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.destination_prefix_length = host_prefix(ip).prefix_len();
    message.attributes = vec![RouteAttribute::Destination(ip.into())];
    RouteNetlinkMessage::GetRoute(message)
}

fn without_statistics() -> LinkMessage {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}

/// The route with its link's name, if that link is one of `names`.
fn known(seen: RouteSeen, names: &BTreeMap<u32, IfName>) -> Option<Route> {
    let target = match seen.kind {
        RouteKind::Unreachable => Target::Unreachable,
        RouteKind::Out(index, None) => Target::Dev(names.get(&index)?.clone()),
        RouteKind::Out(index, Some(gateway)) => Target::Via(gateway, names.get(&index)?.clone()),
    };
    Some(Route {
        dst: seen.dst,
        target,
        src: seen.src,
    })
}

fn state(link: &LinkSeen) -> LinkState {
    LinkState {
        index: link.index,
        mtu: link.mtu,
        up: link.up,
        bridge: link.kind.as_deref() == Some("bridge"),
        mac: link.mac,
        master: link.master,
    }
}
