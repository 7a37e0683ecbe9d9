//! Every order of events in the life of one record: a live pod's is never reclaimed, a dead one's always is.
//!
//! A world small enough to try everything: the pod's namespace, whether a process holds it, its path, its link, the record's
//! lock, what the agent sees, and what it remembers. Each step is one event; the agent's own are the real functions of
//! `plan::reclaim`. A person may break one thing of a live pod at a time: whoever takes away the path *and* the link of a
//! namespace that a process holds has taken away all that there was to see.

use super::{CONTAINER, INODE, NODE, linked, record, seen, survey};
use model::attachment::Standpoint;
use model::name::IfName;
use model::reclaim::{Door, Folder, Kind, Leak, Survey};
use plan::reclaim::{Ages, confirmed, is_due, judge};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Ticks that a record must have been dead.
const GRACE: u64 = 2;
/// Now, in ticks; what is remembered lies before.
const NOW: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Path {
    Home,
    File,
    Nothing,
    Another,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Link {
    Stands,
    Renamed,
    Gone,
}

/// How the agent has the node's mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mounts {
    /// It is in the node's own mount namespace.
    Own,
    Propagated,
    /// In a container that sees a plain file where the namespace is.
    Apart,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct World {
    /// The record, by the number of its ADD; none once it is gone.
    record: Option<u64>,
    /// The lock is an ADD's, a DEL's or a CHECK's.
    locked: bool,
    /// The pod's network namespace is there.
    lives: bool,
    /// A process holds it, whatever becomes of its path.
    held: bool,
    path: Path,
    link: Link,
    mounts: Mounts,
    /// The agent is in the node's network namespace.
    at_home: bool,
    /// What the agent remembers: kind, the record's number, age.
    remembered: Option<(Kind, u64, u64)>,
    /// It has found the record due and is about to take its lock.
    due: bool,
    /// The agent has just reclaimed a record of a pod that lives.
    bad: bool,
}

const BORN: World = World {
    record: Some(0),
    locked: true,
    lives: true,
    held: false,
    path: Path::Home,
    link: Link::Gone,
    mounts: Mounts::Own,
    at_home: true,
    remembered: None,
    due: false,
    bad: false,
};

/// What is switched off to see that it is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    Sight,
    Links,
    SecondLook,
}

