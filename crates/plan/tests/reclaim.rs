//! When a record is reclaimed: single cases here, and every order of events in `orders`.

mod orders;

use model::addr::PodRange;
use model::attachment::{Attachment, Key, Mode, PodAddress, Standpoint};
use model::firewall::Owner;
use model::name::{ContainerId, IfName, NetworkName, PodRef};
use model::reclaim::{Cause, Door, Folder, Kind, Sighting, Survey};
use plan::reclaim::{Ages, Judgement, confirmed, is_due, judge};
use std::collections::{BTreeMap, BTreeSet};

const NODE: Standpoint = Standpoint {
    net: 1,
    mnt: 2,
    pid: 3,
};
/// A container on the node's network.
const CONTAINER: Standpoint = Standpoint {
    net: 1,
    mnt: 20,
    pid: 30,
};
const INODE: u64 = 7;

fn record(container: &str, pod: &str) -> Attachment {
    let ip = [10, 244, 0, 2].into();
    Attachment {
        addresses: vec![PodAddress {
            ip,
            range: PodRange::parse("10.244.0.0/24").expect("a range"),
        }],
        key: Key {
            network: NetworkName::new("podwire").expect("a name"),
            container: ContainerId::new(container).expect("an id"),
            ifname: IfName::new("eth0").expect("a name"),
        },
        netns: format!("/run/netns/{container}"),
        inode: INODE,
        standpoint: Some(NODE),
        mode: Mode::Routed,
        mtu: None,
        mac: None,
        bandwidth: model::bandwidth::Bandwidth::default(),
        pod: Some(PodRef {
            namespace: "default".into(),
            name: pod.into(),
            uid: String::new(),
        }),
        ports: Vec::new(),
        bridged: None,
        born: 1,
    }
}

fn seen(record: Attachment, door: Door) -> Sighting {
    Sighting {
        network: record.key.network.clone(),
        file: record.key.file(),
        record: Some(record),
        busy: false,
        door,
        folder: Folder::Apart,
    }
}

fn survey(records: Vec<Sighting>) -> Survey {
    Survey {
        here: NODE,
        links: BTreeMap::new(),
        records,
        leases: BTreeSet::new(),
        owners: BTreeSet::new(),
    }
}

/// The same with the links of these records.
fn linked(mut survey: Survey, records: &[&Attachment]) -> Survey {
    for record in records {
        let name = IfName::new(&record.key.host_interface()).expect("a name");
        survey.links.insert(name, Some(record.alias()));
    }
    survey
}

fn kinds(judgement: &Judgement) -> Vec<(Kind, &str)> {
    let leaks = judgement.leaks.iter();
    leaks
        .map(|leak| (leak.kind, leak.object.as_str()))
        .collect()
}

fn causes(judgement: &Judgement) -> Vec<Cause> {
    judgement.unseen.iter().map(|it| it.cause).collect()
}

#[test]
fn a_record_is_dead_only_if_link_and_namespace_are_gone_and_nobody_works_on_it() {
    let a = record("a", "a");
    let dead = [(Kind::Dead, "podwire/a@eth0")];
    for (door, left) in [
        (Door::Namespace(INODE), &[][..]),
        (Door::Namespace(INODE + 1), &dead),
        (Door::Other, &dead),
        (Door::Gone, &dead),
        (Door::Shut, &[]),
    ] {
        let look = survey(vec![seen(a.clone(), door)]);
        assert_eq!(kinds(&judge(&look)), left, "{door:?}");
        let mut busy = look.clone();
        busy.records[0].busy = true;
        assert_eq!(kinds(&judge(&busy)), [], "{door:?}");
        let stranded: Vec<_> = left.iter().map(|(_, o)| (Kind::Stranded, *o)).collect();
        assert_eq!(
            kinds(&judge(&linked(look, &[&a]))),
            stranded,
            "{door:?} with its link"
        );
    }
}

#[test]
fn a_link_that_somebody_gave_another_name_still_stands() {
    let a = record("a", "a");
    let mut look = survey(vec![seen(a.clone(), Door::Gone)]);
    let name = IfName::new("web").expect("a name");
    look.links.insert(name, Some(a.alias()));
    assert_eq!(kinds(&judge(&look)), [(Kind::Stranded, "podwire/a@eth0")]);
}

#[test]
fn the_link_of_a_pods_successor_of_the_same_name_is_the_successors() {
    let (old, new) = (record("a", "web-0"), record("b", "web-0"));
    let look = survey(vec![
        seen(old, Door::Gone),
        seen(new.clone(), Door::Namespace(INODE)),
    ]);
    let look = linked(look, &[&new]);
    assert_eq!(kinds(&judge(&look)), [(Kind::Dead, "podwire/a@eth0")]);
}

#[test]
fn nothing_is_said_of_what_cannot_be_seen_from_here() {
    let from = |standpoint, folder| {
        let mut sighting = seen(record("a", "a"), Door::Gone);
        let read = sighting.record.as_mut().expect("a record");
        read.standpoint = standpoint;
        sighting.folder = folder;
        survey(vec![sighting])
    };
    let elsewhere = |net, mnt| Some(Standpoint { net, mnt, ..NODE });
    for (standpoint, folder, cause) in [
        (None, Folder::Propagated, Some(Cause::Old)),
        (elsewhere(9, 2), Folder::Propagated, Some(Cause::Network)),
        (elsewhere(1, 9), Folder::Apart, Some(Cause::Mounts)),
        (elsewhere(1, 9), Folder::Absent, Some(Cause::Mounts)),
        (elsewhere(1, 9), Folder::Propagated, None),
        (elsewhere(1, 2), Folder::Absent, None),
    ] {
        let judgement = judge(&from(standpoint, folder));
        assert_eq!(causes(&judgement), Vec::from_iter(cause), "{standpoint:?}");
        assert_eq!(judgement.leaks.len(), usize::from(cause.is_none()));
    }
}

