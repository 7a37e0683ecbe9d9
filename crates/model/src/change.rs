//! Everything that Podwire knows how to do to a machine, as a value.
//!
//! The same list is what `plan` decides, `host` applies, `podwired --dry-run` prints and golden tests show. A change says
//! what it does in one line, in the words of ip(8) and nft(8). Order is the list's order.

use crate::addr::Mac;
use crate::bandwidth::Qdisc;
use crate::firewall::{ChainRef, Element, Rule, Set, Table};
use crate::name::IfName;
use crate::net::{Address, Link, Metrics, Neighbour, Route, Sysctl};
use crate::ports::Flows;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// One step from what is to what should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes a sysctl.
    SetSysctl(Sysctl),
    /// Makes a link and brings it up (of a veth: the host end). A bridge that is already there is left as it is.
    AddLink(Link),
    /// Brings a link up.
    SetUp(IfName),
    /// Makes a link hear every frame.
    SetPromiscuous(IfName),
    /// Gives a link this MAC for good: that of a bridge which nobody set changes with its ports.
    SetMac(IfName, Mac),
    /// Brings a link down.
    SetDown(IfName),
    /// Removes a link, and with it what hangs on it.
    RemoveLink(IfName),
    /// Puts an address on a link; one that is there stays.
    AddAddress(Address),
    /// Puts an address on a link that can be used once the kernel has asked there whether somebody else has it.
    AskAddress(Address),
    /// Takes an address from a link.
    RemoveAddress(Address),
    /// Adds a route, and fails if one for the same destination is there: the second witness against a duplicate address.
    AddRoute(Route),
    /// Adds a route beside whatever routes lead there already: other networks of the pod may have theirs. In IPv4 it goes before
    /// them, in IPv6 it is another next hop.
    AddRouteWith(Route, Metrics),
    /// Adds a route or puts it in the place of another for the same destination.
    ReplaceRoute(Route),
    /// Removes a route.
    RemoveRoute(Route),
    /// Writes a permanent neighbour entry, over whatever entry was there.
    AddNeighbour(Neighbour),
    /// Lets frames of this MAC in through a locked port of a bridge.
    AdmitStation(Mac, IfName),
    /// Removes a neighbour entry.
    RemoveNeighbour(Neighbour),
    /// Puts a queue at the root of a link, in the place of the one that was there.
    PutQdisc(Qdisc),
    /// Puts our table, whole, in the place of any older one; one transaction.
    PutTable(Table),
    /// Removes our table.
    RemoveTable,
    /// Adds elements to a set of ours. In a set with owners it fails if another one has the place.
    AddElements(Set, Vec<Element>),
    /// Removes elements from a set of ours.
    RemoveElements(Set, Vec<Element>),
    /// Puts a rule into another program's chain: before the rule with this handle, or at the end.
    InsertRule(ChainRef, Option<u64>, Rule),
    /// Removes a rule of ours from another program's chain.
    RemoveRule(ChainRef, u64),
    /// Makes the kernel forget flows, so that their next packets are looked at anew.
    ForgetFlows(Flows),
    /// Writes the CNI configuration for the runtime, by rename.
    WriteConflist(String),
    /// Removes the file with this path.
    RemoveFile(String),
    /// Removes the folder with this path and everything in it.
    RemoveFolder(String),
}

impl Change {
    /// Whether it takes away what stands.
    #[must_use]
    pub fn takes_away(&self) -> bool {
        match self {
            Self::RemoveLink(_)
            | Self::RemoveAddress(_)
            | Self::RemoveRoute(_)
            | Self::RemoveNeighbour(_)
            | Self::RemoveTable
            | Self::RemoveElements(..)
            | Self::RemoveRule(..)
            | Self::SetDown(_)
            | Self::RemoveFile(_)
            | Self::RemoveFolder(_) => true,
            Self::SetSysctl(_)
            | Self::AddLink(_)
            | Self::SetUp(_)
            | Self::SetPromiscuous(_)
            | Self::SetMac(..)
            | Self::AddAddress(_)
            | Self::AskAddress(_)
            | Self::AddRoute(_)
            | Self::AddRouteWith(..)
            | Self::AdmitStation(..)
            | Self::ReplaceRoute(_)
            | Self::AddNeighbour(_)
            | Self::PutQdisc(_)
            | Self::PutTable(_)
            | Self::AddElements(..)
            | Self::InsertRule(..)
            | Self::ForgetFlows(_)
            | Self::WriteConflist(_) => false,
        }
    }

