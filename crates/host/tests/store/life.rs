//! Another boot is another life.

use super::{Place, attachment, ip, network, new};
use host::store::Store;
use std::fs;
use std::sync::Barrier;

const OTHER: &str = "00000000-0000-4000-8000-000000000000";

/// A place with three pods of another life.
fn after_a_reboot() -> Place {
    let place = Place::new();
    let store = place.store();
    for (name, address) in [("c1", "10.0.0.2"), ("c2", "10.0.0.3"), ("c3", "10.0.0.4")] {
        let held = new(&store, &attachment(name, &[address]));
        assert!(held.lease(ip(address)).unwrap());
    }
    fs::write(place.file("boot"), OTHER).unwrap();
    place
}

#[test]
fn the_same_boot_keeps_everything() {
    let place = after_a_reboot();
    fs::write(place.file("boot"), host::clock::boot_id().unwrap()).unwrap();
    let store = place.store();
    assert_eq!(store.attachments().unwrap().len(), 3);
    assert_eq!(store.leases().unwrap().len(), 3);
}

#[test]
fn another_boot_forgets_everything() {
    let place = after_a_reboot();
    fs::write(place.file("in-order"), "0000000000000001 7         ").unwrap();
    let store = place.store();
    assert!(store.attachments().unwrap().is_empty());
    assert!(store.leases().unwrap().is_empty());
    assert_eq!(store.in_order(), None);
    assert!(
        new(&store, &attachment("c9", &[]))
            .lease(ip("10.0.0.2"))
            .unwrap()
    );
}

#[test]
fn another_boot_is_seen_by_who_only_looks() {
    let place = after_a_reboot();
    let store = Store::existing(&place.0, &network()).unwrap().unwrap();
    assert!(store.attachments().unwrap().is_empty());
}

/// On a disk without an inode left the folders cannot be made, and whoever only looks needs none.
#[test]
fn a_life_that_could_not_begin_has_no_state() {
    let place = Place::new();
    drop(place.store());
    fs::write(place.file("boot"), "").unwrap();
    for folder in ["leases", "attachments", "hints"] {
        fs::remove_dir(place.file(folder)).unwrap();
    }
    assert!(Store::existing(&place.0, &network()).unwrap().is_none());
}

#[test]
fn a_kill_while_forgetting_leaves_the_rest_to_the_next() {
    let place = after_a_reboot();
    for step in [
        "leases/10.0.0.2",
        "leases/10.0.0.3",
        "leases/10.0.0.4",
        "attachments/c1@eth0",
    ] {
        fs::remove_file(place.file(step)).unwrap();
    }
    fs::write(place.file("boot"), "").unwrap();
    assert!(place.store().attachments().unwrap().is_empty());
    // The first call of all, killed between its folders.
    let first = Place::new();
    fs::create_dir(first.file("")).unwrap();
    fs::create_dir(first.file("leases")).unwrap();
    drop(new(&first.store(), &attachment("c1", &[])));
}

#[test]
fn thirty_two_at_once_forget_once_and_lose_nothing_of_the_new_life() {
    let (place, start) = (after_a_reboot(), Barrier::new(32));
    std::thread::scope(|scope| {
        for number in 0..32 {
            let (place, start) = (&place, &start);
            scope.spawn(move || {
                start.wait();
                let store = place.store();
                let held = new(&store, &attachment(&format!("n{number}"), &[]));
                assert!(held.lease(ip(&format!("10.0.0.{}", number + 2))).unwrap());
            });
        }
    });
    let store = place.store();
    assert_eq!(store.attachments().unwrap().len(), 32);
    assert_eq!(store.leases().unwrap().len(), 32);
}

#[test]
fn who_only_looks_makes_nothing() {
    let place = Place::new();
    assert!(Store::existing(&place.0, &network()).unwrap().is_none());
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0);
    fs::create_dir(place.file("")).unwrap();
    assert!(Store::existing(&place.0, &network()).unwrap().is_none());
    assert_eq!(fs::read_dir(place.file("")).unwrap().count(), 0);
}

#[test]
fn networks_are_the_folders_with_a_boot_id() {
    let place = Place::new();
    assert!(Store::networks(&place.0.join("none")).unwrap().is_empty());
    drop(place.store());
    fs::create_dir(place.0.join("other")).unwrap();
    fs::write(place.0.join("status.json"), "{}").unwrap();
    assert_eq!(Store::networks(&place.0).unwrap(), [network()]);
}

#[test]
fn folders_above_are_made_and_are_for_root_only() {
    use std::os::unix::fs::MetadataExt as _;
    let place = Place::new();
    let root = place.0.join("a/b");
    drop(Store::open(&root, &network()).unwrap());
    for below in ["a", "a/b", "a/b/mynet", "a/b/mynet/attachments"] {
        let mode = fs::metadata(place.0.join(below)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700, "{below}");
    }
}
