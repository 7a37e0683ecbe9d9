//! What is left of pods that have ended, and what a node shows of it.
//!
//! A record says that there is a pod; the kernel says whether there still is one. Both depend on from where one looks: a
//! process in another network namespace sees none of the links, one in a container sees none of the namespaces that were
//! mounted after its start. So whoever looks says where it stands. What follows from all that is `plan`'s business.

use crate::attachment::{Attachment, Standpoint};
use crate::firewall::Owner;
use crate::name::{IfName, NetworkName, PodRef};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// What a record's path of its network namespace leads to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// A namespace with this inode.
    Namespace(u64),
    /// No namespace: a path whose namespace was unmounted is a plain file.
    Other,
    /// Nothing.
    Gone,
    /// It cannot be looked at.
    Shut,
}

/// The folder that a path is in, as whoever looks has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Folder {
    /// What is mounted in it elsewhere is mounted here as well (`shared` or `master` in `/proc/self/mountinfo`).
    Propagated,
    /// Later mounts elsewhere are not seen here.
    Apart,
    /// It is not there.
    Absent,
}

/// One record as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its network.
    pub network: NetworkName,
    /// Its file's name.
    pub file: String,
    /// What it says; none if that cannot be read.
    pub record: Option<Attachment>,
    /// Somebody works on it.
    pub busy: bool,
    /// Where its path leads.
    pub door: Door,
    /// The folder of that path.
    pub folder: Folder,
}

impl Sighting {
    /// Which record it is: `<network>/<file>`.
    #[must_use]
    pub fn object(&self) -> String {
        format!("{}/{}", self.network, self.file)
    }
}

/// All records of a node, and what could be left without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// From where it was looked.
    pub here: Standpoint,
    /// The links with their aliases.
    pub links: BTreeMap<IfName, Option<String>>,
    /// The records.
    pub records: Vec<Sighting>,
    /// Leases that are no record's.
    pub leases: BTreeSet<(NetworkName, IpAddr)>,
    /// Owners of host ports, as far as they were asked for.
    pub owners: BTreeSet<Owner>,
}

/// What kind of thing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A record whose pod's namespace and link are gone.
    Dead,
    /// A record whose pod's namespace is gone, and whose link stands.
    Stranded,
    /// A record that cannot be read.
    Broken,
    /// A lease without a record.
    Lease,
    /// A link without a record.
    Link,
    /// Host ports without a record.
    Ports,
}

impl Kind {
    /// Those that an agent looks for; host ports without a record it removes when it puts its table in order.
    pub const SWEPT: [Self; 5] = [
        Self::Dead,
        Self::Stranded,
        Self::Broken,
        Self::Lease,
        Self::Link,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Stranded => "stranded",
            Self::Broken => "broken",
            Self::Lease => "lease",
            Self::Link => "link",
            Self::Ports => "ports",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Leak {
    /// What it is.
    pub kind: Kind,
    /// Which one: `<network>/<record>`, `<network>/<address>`, a link's name, an owner.
    pub object: String,
    /// The pod that it was of, where that is known.
    pub pod: Option<PodRef>,
    /// The addresses that it holds.
    pub addresses: Vec<IpAddr>,
    /// How that is known.
    pub why: String,
    /// When its record was written (`CLOCK_BOOTTIME`, nanoseconds): another record may come to have the same name.
    pub born: u64,
    /// Since when it has been seen at every look, by the same clock; none at a first look.
    pub since: Option<u64>,
}

/// A record of which nothing can be said from here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unseen {
    /// Which one: `<network>/<record>`.
    pub object: String,
    /// Why nothing can be said.
    pub cause: Cause,
    /// Its link stands, so its pod lives for all that anybody knows.
    pub linked: bool,
}

/// Why a record cannot be judged from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// It does not say from where its path was seen: an earlier version wrote it.
    Old,
    /// It is of another network namespace than this one.
    Network,
    /// Namespaces that are mounted on the node are not seen here.
    Mounts,
    /// Processes are numbered otherwise here, and its path names one.
    Processes,
    /// Its path may not be looked at.
    Refused,
}