#[test]
fn a_path_that_names_a_process_means_something_only_where_processes_have_the_same_numbers() {
    let mut a = record("a", "a");
    a.netns = "/proc/4711/ns/net".into();
    let mut look = survey(vec![seen(a, Door::Gone)]);
    assert_eq!(kinds(&judge(&look)), [(Kind::Dead, "podwire/a@eth0")]);
    look.here = CONTAINER;
    look.records[0].folder = Folder::Propagated;
    assert_eq!(causes(&judge(&look)), [Cause::Processes]);
    look.records[0].door = Door::Namespace(INODE);
    assert_eq!(judge(&look), Judgement::default());
}

#[test]
fn where_pods_have_links_and_no_path_leads_to_any_pod_the_paths_are_doubted() {
    let (a, b) = (record("a", "a"), record("b", "b"));
    let mut records = vec![seen(a.clone(), Door::Other), seen(b, Door::Gone)];
    for sighting in &mut records {
        sighting.folder = Folder::Propagated;
    }
    let mut look = linked(survey(records), &[&a]);
    look.here = CONTAINER;
    assert_eq!(causes(&judge(&look)), [Cause::Mounts, Cause::Mounts]);
    // One that is seen proves that the others could be.
    let witness = record("c", "c");
    look.records.push(seen(witness, Door::Namespace(INODE)));
    let expected = [
        (Kind::Stranded, "podwire/a@eth0"),
        (Kind::Dead, "podwire/b@eth0"),
    ];
    assert_eq!(kinds(&judge(&look)), expected);
    // Without any link nothing contradicts the flags.
    look.records.pop();
    look.links.clear();
    let expected = [
        (Kind::Dead, "podwire/a@eth0"),
        (Kind::Dead, "podwire/b@eth0"),
    ];
    assert_eq!(kinds(&judge(&look)), expected);
}

#[test]
fn leases_links_and_ports_without_a_record_are_told_and_other_peoples_links_are_not() {
    let a = record("a", "a");
    let mut look = survey(vec![seen(a.clone(), Door::Namespace(INODE))]);
    let network = a.key.network.clone();
    look.leases.insert((network, [10, 244, 0, 9].into()));
    look.owners = [a.key.owner(), Owner::named("podwire/z/eth0")].into();
    let stray = record("z", "z").key.host_interface();
    let alias = || Some("default/z".to_owned());
    for (name, alias) in [
        (stray.as_str(), alias()),
        ("pw0123456789abc", None),
        ("pwlan", alias()),
        ("pw0123456789abz", alias()),
        ("eth0", alias()),
    ] {
        let name = IfName::new(name).expect("a name");
        look.links.insert(name, alias);
    }
    let look = linked(look, &[&a]);
    let expected = [
        (Kind::Lease, "podwire/10.244.0.9"),
        (Kind::Link, stray.as_str()),
        (Kind::Ports, "podwire/z/eth0"),
    ];
    assert_eq!(kinds(&judge(&look)), expected);
}

#[test]
fn a_broken_record_is_told_and_its_link_and_ports_are_no_further_leaks() {
    let a = record("a", "a");
    let mut sighting = seen(a.clone(), Door::Shut);
    sighting.record = None;
    let mut look = linked(survey(vec![sighting]), &[&a]);
    look.owners.insert(a.key.owner());
    assert_eq!(kinds(&judge(&look)), [(Kind::Broken, "podwire/a@eth0")]);
}

#[test]
fn a_leak_that_comes_back_is_as_old_as_its_return() {
    let leaks = |door| judge(&survey(vec![seen(record("a", "a"), door)])).leaks;
    let mut ages = Ages::default();
    let mut since = |door, now| {
        ages.look(leaks(door), now)
            .first()
            .and_then(|leak| leak.since)
    };
    assert_eq!(since(Door::Gone, 10), Some(10));
    assert_eq!(since(Door::Other, 20), Some(10));
    assert_eq!(since(Door::Namespace(INODE), 30), None);
    assert_eq!(since(Door::Gone, 40), Some(40));
    // A clock that goes back does not make it older.
    assert_eq!(since(Door::Gone, 5), Some(5));
    assert_eq!(since(Door::Gone, 45), Some(5));
    let mut leak = leaks(Door::Gone).remove(0);
    assert!(!is_due(&leak, 65, 60), "it has been seen once");
    leak.since = Some(5);
    assert!(!is_due(&leak, 64, 60) && is_due(&leak, 65, 60) && !is_due(&leak, 0, 60));
}

#[test]
fn of_those_that_were_due_only_those_are_confirmed_that_are_dead_under_their_lock() {
    let (a, b, c) = (record("a", "a"), record("b", "b"), record("c", "c"));
    let look = survey(vec![
        seen(a, Door::Gone),
        seen(b.clone(), Door::Gone),
        seen(c, Door::Namespace(INODE)),
    ]);
    assert_eq!(confirmed(&linked(look, &[&b])), [true, false, false]);
}