    /// The flows that are to be forgotten, if it is that.
    #[must_use]
    pub fn flows(&self) -> Option<Flows> {
        if let Self::ForgetFlows(flows) = self {
            Some(*flows)
        } else {
            None
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetSysctl(sysctl) => write!(f, "set {sysctl}"),
            Self::AddLink(link) => write!(f, "add {link}"),
            Self::SetUp(name) => write!(f, "set link {name} up"),
            Self::SetPromiscuous(name) => write!(f, "set link {name} promisc on"),
            Self::SetMac(name, mac) => write!(f, "set link {name} address {mac}"),
            Self::SetDown(name) => write!(f, "set link {name} down"),
            Self::RemoveLink(name) => write!(f, "delete link {name}"),
            Self::AddAddress(address) => write!(f, "add {address}"),
            Self::AskAddress(address) => write!(f, "add {address} after duplicate detection"),
            Self::RemoveAddress(address) => write!(f, "delete {address}"),
            Self::AddRoute(route) => write!(f, "add {route}"),
            Self::AddRouteWith(route, metrics) => write!(f, "add {route}{metrics}"),
            Self::ReplaceRoute(route) => write!(f, "replace {route}"),
            Self::RemoveRoute(route) => write!(f, "delete {route}"),
            Self::AddNeighbour(neighbour) => write!(f, "replace {neighbour}"),
            Self::AdmitStation(mac, dev) => write!(f, "admit station {mac} dev {dev}"),
            Self::RemoveNeighbour(neighbour) => write!(f, "delete {neighbour}"),
            Self::PutQdisc(qdisc) => write!(f, "replace {qdisc}"),
            Self::PutTable(table) => write!(f, "put {}", Listing(table)),
            Self::RemoveTable => write!(f, "delete table inet {}", crate::firewall::TABLE),
            Self::AddElements(set, elements) => write!(f, "add element {set} {}", Braces(elements)),
            Self::RemoveElements(set, elements) => {
                write!(f, "delete element {set} {}", Braces(elements))
            }
            Self::InsertRule(chain, Some(handle), rule) => {
                write!(f, "insert rule {chain} before handle {handle} {rule}")
            }
            Self::InsertRule(chain, None, rule) => write!(f, "add rule {chain} {rule}"),
            Self::RemoveRule(chain, handle) => write!(f, "delete rule {chain} handle {handle}"),
            Self::ForgetFlows(flows) => write!(f, "forget {flows}"),
            Self::WriteConflist(text) => write!(f, "write conflist {text}"),
            Self::RemoveFile(path) => write!(f, "delete file {path}"),
            Self::RemoveFolder(path) => write!(f, "delete folder {path}"),
        }
    }
}

struct Braces<'a>(&'a [Element]);

impl fmt::Display for Braces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ ")?;
        for (i, element) in self.0.iter().enumerate() {
            write!(f, "{}{element}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str(" }")
    }
}

/// The table on one line: its version and what its sets hold. The chains are printed by [`Table`]'s own listing.
struct Listing<'a>(&'a Table);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "table inet {} version {}",
            crate::firewall::TABLE,
            self.0.version
        )?;
        for (set, elements) in &self.0.elements {
            let list: Vec<Element> = elements.iter().cloned().collect();
            write!(f, " {set} {}", Braces(&list))?;
        }
        Ok(())
    }
}
