//! What of Podwire lies on a node's disks: that which a look at the kernel ([`crate::state::HostState`]) does not show.
//!
//! `host` fills it, `plan::uninstall` says what is to go. Paths are text, as they are printed.

use crate::addr::PodRange;
use crate::cni::Kind;
use crate::net::Former;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

/// Files and folders, and what they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// The file that the agent writes for the runtime, whether it is there or not.
    pub conflist: String,
    /// Files for the runtime that ask for types of ours, with these types.
    pub configurations: BTreeMap<String, BTreeSet<Kind>>,
    /// Files for the runtime that ask for none of them.
    pub foreign: BTreeSet<String>,
    /// Files that nobody else has written: the plugin under any name, its log, and what was not finished.
    pub files: BTreeSet<String>,
    /// The state folder, if it is there.
    pub run: Option<String>,
    /// Ranges that the state folder remembers.
    pub ranges: BTreeSet<PodRange>,
    /// Sysctls as they were, in the order in which they were changed.
    pub former: Vec<Former>,
}
