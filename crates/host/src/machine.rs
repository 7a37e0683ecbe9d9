//! A node as a whole, for the agent: rtnetlink, nftables, sysctls and the runtime's configuration file together.
//!
//! Observing fills [`HostState`]; applying takes a list of any changes, keeps its order and goes on after a failure.
//! Neighbouring changes of one kind are one batch or one transaction. What to ask and what to change is decided elsewhere.

use crate::conntrack::Conntrack;
use crate::events::Port;
use crate::nft::Nft;
use crate::rtnl::Rtnl;
use crate::sysctl::{self, Sysctls};
use crate::{Error, Report};
use model::change::Change;
use model::firewall::Elements;
use model::name::IfName;
use model::ports::Flows;
use model::state::{HostState, Lookup};
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// File of the conflist in the runtime's folder. A runtime takes the first one in the alphabet: a file that somebody wrote by
/// hand, such as `10-bash-cni-plugin.conf`, stays in force.
pub const CONFLIST: &str = "10-podwire.conflist";

/// Where things lie on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// A writable mount of `/proc/sys/net`.
    pub sysctls: PathBuf,
    /// The CNI configuration that the runtime reads.
    pub conflist: PathBuf,
    /// The state folder, if sysctls that are changed are to be noted there as they were.
    pub notes: Option<PathBuf>,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            sysctls: sysctl::ROOT.into(),
            conflist: Path::new("/etc/cni/net.d").join(CONFLIST),
            notes: None,
        }
    }
}

/// What to look at besides links, addresses, routes and the ruleset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Sysctls, by path below `/proc/sys/net`.
    pub sysctls: Vec<String>,
    /// Addresses: how would the kernel reach them?
    pub lookups: Vec<IpAddr>,
}

/// What [`Machine::glance`] sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// How the kernel would reach the addresses; one without a way is absent.
    pub ways: BTreeMap<IpAddr, Lookup>,
    /// The conflist that the runtime reads, if there is one.
    pub conflist: Option<String>,
}

/// The node whose network namespace the thread was in when it was opened.
#[derive(Debug)]
pub struct Machine {
    rtnl: Rtnl,
    nft: Nft,
    conntrack: Conntrack,
    sysctls: Sysctls,
    conflist: PathBuf,
    notes: Option<PathBuf>,
}

impl Machine {
    /// Opens the sockets.
    ///
    /// # Errors
    /// The kernel gives one of them not.
    pub fn open(paths: Paths) -> Result<Self, Error> {
        Ok(Self {
            rtnl: Rtnl::open()?,
            nft: Nft::open()?,
            conntrack: Conntrack::open()?,
            sysctls: Sysctls::below(&paths.sysctls),
            conflist: paths.conflist,
            notes: paths.notes,
        })
    }

    /// The netlink ports through which changes are made here: what [`crate::events::Events::drain`] need not tell.
    ///
    /// # Errors
    /// A socket has no address.
    pub fn ports(&mut self) -> Result<[Port; 2], Error> {
        let (route, nftables) = (self.rtnl.port()?, self.nft.port()?);
        Ok([Port::Route(route), Port::Nftables(nftables)])
    }

    /// What is there. The ruleset's generation is read first, so that a change made meanwhile is noticed when changes are
    /// applied with it.
    ///
    /// # Errors
    /// The first thing that could not be looked at.
    pub fn observe(&mut self, ask: &Ask) -> Result<HostState, Error> {
        let generation = self.nft.generation()?;
        let node = self.rtnl.observe_node(&ask.lookups)?;
        let mut state = HostState {
            links: node.links,
            addresses: node.addresses,
            routes: node.routes,
            lookups: node.lookups,
            table: self.nft.table()?,
            foreign: self.nft.foreign()?,
            conflist: read_conflist(&self.conflist)?,
            generation,
            ..HostState::default()
        };
        for key in &ask.sysctls {
            if let Some(value) = self.sysctls.read(key)? {
                state.sysctls.insert(key.clone(), value);
            }
        }
        Ok(state)
    }

