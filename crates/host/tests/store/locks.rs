//! The lock on a record: who waits, who does not, and what the name means afterwards.

use super::{Place, attachment, ip, key, new};
use host::store::{Attempt, Claim, Store};
use model::name::NetworkName;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

/// Returns once somebody waits for the lock of c1's record.
fn somebody_waits(place: &Place) {
    let inode = fs::metadata(place.file("attachments/c1@eth0"))
        .unwrap()
        .ino();
    let (deadline, inode) = (
        Instant::now() + Duration::from_secs(20),
        format!(":{inode} "),
    );
    // A waiter's line has an arrow (`man 5 proc_locks`).
    while !fs::read_to_string("/proc/locks")
        .unwrap()
        .lines()
        .any(|line| line.contains("->") && line.contains(&inode))
    {
        assert!(Instant::now() < deadline, "nobody waits for the lock");
        std::thread::yield_now();
    }
}

#[test]
fn hold_waits_for_a_running_add() {
    let place = Place::new();
    let store = place.store();
    let adding = new(&store, &attachment("c1", &["10.0.0.2"]));
    std::thread::scope(|scope| {
        let deleting = scope.spawn(|| store.hold(&key("c1")).unwrap().is_some());
        somebody_waits(&place);
        assert!(!deleting.is_finished());
        drop(adding);
        assert!(deleting.join().unwrap());
    });
}

#[test]
fn hold_finds_nothing_where_it_waited_for_a_delete() {
    let place = Place::new();
    let store = place.store();
    let deleting = new(&store, &attachment("c1", &[]));
    std::thread::scope(|scope| {
        let second = scope.spawn(|| store.hold(&key("c1")).unwrap().is_some());
        somebody_waits(&place);
        deleting.remove().unwrap();
        assert!(!second.join().unwrap());
    });
}

#[test]
fn hold_follows_the_name_to_the_record_that_took_the_place_of_the_one_it_waited_for() {
    let place = Place::new();
    let store = place.store();
    let first = new(&store, &attachment("c1", &["10.0.0.2"]));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let held = store.hold(&key("c1")).unwrap().unwrap();
            held.record().unwrap().addresses.len()
        });
        somebody_waits(&place);
        // By hand, so that the lock of the first goes only after the second is there.
        fs::remove_file(place.file("attachments/c1@eth0")).unwrap();
        let second = new(&store, &attachment("c1", &["10.0.0.3", "10.0.0.4"]));
        drop(first);
        somebody_waits(&place);
        drop(second);
        assert_eq!(waiting.join().unwrap(), 2);
    });
}

#[test]
fn a_repeated_add_waits_for_a_delete_and_then_is_the_first() {
    let place = Place::new();
    let store = place.store();
    let deleting = new(&store, &attachment("c1", &["10.0.0.2"]));
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| {
            let claim = store.claim(&attachment("c1", &["10.0.0.3"])).unwrap();
            matches!(claim, Claim::New(_))
        });
        somebody_waits(&place);
        deleting.remove().unwrap();
        assert!(adding.join().unwrap());
    });
    assert_eq!(store.attachments().unwrap(), ["c1@eth0"]);
}

#[test]
fn remove_leaves_a_record_that_took_its_place() {
    let place = Place::new();
    let store = place.store();
    let first = new(&store, &attachment("c1", &[]));
    fs::remove_file(place.file("attachments/c1@eth0")).unwrap();
    let _second = new(&store, &attachment("c1", &[]));
    first.remove().unwrap();
    assert_eq!(store.attachments().unwrap(), ["c1@eth0"]);
}

#[test]
fn gc_does_not_wait() {
    let place = Place::new();
    let store = place.store();
    let held = new(&store, &attachment("c1", &[]));
    assert!(matches!(store.try_hold("c1@eth0").unwrap(), Attempt::Busy));
    drop(held);
    match store.try_hold("c1@eth0").unwrap() {
        Attempt::Free(held) => held.remove().unwrap(),
        Attempt::Busy | Attempt::Gone => panic!("nobody has it, and it is there"),
    }
    assert!(matches!(store.try_hold("c1@eth0").unwrap(), Attempt::Gone));
}

#[test]
fn addresses_of_another_network_on_the_node_are_seen() {
    let place = Place::new();
    let store = place.store();
    assert!(store.leased_elsewhere().unwrap().is_empty());
    let other = Store::open(&place.0, &NetworkName::new("other").unwrap()).unwrap();
    let held = new(&store, &attachment("c1", &["10.0.0.2"]));
    assert!(held.lease(ip("10.0.0.2")).unwrap());
    assert_eq!(other.leased_elsewhere().unwrap(), [ip("10.0.0.2")].into());
    assert!(store.leased_elsewhere().unwrap().is_empty());
}
