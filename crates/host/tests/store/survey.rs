//! What a survey shows of records, and that it takes no lock of one that is whole.

use super::*;
use crate::place::{node, pod};
use host::rtnl::Rtnl;
use host::store::{Attempt, Glance};
use host::survey::{again, survey};
use model::reclaim::{Door, Survey};
use std::slice;

fn look(store: &Store) -> Survey {
    survey(slice::from_ref(store), &mut Rtnl::open().unwrap(), None).unwrap()
}

#[test]
fn a_survey_tells_where_each_record_leads_and_who_works_on_it() {
    let (_node, pod) = (node(), pod());
    let place = Place::new();
    let store = place.store();
    let mut lives = attachment("lives", &[]);
    (lives.netns, lives.inode) = (pod.path.display().to_string(), pod.netns.inode());
    drop(new(&store, &lives));
    drop(new(&store, &attachment("gone", &[])));
    let busy = new(&store, &attachment("busy", &[]));
    fs::write(place.file("attachments/broken@eth0"), "{").unwrap();

    let seen = look(&store);
    let told: Vec<_> = seen
        .records
        .iter()
        .map(|it| (it.file.as_str(), it.record.is_some(), it.busy, it.door))
        .collect();
    let home = Door::Namespace(pod.netns.inode());
    let expected = [
        ("broken@eth0", false, false, Door::Shut),
        ("busy@eth0", true, true, Door::Gone),
        ("gone@eth0", true, false, Door::Gone),
        ("lives@eth0", true, false, home),
    ];
    assert_eq!(told, expected);
    assert_eq!(seen.here, host::netns::standpoint().unwrap());
    assert!(seen.links.contains_key(&IfName::new("lo").unwrap()));

    busy.remove().unwrap();
    assert_eq!(look(&store).records.len(), 3);
    let Attempt::Free(held) = store.try_hold("gone@eth0").unwrap() else {
        panic!("nobody works on it");
    };
    let again = again(slice::from_ref(&held), &mut Rtnl::open().unwrap()).unwrap();
    assert_eq!(again.records[0].door, Door::Gone);
    assert!(!again.records[0].busy);
}

#[test]
fn those_who_only_look_are_not_in_each_others_way() {
    let place = Place::new();
    let store = place.store();
    drop(new(&store, &attachment("a", &[])));
    let other = fs::File::open(place.file("attachments/a@eth0")).unwrap();
    other.lock_shared().unwrap();
    let says = |name| matches!(store.glance(name).unwrap(), Glance::Says(Some(_)));
    assert!(says("a@eth0"));
    assert!(matches!(store.try_hold("a@eth0").unwrap(), Attempt::Busy));
    other.unlock().unwrap();
    other.lock().unwrap();
    assert!(matches!(store.glance("a@eth0").unwrap(), Glance::Busy));
    assert!(matches!(store.glance("b@eth0").unwrap(), Glance::Gone));
}

#[test]
fn leases_that_no_record_has_are_told_and_stay() {
    let _node = node();
    let place = Place::new();
    let store = place.store();
    for (name, ip) in [("kept", "10.0.0.2"), ("lost", "10.0.0.3")] {
        let held = new(&store, &attachment(name, &[ip]));
        assert!(held.lease(ip.parse().unwrap()).unwrap());
    }
    assert!(look(&store).leases.is_empty());
    fs::remove_file(place.file("attachments/lost@eth0")).unwrap();
    let lost = [(network(), ip("10.0.0.3"))].into();
    assert_eq!(look(&store).leases, lost);
    assert_eq!(store.leases().unwrap().len(), 2);
    assert_eq!(store.reclaim_orphans().unwrap().0, [ip("10.0.0.3")]);
    assert!(look(&store).leases.is_empty());
}