    /// Links with a route that a router advertised.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn advertised(&mut self) -> Result<BTreeSet<IfName>, Error> {
        self.rtnl.advertised()
    }

    /// How the kernel would reach these addresses, and the conflist: what has to be seen before a change to a node that is
    /// known otherwise.
    ///
    /// # Errors
    /// The kernel does not tell, or the conflist cannot be read.
    pub fn glance(&mut self, to: &[IpAddr]) -> Result<Glance, Error> {
        Ok(Glance {
            ways: self.rtnl.ways(to)?,
            conflist: read_conflist(&self.conflist)?,
        })
    }

    /// What stands in our table in the places of these elements.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn standing(&mut self, wanted: &Elements) -> Result<Elements, Error> {
        self.nft.standing(wanted)
    }

    /// Applies changes in order; one that fails does not stop the others. Neighbouring nftables changes are one
    /// transaction, and all of them are refused ([`Error::is_stale`]) once the ruleset is no longer that of `generation`.
    pub fn apply(&mut self, changes: &[Change], generation: u32) -> Report {
        self.apply_on(changes, &mut { generation })
    }

    /// As [`Machine::apply`], but each change by itself, and what became of it is told at once.
    pub fn apply_each(
        &mut self,
        changes: &[Change],
        mut generation: u32,
        mut tell: impl FnMut(&Change, Result<(), Error>),
    ) {
        for change in changes {
            let report = self.apply_on(std::slice::from_ref(change), &mut generation);
            tell(change, report.ok());
        }
    }

    fn apply_on(&mut self, changes: &[Change], generation: &mut u32) -> Report {
        let mut report = Report::default();
        for run in runs(changes) {
            let part = &changes[run.clone()];
            match Part::of(&part[0]) {
                Part::Rtnl => {
                    let failed = self.rtnl.apply(part, None).failed.into_iter();
                    let placed = failed.map(|(place, error)| (run.start + place, error));
                    report.failed.extend(placed);
                }
                Part::Nft => match self.nft.apply(part, Some(*generation)) {
                    Ok(()) => *generation = self.after(*generation),
                    // All or nothing: none of them was made.
                    Err(error) => report
                        .failed
                        .extend(run.map(|place| (place, error.clone()))),
                },
                Part::Flows => {
                    if let Err(error) = self.forget(part) {
                        report
                            .failed
                            .extend(run.map(|place| (place, error.clone())));
                    }
                }
                Part::File => {
                    for place in run {
                        if let Err(error) = self.write(&changes[place]) {
                            report.failed.push((place, error));
                        }
                    }
                }
            }
        }
        report
    }

    /// The generation after our own transaction: the next one, or the same if there was nothing to do. Any other is
    /// somebody else's as well, and what was observed is stale.
    fn after(&mut self, before: u32) -> u32 {
        // The kernel leaves 0 out.
        let next = before.checked_add(1).unwrap_or(1);
        match self.nft.generation() {
            Ok(now) if now == before => before,
            _ => next,
        }
    }

    fn forget(&mut self, changes: &[Change]) -> Result<(), Error> {
        let flows: Vec<Flows> = changes.iter().filter_map(Change::flows).collect();
        self.conntrack
            .forget(&flows, &mut self.rtnl, &mut self.nft)
            .map(drop)
    }

    fn write(&self, change: &Change) -> Result<(), Error> {
        if let Change::SetSysctl(sysctl) = change {
            self.sysctls.change(sysctl, self.notes.as_deref())?;
        }
        if let Change::WriteConflist(text) = change {
            write_conflist(&self.conflist, text)?;
        }
        if let Change::RemoveFile(path) = change {
            remove(path, |path| fs::remove_file(path))?;
        }
        if let Change::RemoveFolder(path) = change {
            remove(path, remove_folder)?;
        }
        Ok(())
    }
}

