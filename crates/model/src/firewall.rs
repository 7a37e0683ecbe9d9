//! Podwire's nftables table, and what it must know of other people's.
//!
//! One table `inet podwire` with static chains; whatever changes stands in sets. Rules print in the syntax of nft(8).
//! Which rules and elements there should be is decided in `plan`; how they are encoded, in `host`.

mod set;

pub use set::{Element, Owner, Place, Published, Set, SetKind};

use crate::addr::Family;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use ipnet::IpNet;

/// The table's name; its family is `inet`.
pub const TABLE: &str = "podwire";

/// Comment by which our rules in other people's chains are known, before and after `iptables-save`.
pub const COMMENT: &str = "podwire: pods";

/// Family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableFamily {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
}

impl TableFamily {
    /// Whether packets of `family` pass through tables of this one.
    #[must_use]
    pub fn sees(self, family: Family) -> bool {
        match self {
            Self::Ip => family == Family::V4,
            Self::Ip6 => family == Family::V6,
            Self::Inet => true,
        }
    }
}

impl fmt::Display for TableFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
        })
    }
}

/// Where in the kernel's way of a packet a chain is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// From this machine.
    Output,
    /// To this machine.
    Input,
    /// Through this machine.
    Forward,
    /// After routing.
    Postrouting,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Output => "output",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Postrouting => "postrouting",
        })
    }
}

/// A chain of our own table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// `filter`, or `nat` where addresses are translated.
    pub nat: bool,
    /// Its hook.
    pub hook: Hook,
    /// Its priority at the hook.
    pub priority: i32,
    /// Its rules in order; the policy is accept.
    pub rules: Vec<Rule>,
}

/// A rule: if all of this matches, that happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// What must match.
    pub matches: Vec<Match>,
    /// What happens then.
    pub verdict: Verdict,
    /// Why it is there, for people; at most 127 bytes.
    pub comment: String,
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// The incoming link's name; one that ends in `*` is a prefix.
    Iif(Is, String),
    /// The outgoing link is in a set of names.
    OifIn(Is, Set),
    /// The source address lies in the prefix.
    Source(Is, IpNet),
    /// The destination address lies in the prefix.
    Destination(Is, IpNet),
    /// The source address is in a set.
    SourceIn(Is, Set),
    /// The destination address is in a set.
    DestinationIn(Is, Set),
    /// No route back to the source leads out of the link that the packet came in by.
    NoReversePath,
    /// The destination is an address of this machine.
    ToThisNode,
    /// Source and destination together are in a set of pairs.
    PairIn(Set),
    /// The connection's destination was translated.
    Dnat,
}

/// Whether a condition is meant as it stands, or its opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Is {
    /// `==`
    In,
    /// `!=`
    NotIn,
}

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Lets it pass this chain.
    Accept,
    /// Ends it, and counts it.
    Drop,
    /// Gives it an address of the outgoing link, with a fully random port.
    Masquerade,
    /// Leads it to where a map of ports says; a packet that the map does not know goes on.
    Dnat(Set),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for m in &self.matches {
            write!(f, "{m} ")?;
        }
        match self.verdict {
            Verdict::Accept => f.write_str("accept")?,
            Verdict::Drop => f.write_str("counter drop")?,
            Verdict::Masquerade => f.write_str("masquerade fully-random")?,
            Verdict::Dnat(map) => {
                let protocol = map.protocol();
                let at = if matches!(map.kind(), SetKind::PortsAt(_)) {
                    format!("{protocol} daddr . ")
                } else {
                    String::new()
                };
                write!(
                    f,
                    "dnat {protocol} to {at}meta l4proto . th dport map @{map}"
                )?;
            }
        }
        write!(f, " comment {:?}", self.comment)
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iif(is, name) => write!(f, "iifname {is}{name:?}"),
            Self::OifIn(is, set) => write!(f, "oifname {is}@{set}"),
            Self::Source(is, net) => {
                write!(
                    f,
                    "{} saddr {is}{}",
                    protocol(Family::of(net.addr())),
                    Short(net)
                )
            }
            Self::Destination(is, net) => {
                write!(
                    f,
                    "{} daddr {is}{}",
                    protocol(Family::of(net.addr())),
                    Short(net)
                )
            }
            Self::SourceIn(is, set) => write!(f, "{} saddr {is}@{set}", set.protocol()),
            Self::DestinationIn(is, set) => write!(f, "{} daddr {is}@{set}", set.protocol()),
            Self::NoReversePath => f.write_str("fib saddr . iif oif missing"),
            Self::ToThisNode => f.write_str("fib daddr type local"),
            Self::PairIn(set) => {
                let protocol = set.protocol();
                write!(f, "{protocol} saddr . {protocol} daddr @{set}")
            }
            Self::Dnat => f.write_str("ct status dnat"),
        }
    }
}

/// A prefix as nft(8) prints it: one that holds a single address without its length.
struct Short<'a>(&'a IpNet);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().fmt(f)
        } else {
            self.0.fmt(f)
        }
    }
}

impl fmt::Display for Is {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "",
            Self::NotIn => "!= ",
        })
    }
}

fn protocol(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

/// What stands in the sets. A set that is not named is empty.
pub type Elements = BTreeMap<Set, BTreeSet<Element>>;

/// Our table as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Names the chains and the kinds of the sets; stands in the table's user data.
    pub version: String,
    /// The chains with their rules.
    pub chains: Vec<Chain>,
    /// What the sets hold.
    pub elements: Elements,
}

/// Our table as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableState {
    /// The version in its user data.
    pub version: String,
    /// How many rules each of its chains holds.
    pub rules: BTreeMap<String, usize>,
    /// What its sets hold.
    pub elements: Elements,
}

/// Names a chain of somebody's table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainRef {
    /// The table's family.
    pub family: TableFamily,
    /// The table's name.
    pub table: String,
    /// The chain's name.
    pub chain: String,
}

impl fmt::Display for ChainRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family, self.table, self.chain)
    }
}

/// Another program's base chain of type filter on the forward or input hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChain {
    /// Which chain.
    pub chain: ChainRef,
    /// Its hook.
    pub hook: Hook,
    /// Whether its policy is drop.
    pub drops: bool,
    /// Whether the table has an owner (`NFT_TABLE_F_OWNER`): nobody else can write it.
    pub owned: bool,
    /// Its rules in order.
    pub rules: Vec<ForeignRule>,
}

/// A rule in a foreign chain, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRule {
    /// Its handle in the table.
    pub handle: u64,
    /// What it is to us.
    pub role: Role,
}

/// What a rule in a foreign chain is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ours, known by its comment; with its conditions, as far as they can be read.
    Ours(Vec<Match>),
    /// Drops or rejects every packet that comes to it.
    Final,
    /// Anything else.
    Other,
}