/// Whether it can happen, what it is, and what comes of it.
type Event = (bool, &'static str, World);

impl World {
    fn sees(&self) -> bool {
        self.at_home && matches!(self.mounts, Mounts::Own | Mounts::Propagated)
    }

    fn survey(&self, number: u64, without: Without) -> Survey {
        let (here, folder) = match self.mounts {
            Mounts::Own => (NODE, Folder::Apart),
            Mounts::Propagated => (CONTAINER, Folder::Propagated),
            Mounts::Apart => (CONTAINER, Folder::Apart),
            Mounts::Absent => (CONTAINER, Folder::Absent),
        };
        let net = if self.at_home { here.net } else { 99 };
        let door = match (self.mounts, self.path) {
            (Mounts::Absent, _) | (_, Path::Nothing) => Door::Gone,
            (Mounts::Apart, _) | (_, Path::File) => Door::Other,
            (Mounts::Own | Mounts::Propagated, Path::Home) => Door::Namespace(INODE),
            (Mounts::Own | Mounts::Propagated, Path::Another) => Door::Namespace(INODE + 1),
        };
        let mut record = record("a", "a");
        record.born = number;
        let mut sighting = seen(record.clone(), door);
        (sighting.folder, sighting.busy) = (folder, self.locked);
        let mut survey = survey(vec![sighting]);
        survey.here = Standpoint { net, ..here };
        if without == Without::Sight {
            survey.here = NODE;
        }
        if without == Without::Links || !self.at_home {
            return survey;
        }
        match self.link {
            Link::Gone => survey,
            Link::Stands => linked(survey, &[&record]),
            Link::Renamed => {
                let name = IfName::new("web").expect("a name");
                survey.links.insert(name, Some(record.alias()));
                survey
            }
        }
    }

    /// One look of the agent.
    fn look(mut self, without: Without) -> Self {
        let leaks = self
            .record
            .map(|number| judge(&self.survey(number, without)).leaks);
        let mut ages = Ages::default();
        if let Some((kind, born, age)) = self.remembered {
            let leak = Leak {
                kind,
                born,
                ..judge(&dead()).leaks.remove(0)
            };
            ages.look(vec![leak], NOW - age);
        }
        let leaks = ages.look(leaks.unwrap_or_default(), NOW);
        let first = leaks.first();
        let age = |leak: &Leak| NOW - leak.since.expect("it was just seen");
        self.remembered = first.map(|leak| (leak.kind, leak.born, age(leak).min(GRACE)));
        self.due = first.is_some_and(|leak| leak.kind == Kind::Dead && is_due(leak, NOW, GRACE));
        self
    }

    /// It takes the lock, looks again and reclaims.
    fn reclaim(mut self, without: Without) -> Self {
        self.due = false;
        let Some(number) = self.record.filter(|_| !self.locked) else {
            return self;
        };
        let is_dead =
            without == Without::SecondLook || confirmed(&self.survey(number, without)) == [true];
        if is_dead {
            self.record = None;
            self.bad = self.lives;
        }
        self
    }

    fn ends(mut self) -> Self {
        (self.lives, self.held, self.link) = (false, false, Link::Gone);
        self
    }

    /// Everything that can happen next.
    fn next(self, without: Without) -> Vec<(&'static str, Self)> {
        let mut next = self.next_of_agent(without);
        next.extend(self.next_of_runtime());
        next.extend(self.next_of_people());
        let happens = next.into_iter();
        happens
            .filter(|(is, _, world)| *is && *world != self)
            .map(|(_, words, world)| (words, world))
            .collect()
    }

    fn with(mut self, change: fn(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn later(mut self, ticks: u64) -> Self {
        if let Some((_, _, age)) = &mut self.remembered {
            *age = (*age + ticks).min(GRACE);
        }
        self
    }

    /// The agent, the time, and where the agent stands.
    fn next_of_agent(self, without: Without) -> Vec<Event> {
        let restarted = self.with(|w| (w.remembered, w.due) = (None, false));
        let mut next = vec![
            (true, "the agent looks", self.look(without)),
            (self.due, "the agent takes it", self.reclaim(without)),
            (true, "the agent starts anew", restarted),
            (true, "time passes", self.later(1)),
            (true, "much time passes", self.later(50)),
            (
                true,
                "the agent's network changes",
                self.with(|w| w.at_home ^= true),
            ),
        ];
        for mounts in [
            Mounts::Own,
            Mounts::Propagated,
            Mounts::Apart,
            Mounts::Absent,
        ] {
            next.push((true, "the agent's mounts change", Self { mounts, ..self }));
        }
        next
    }

    /// ADD, DEL, and the processes of the pod.
    fn next_of_runtime(self) -> Vec<Event> {
        let has_record = self.record.is_some();
        let wires = self.locked && self.lives && has_record && self.link == Link::Gone;
        // A new attempt of the runtime with the same container and a new namespace.
        let again = Self {
            record: Some(self.record.unwrap_or(0) ^ 1),
            mounts: self.mounts,
            at_home: self.at_home,
            remembered: self.remembered,
            due: self.due,
            ..BORN
        };
        let rests = !self.lives && !self.locked;
        let on_path = self.path == Path::Home;
        vec![
            (
                has_record,
                "the lock changes hands",
                self.with(|w| w.locked ^= true),
            ),
            (
                wires,
                "ADD makes the link",
                self.with(|w| w.link = Link::Stands),
            ),
            (rests, "another ADD begins", again),
            (
                rests && has_record,
                "DEL ends it",
                self.with(|w| w.record = None),
            ),
            (
                self.lives,
                "a process enters the pod",
                self.with(|w| w.held = true),
            ),
            (
                self.lives && on_path,
                "the process ends",
                self.with(|w| w.held = false),
            ),
            (self.lives && !on_path, "the last process ends", self.ends()),
        ]
    }

    /// What is done to the path and to the link: by the runtime when the pod ends, and by people at any time.
    fn next_of_people(self) -> Vec<Event> {
        let seen_by_link = self.link != Link::Gone;
        let on_path = self.path == Path::Home;
        let is_free = matches!(self.path, Path::File | Path::Nothing);
        let unmounted = self.with(|w| w.path = Path::File);
        let cut = self.with(|w| w.link = Link::Gone);
        vec![
            (
                on_path && (!self.held || !self.lives),
                "the path is unmounted",
                unmounted.ends(),
            ),
            (
                on_path && self.held && seen_by_link,
                "the path is unmounted, a process stays",
                unmounted,
            ),
            (
                is_free,
                "the path is removed",
                self.with(|w| w.path = Path::Nothing),
            ),
            (
                is_free,
                "the path is another's",
                self.with(|w| w.path = Path::Another),
            ),
            (
                self.path == Path::Another,
                "the other's path is gone",
                self.with(|w| w.path = Path::Nothing),
            ),
            (
                self.lives && is_free,
                "the path is mounted again",
                self.with(|w| w.path = Path::Home),
            ),
            (
                self.link == Link::Stands,
                "the link is renamed",
                self.with(|w| w.link = Link::Renamed),
            ),
            (seen_by_link && on_path, "the link is taken away", cut),
        ]
    }

    /// Whether a dead pod's record is reclaimed within the grace time and one look more, if nothing else happens.
    fn is_reclaimed(self) -> bool {
        self.look(Without::Nothing)
            .later(GRACE)
            .look(Without::Nothing)
            .reclaim(Without::Nothing)
            .record
            .is_none()
    }
}

fn dead() -> Survey {
    survey(vec![seen(record("a", "a"), Door::Gone)])
}

/// Tries everything, the short ways first: how many states there are, or the way to one that is bad.
fn search(without: Without) -> Result<usize, String> {
    let mut from: HashMap<World, (World, &str)> = HashMap::from([(BORN, (BORN, "ADD begins"))]);
    let mut reached = vec![BORN];
    let mut at = 0;
    while at < reached.len() {
        let world = reached[at];
        let hangs = !world.bad
            && !world.lives
            && !world.locked
            && world.record.is_some()
            && world.sees()
            && !world.is_reclaimed();
        if world.bad || (hangs && without == Without::Nothing) {
            return Err(trace(&from, world));
        }
        for (words, next) in world.next(without) {
            if let Entry::Vacant(place) = from.entry(next) {
                place.insert((world, words));
                reached.push(next);
            }
        }
        at += 1;
    }
    Ok(reached.len())
}

fn trace(from: &HashMap<World, (World, &str)>, mut world: World) -> String {
    let mut lines = vec![format!("{world:?}")];
    while world != BORN {
        let (before, words) = from[&world];
        lines.push(words.to_owned());
        world = before;
    }
    lines.reverse();
    lines.join("\n  ")
}

#[test]
fn a_live_pods_record_is_never_reclaimed_and_a_dead_ones_always_is() {
    match search(Without::Nothing) {
        Ok(states) => println!("{states} states, every one of them good"),
        Err(trace) => panic!("a bad end:\n  {trace}"),
    }
}

#[test]
fn without_the_look_from_where_one_stands_the_links_or_the_second_look_there_is_a_bad_end() {
    for (without, words) in [
        (Without::Sight, "the standpoint"),
        (Without::Links, "the links"),
        (Without::SecondLook, "the second look"),
    ] {
        match search(without) {
            Ok(states) => panic!("no bad end without {words} in {states} states"),
            Err(trace) => println!("without {words}:\n  {trace}"),
        }
    }
}