/// Who carries a change out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Rtnl,
    Nft,
    Flows,
    File,
}

impl Part {
    fn of(change: &Change) -> Self {
        match change {
            Change::AddLink(_)
            | Change::SetUp(_)
            | Change::SetPromiscuous(_)
            | Change::SetMac(..)
            | Change::SetDown(_)
            | Change::RemoveLink(_)
            | Change::AskAddress(_)
            | Change::AddRouteWith(..)
            | Change::AdmitStation(..)
            | Change::AddAddress(_)
            | Change::RemoveAddress(_)
            | Change::AddRoute(_)
            | Change::ReplaceRoute(_)
            | Change::RemoveRoute(_)
            | Change::AddNeighbour(_)
            | Change::RemoveNeighbour(_)
            | Change::PutQdisc(_) => Self::Rtnl,
            Change::PutTable(_)
            | Change::RemoveTable
            | Change::AddElements(..)
            | Change::RemoveElements(..)
            | Change::InsertRule(..)
            | Change::RemoveRule(..) => Self::Nft,
            Change::ForgetFlows(_) => Self::Flows,
            Change::SetSysctl(_)
            | Change::WriteConflist(_)
            | Change::RemoveFile(_)
            | Change::RemoveFolder(_) => Self::File,
        }
    }
}

/// Cuts the list into runs that one part carries out.
fn runs(changes: &[Change]) -> Vec<Range<usize>> {
    let mut start = 0;
    changes
        .chunk_by(|a, b| Part::of(a) == Part::of(b))
        .map(|run| {
            let range = start..start + run.len();
            start = range.end;
            range
        })
        .collect()
}

/// What is gone already is removed.
fn remove(path: &str, how: impl Fn(&Path) -> io::Result<()>) -> Result<(), Error> {
    match how(Path::new(path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| Error::io(format!("delete {path}"), &error)),
    }
}

/// One that is mounted somewhere, as in a container, stays and is empty.
fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::ResourceBusy => {
            let is_empty = fs::read_dir(path)?.next().is_none();
            if is_empty { Ok(()) } else { Err(error) }
        }
        other => other,
    }
}

fn read_conflist(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("read {}", path.display()), &error)),
    }
}

/// By rename: the runtime reads the folder at any time, and reads only files that end as a configuration does.
fn write_conflist(path: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        let folder = path.parent().unwrap_or_else(|| Path::new("/"));
        fs::create_dir_all(folder)?;
        let unfinished = path.with_extension("unfinished");
        let mut file = File::create(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        // The new name, too, outlives a loss of power.
        File::open(folder)?.sync_all()
    };
    write().map_err(|error: io::Error| Error::io(format!("write {}", path.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::net::Sysctl;

    #[test]
    fn neighbours_of_one_kind_go_together_and_the_order_stays() {
        let sysctl = || {
            Change::SetSysctl(Sysctl {
                key: "ipv4/ip_forward".into(),
                value: "1".into(),
            })
        };
        let link = || Change::SetUp(IfName::new("lo").unwrap());
        let changes = [
            sysctl(),
            sysctl(),
            link(),
            link(),
            Change::RemoveTable,
            sysctl(),
        ];
        assert_eq!(runs(&changes), [0..2, 2..4, 4..5, 5..6]);
        assert_eq!(runs(&[]), []);
    }

    #[test]
    fn a_conflist_appears_whole_and_alone() {
        let folder = std::env::temp_dir().join(format!("podwire-conflist-{}", std::process::id()));
        let path = folder.join("net.d/10-podwire.conflist");
        assert_eq!(read_conflist(&path), Ok(None));
        write_conflist(&path, "one").unwrap();
        write_conflist(&path, "two").unwrap();
        assert_eq!(read_conflist(&path), Ok(Some("two".into())));
        let files = fs::read_dir(folder.join("net.d")).unwrap().count();
        assert_eq!(files, 1);
        fs::remove_dir_all(folder).unwrap();
    }
}
