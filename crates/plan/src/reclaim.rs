//! What a dead pod has left, and since when.
//!
//! The kernel is the witness: with a network namespace its veth vanishes. So a record is dead only if its link is gone *and* its
//! path leads to its namespace no more *and* nobody works on it; and it is reclaimed only when all that has held for a
//! while. A path that leads nowhere proves nothing to somebody who could not see the namespace anyway, hence where a record
//! was written and from where it is looked at count as well. Whatever is not proven is said, and left alone.

mod findings;

pub use findings::findings;

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use model::attachment::{Attachment, Key};
use model::firewall::Owner;
use model::name::IfName;
use model::net::is_pod_link;
use model::reclaim::{Cause, Door, Folder, Kind, Leak, Sighting, Survey, Unseen};

/// Below this a path names a process, and which one depends on who asks.
const PROCESSES: &str = "/proc/";

/// What is left, and what cannot be judged from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// In the order of the survey's records, then leases, links and host ports.
    pub leaks: Vec<Leak>,
    /// In the order of the survey.
    pub unseen: Vec<Unseen>,
}

/// Judges everything that was seen in one look.
#[must_use]
pub fn judge(survey: &Survey) -> Judgement {
    let mut judgement = Judgement::default();
    let view = View::of(survey);
    for sighting in survey.records.iter().filter(|sighting| !sighting.busy) {
        let object = sighting.object();
        let Some(record) = &sighting.record else {
            judgement.leaks.push(broken(object));
            continue;
        };
        let linked = view.has_link(record);
        match view.pod(sighting, record) {
            Pod::Lives => {}
            Pod::Unknown(cause) => judgement.unseen.push(Unseen {
                object,
                cause,
                linked,
            }),
            Pod::Gone => judgement.leaks.push(left(object, record, linked)),
        }
    }
    judgement.leaks.extend(view.orphans());
    judgement
}

/// Since when each leak has been seen at every look.
#[derive(Clone, Debug, Default)]
pub struct Ages {
    since: BTreeMap<Identity, u64>,
}

/// What makes a leak the same one as at the look before.
type Identity = (Kind, String, u64);

impl Ages {
    /// Takes a look in, at `now` (nanoseconds of `CLOCK_BOOTTIME`), and says since when each leak has been one: what is not
    /// among them is none any more, and begins anew when it comes back.
    pub fn look(&mut self, mut leaks: Vec<Leak>, now: u64) -> Vec<Leak> {
        let before = core::mem::take(&mut self.since);
        for leak in &mut leaks {
            let identity = (leak.kind, leak.object.clone(), leak.born);
            let since = before.get(&identity).map_or(now, |since| (*since).min(now));
            self.since.insert(identity, since);
            leak.since = Some(since);
        }
        leaks
    }
}

/// Whether it has been left for at least `grace` nanoseconds.
#[must_use]
pub fn is_due(leak: &Leak, now: u64, grace: u64) -> bool {
    leak.since
        .is_some_and(|since| now.saturating_sub(since) >= grace)
}

/// Of records that are dead and due, those whose pod is dead at this look, too: one under the lock of each of them.
#[must_use]
pub fn confirmed(again: &Survey) -> Vec<bool> {
    let leaks = judge(again).leaks;
    let is_dead = |sighting: &Sighting| {
        let object = sighting.object();
        let mut dead = leaks.iter().filter(|leak| leak.kind == Kind::Dead);
        dead.any(|leak| leak.object == object)
    };
    again.records.iter().map(is_dead).collect()
}

enum Pod {
    Lives,
    Gone,
    Unknown(Cause),
}

/// A survey, ordered for questions.
struct View<'s> {
    survey: &'s Survey,
    /// Names of the links that records stand for.
    known: BTreeSet<String>,
    /// Whose host ports have a record.
    owners: BTreeSet<Owner>,
    /// Aliases of the other links: one of ours that somebody gave another name still has its alias.
    strays: BTreeSet<&'s str>,
    /// Propagation cannot be true: see [`View::of`].
    doubted: bool,
}

