//! Many at once. A lock belongs to an open file and a lease to the folder, so threads that each open the folder meet what
//! processes meet; real processes, and such that are killed, are the business of the scenarios that run the plugin.

use super::{Place, address, attachment, ip, key, new};
use host::store::{Attempt, Store};
use std::collections::BTreeSet;
use std::sync::Barrier;

const CROWD: usize = 400;

#[test]
fn four_hundred_at_once_take_four_hundred_addresses() {
    let place = Place::new();
    let together = Barrier::new(CROWD);
    std::thread::scope(|scope| {
        for n in 0..CROWD {
            let (place, together) = (&place, &together);
            scope.spawn(move || {
                together.wait();
                take_the_first_free_address(&place.store(), &format!("c{n}"));
            });
        }
    });
    let store = place.store();
    let mut taken = BTreeSet::new();
    for name in store.attachments().unwrap() {
        let record = store.peek(&name).unwrap().unwrap();
        let [address] = record.addresses[..] else {
            panic!("one address each: {record:?}");
        };
        assert!(taken.insert(address.ip), "{} twice", address.ip);
        assert_eq!(store.owner(address.ip).unwrap(), Some(record));
    }
    assert_eq!(taken.len(), CROWD);
    assert_eq!(taken, store.leases().unwrap());
}

fn take_the_first_free_address(store: &Store, container: &str) {
    let mut next = ip("10.0.0.2");
    let mut held = new(store, &attachment(container, &["10.0.0.2"]));
    while !held.lease(next).unwrap() {
        next = address("10.0.0.2").range.after(next);
        held.rewrite_addresses(vec![address(&next.to_string())])
            .unwrap();
    }
}

#[test]
fn a_holder_that_ends_in_the_middle_frees_the_lock_and_leaves_the_lease_to_the_next() {
    let place = Place::new();
    let (store, other) = (place.store(), place.store());
    let held = new(&store, &attachment("c1", &["10.0.0.2"]));
    assert!(held.lease(ip("10.0.0.2")).unwrap());
    assert!(matches!(other.try_hold("c1@eth0").unwrap(), Attempt::Busy));
    // What the kernel does when the process is killed: the file is closed and nothing else happens.
    drop(held);
    let held = other.hold(&key("c1")).unwrap().unwrap();
    assert_eq!(other.leases().unwrap(), [ip("10.0.0.2")].into());
    held.release_all().unwrap();
    held.remove().unwrap();
    assert!(other.leases().unwrap().is_empty());
}