impl<'s> View<'s> {
    /// If pods have links, and no path of any pod leads to its namespace, then the paths are to be doubted and not the pods:
    /// whatever the mounts' flags say, we do not see.
    fn of(survey: &'s Survey) -> Self {
        let records = || {
            let read = survey.records.iter();
            read.filter_map(|sighting| Some((sighting, sighting.record.as_ref()?)))
        };
        let keys: Vec<Key> = survey.records.iter().filter_map(key).collect();
        let known: BTreeSet<String> = keys.iter().map(Key::host_interface).collect();
        let others = survey
            .links
            .iter()
            .filter(|(name, _)| !known.contains(name.as_str()));
        let mut view = Self {
            survey,
            strays: others.filter_map(|(_, alias)| alias.as_deref()).collect(),
            owners: keys.iter().map(Key::owner).collect(),
            known,
            doubted: false,
        };
        let seen = |(sighting, record): &(&Sighting, &Attachment)| leads_home(sighting, record);
        let linked = |(sighting, record): (&Sighting, &Attachment)| {
            let elsewhere = record
                .standpoint
                .is_some_and(|it| it.mnt != survey.here.mnt);
            let trusted = sighting.folder == Folder::Propagated && !names_process(record);
            elsewhere && trusted && !sighting.busy && view.has_link(record)
        };
        let doubted = !records().any(|both| seen(&both)) && records().any(linked);
        view.doubted = doubted;
        view
    }

    fn has_link(&self, record: &Attachment) -> bool {
        let name = IfName::new(&record.key.host_interface());
        name.is_ok_and(|name| self.survey.links.contains_key(&name))
            || self.strays.contains(record.alias().as_str())
    }

    fn pod(&self, sighting: &Sighting, record: &Attachment) -> Pod {
        if leads_home(sighting, record) {
            return Pod::Lives;
        }
        if let Some(cause) = self.blind(sighting, record) {
            return Pod::Unknown(cause);
        }
        match sighting.door {
            Door::Shut => Pod::Unknown(Cause::Refused),
            Door::Namespace(_) | Door::Other | Door::Gone => Pod::Gone,
        }
    }

    /// Why a path that does not lead to the pod's namespace says nothing about the pod.
    fn blind(&self, sighting: &Sighting, record: &Attachment) -> Option<Cause> {
        let here = self.survey.here;
        let Some(there) = record.standpoint else {
            return Some(Cause::Old);
        };
        if here.net != there.net {
            return Some(Cause::Network);
        }
        if names_process(record) {
            return (here.pid != there.pid).then_some(Cause::Processes);
        }
        let sees = here.mnt == there.mnt
            || match sighting.folder {
                Folder::Propagated => !self.doubted,
                Folder::Apart | Folder::Absent => false,
            };
        (!sees).then_some(Cause::Mounts)
    }

    /// What has no record.
    fn orphans(&self) -> impl Iterator<Item = Leak> {
        let leases = self.survey.leases.iter().map(|(network, ip)| Leak {
            addresses: [*ip].into(),
            ..orphan(Kind::Lease, format!("{network}/{ip}"))
        });
        let links = self.survey.links.iter();
        let links = links.filter_map(|(name, alias)| {
            let is_ours = is_pod_link(name.as_str()) && !self.known.contains(name.as_str());
            let alias = alias.as_ref().filter(|_| is_ours)?;
            Some(Leak {
                why: format!("{name} says that it is of {alias}, of which there is no record"),
                ..orphan(Kind::Link, name.to_string())
            })
        });
        let ports = self.survey.owners.difference(&self.owners);
        let ports = ports.map(|owner| orphan(Kind::Ports, owner.as_str().to_owned()));
        leases.chain(links).chain(ports)
    }
}

/// Whose record it is; a broken one has its key in its name, unless it is hashed there.
fn key(sighting: &Sighting) -> Option<Key> {
    match &sighting.record {
        Some(record) => Some(record.key.clone()),
        None => Key::of_file(&sighting.network, &sighting.file),
    }
}

fn names_process(record: &Attachment) -> bool {
    record.netns.starts_with(PROCESSES)
}

/// Whether the record's path leads to its namespace: then its pod lives, whoever looks.
fn leads_home(sighting: &Sighting, record: &Attachment) -> bool {
    sighting.door == Door::Namespace(record.inode)
}

fn left(object: String, record: &Attachment, linked: bool) -> Leak {
    let link = record.key.host_interface();
    let path = &record.netns;
    let (kind, why) = if linked {
        let why = format!("its network namespace {path} is gone, but link {link} stands");
        (Kind::Stranded, why)
    } else {
        let why = format!("its network namespace {path} and its link {link} are gone");
        (Kind::Dead, why)
    };
    Leak {
        kind,
        object,
        pod: record.pod.clone(),
        addresses: record.addresses.iter().map(|address| address.ip).collect(),
        why,
        born: record.born,
        since: None,
    }
}

fn broken(object: String) -> Leak {
    Leak {
        why: "it cannot be read, so nobody knows whose it is".into(),
        ..orphan(Kind::Broken, object)
    }
}

fn orphan(kind: Kind, object: String) -> Leak {
    Leak {
        kind,
        object,
        pod: None,
        addresses: Vec::new(),
        why: "there is no record of it".into(),
        born: 0,
        since: None,
    }
}
