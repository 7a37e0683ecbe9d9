//! The state on disk: what one process may rely on whatever the others do.

mod crowd;
mod life;
mod locks;
mod survey;

use host::store::{Claim, Held, Store};
use model::addr::PodRange;
use model::attachment::{Attachment, Key, Mode, PodAddress};
use model::name::{ContainerId, IfName, NetworkName};
use rustix::io::Errno;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A folder on tmpfs, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = format!("/dev/shm/podwire-store-{}-{number}", std::process::id());
        fs::create_dir(&path).unwrap();
        Self(path.into())
    }

    fn store(&self) -> Store {
        Store::open(&self.0, &network()).unwrap()
    }

    /// A file below the network's folder.
    fn file(&self, below: &str) -> PathBuf {
        self.0.join("mynet").join(below)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn network() -> NetworkName {
    NetworkName::new("mynet").unwrap()
}

fn key(container: &str) -> Key {
    Key {
        network: network(),
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn address(text: &str) -> PodAddress {
    PodAddress {
        ip: ip(text),
        range: PodRange::parse("10.0.0.0/23").unwrap(),
    }
}

fn attachment(container: &str, addresses: &[&str]) -> Attachment {
    Attachment {
        addresses: addresses.iter().map(|text| address(text)).collect(),
        key: key(container),
        netns: format!("/run/netns/{container}"),
        inode: 4_026_531_840,
        standpoint: None,
        mode: Mode::Routed,
        mtu: Some(1450),
        mac: None,
        bandwidth: model::bandwidth::Bandwidth::default(),
        pod: None,
        ports: Vec::new(),
        bridged: None,
        born: host::clock::boottime_ns(),
    }
}

/// Claims what nobody has claimed.
fn new<'s>(store: &'s Store, attachment: &Attachment) -> Held<'s> {
    match store.claim(attachment).unwrap() {
        Claim::New(held) => held,
        Claim::Again(held) => panic!("there is a record already: {held:?}"),
    }
}

#[test]
fn a_record_appears_whole() {
    let (place, done) = (Place::new(), AtomicBool::new(false));
    let store = place.store();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                for name in store.attachments().unwrap() {
                    let bytes = fs::read(place.file("attachments").join(&name));
                    let Ok(bytes) = bytes else { continue };
                    let record: Attachment = serde_json::from_slice(&bytes).unwrap();
                    assert_eq!(record.key.file(), name);
                    seen += 1;
                }
            }
            seen
        });
        for round in 0..2000 {
            let attachment = attachment(&format!("c{}", round % 7), &["10.0.0.2"]);
            new(&store, &attachment).remove().unwrap();
        }
        let last = new(&store, &attachment("last", &[]));
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
        assert_eq!(store.peek(last.name()).unwrap().as_ref(), last.record());
    });
}

#[test]
fn a_record_is_rewritten_in_place_and_stays_json_at_every_instant() {
    let (place, done) = (Place::new(), AtomicBool::new(false));
    let store = place.store();
    let mut held = new(&store, &attachment("c1", &["10.0.0.2"]));
    assert!(held.lease(ip("10.0.0.2")).unwrap());
    let before = fs::read(place.file("attachments/c1@eth0")).unwrap();
    let lists = [vec!["10.0.0.2"], vec!["10.0.1.200", "10.0.1.201"], vec![]];
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                let record = store.owner(ip("10.0.0.2")).unwrap();
                assert_eq!(record.expect("it reads as a record").key, key("c1"));
                seen += 1;
            }
            seen
        });
        for list in lists.iter().cycle().take(30_000) {
            held.rewrite_addresses(list.iter().map(|text| address(text)).collect())
                .unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
    let after = fs::read(place.file("attachments/c1@eth0")).unwrap();
    assert_eq!(before[host::store::HEAD..], after[host::store::HEAD..]);
    assert_eq!(held.record().unwrap().addresses, []);
}

#[test]
fn eight_ipv6_addresses_fit_a_record_and_more_are_refused() {
    let (place, range) = (Place::new(), "fd00:1111:2222:3333:4444:5555:6666:0/112");
    let store = place.store();
    let long = |n: u16| PodAddress {
        ip: ip(&format!(
            "fd00:1111:2222:3333:4444:5555:6666:{:x}",
            0x1000 + n
        )),
        range: PodRange::parse(range).unwrap(),
    };
    let mut held = new(&store, &attachment("c1", &[]));
    held.rewrite_addresses((0..8).map(long).collect()).unwrap();
    let refused = held.rewrite_addresses((0..80).map(long).collect());
    assert_eq!(refused.unwrap_err().errno(), Some(Errno::MSGSIZE));
    assert_eq!(store.peek(held.name()).unwrap().as_ref(), held.record());
}

#[test]
fn a_repeated_add_finds_what_the_first_one_left() {
    let place = Place::new();
    let store = place.store();
    let first = attachment("c1", &["10.0.0.2"]);
    drop(new(&store, &first));
    match store.claim(&attachment("c1", &["10.0.0.3"])).unwrap() {
        Claim::Again(held) => assert_eq!(held.record(), Some(&first)),
        Claim::New(held) => panic!("the first record was overwritten: {held:?}"),
    }
}

#[test]
fn release_leaves_what_carries_another_key() {
    let place = Place::new();
    let store = place.store();
    let first = new(&store, &attachment("c1", &["10.0.0.2"]));
    let second = new(&store, &attachment("c2", &["10.0.0.2"]));
    assert!(first.lease(ip("10.0.0.2")).unwrap());
    assert!(!second.lease(ip("10.0.0.2")).unwrap());
    second.release(ip("10.0.0.2")).unwrap();
    second.release_all().unwrap();
    assert_eq!(store.owner(ip("10.0.0.2")).unwrap().unwrap().key, key("c1"));
    first.release(ip("10.0.0.2")).unwrap();
    first.release(ip("10.0.0.2")).unwrap();
    assert!(second.lease(ip("10.0.0.2")).unwrap());
}

#[test]
fn a_lease_of_a_removed_record_is_refused_by_the_kernel() {
    let place = Place::new();
    let store = place.store();
    let held = new(&store, &attachment("c1", &["10.0.0.2"]));
    fs::remove_file(place.file("attachments/c1@eth0")).unwrap();
    let refused = held.lease(ip("10.0.0.2")).unwrap_err();
    assert_eq!(refused.errno(), Some(Errno::NOENT));
    assert!(store.leases().unwrap().is_empty());
}

#[test]
fn a_lease_that_an_earlier_record_of_the_same_key_left_is_taken_over() {
    let place = Place::new();
    let store = place.store();
    assert!(
        new(&store, &attachment("c1", &[]))
            .lease(ip("10.0.0.2"))
            .unwrap()
    );
    fs::remove_file(place.file("attachments/c1@eth0")).unwrap();
    let held = new(&store, &attachment("c1", &["10.0.0.2"]));
    assert!(held.lease(ip("10.0.0.2")).unwrap());
    assert!(held.lease(ip("10.0.0.2")).unwrap(), "it is ours already");
    assert_eq!(store.owner(ip("10.0.0.2")).unwrap().as_ref(), held.record());
    held.release_all().unwrap();
    assert!(store.leases().unwrap().is_empty());
}

#[test]
fn a_broken_record_is_held_and_removed_with_all_that_it_held() {
    let place = Place::new();
    let store = place.store();
    for (number, garbage) in ["", "{", "\0\0\0", "[]", &"x".repeat(9000)]
        .iter()
        .enumerate()
    {
        let name = format!("c{number}");
        let held = new(&store, &attachment(&name, &["10.0.0.2"]));
        assert!(held.lease(ip("10.0.0.2")).unwrap());
        drop(held);
        fs::write(place.file("leases/10.0.0.2"), garbage).unwrap();
        let held = store.hold(&key(&name)).unwrap().unwrap();
        assert_eq!((held.record(), held.key()), (None, Some(&key(&name))));
        held.release_all().unwrap();
        held.remove().unwrap();
        assert!(store.leases().unwrap().is_empty());
        assert!(store.attachments().unwrap().is_empty());
    }
}

#[test]
fn a_container_id_of_five_thousand_characters_is_kept_whole() {
    let place = Place::new();
    let store = place.store();
    let long = attachment(&"a".repeat(5000), &["10.0.0.2"]);
    drop(new(&store, &long));
    let held = store.hold(&long.key).unwrap().unwrap();
    assert_eq!(held.record(), Some(&long));
    assert!(store.hold(&key(&"a".repeat(4999))).unwrap().is_none());
    held.remove().unwrap();
    assert!(store.hold(&long.key).unwrap().is_none());
}

#[test]
fn a_record_that_names_another_container_is_broken() {
    let place = Place::new();
    let store = place.store();
    drop(new(&store, &attachment("c1", &["10.0.0.2"])));
    fs::copy(
        place.file("attachments/c1@eth0"),
        place.file("attachments/c2@eth0"),
    )
    .unwrap();
    let held = store.hold(&key("c2")).unwrap().unwrap();
    assert_eq!((held.record(), held.key()), (None, Some(&key("c2"))));
}

#[test]
fn gc_finds_leases_without_a_record_and_leaves_the_others() {
    let place = Place::new();
    let store = place.store();
    let live = new(&store, &attachment("live", &[]));
    assert!(live.lease(ip("10.0.0.2")).unwrap());
    for (name, address) in [
        ("rest", "10.0.0.3"),
        ("dead", "10.0.0.4"),
        ("odd", "10.0.0.5"),
    ] {
        assert!(
            new(&store, &attachment(name, &[]))
                .lease(ip(address))
                .unwrap()
        );
    }
    fs::write(place.file("leases/10.0.0.5"), "garbage").unwrap();
    fs::remove_file(place.file("attachments/dead@eth0")).unwrap();
    assert_eq!(store.reclaim_orphans().unwrap().0, [ip("10.0.0.4")]);
    fs::remove_file(place.file("attachments/odd@eth0")).unwrap();
    assert_eq!(store.reclaim_orphans().unwrap().0, [ip("10.0.0.5")]);
    assert_eq!(
        store.leases().unwrap(),
        [ip("10.0.0.2"), ip("10.0.0.3")].into()
    );
}

#[test]
fn the_oldest_holder_of_a_range_has_a_name() {
    let (place, range) = (Place::new(), PodRange::parse("10.0.0.0/23").unwrap());
    let store = place.store();
    assert_eq!(store.oldest(&[&range]).unwrap(), None);
    let first = new(&store, &attachment("zz", &[]));
    let second = new(&store, &attachment("aa", &[]));
    assert!(second.lease(ip("10.0.0.2")).unwrap());
    assert!(first.lease(ip("10.0.0.9")).unwrap());
    assert!(first.lease(ip("10.9.9.9")).unwrap());
    assert_eq!(store.oldest(&[&range]).unwrap().as_ref(), first.record());
}

#[test]
fn a_hint_that_makes_no_sense_is_none() {
    let (place, range) = (Place::new(), PodRange::parse("10.0.0.0/23").unwrap());
    let store = place.store();
    assert_eq!(store.hint(&range), None);
    store.set_hint(&range, ip("10.0.1.200"));
    store.set_hint(&range, ip("10.0.0.9"));
    assert_eq!(store.hint(&range), Some(ip("10.0.0.9")));
    for nonsense in ["", "x", "10.0.0.1", "10.9.9.9", "\u{e9}"] {
        fs::write(place.file("hints/10.0.0.0_23"), nonsense).unwrap();
        assert_eq!(store.hint(&range), None, "{nonsense:?}");
    }
    fs::remove_dir_all(place.file("hints")).unwrap();
    store.set_hint(&range, ip("10.0.0.9"));
    assert_eq!(store.hint(&range), None);
}

#[test]
fn what_is_in_order_for_one_is_not_for_another() {
    let place = Place::new();
    let store = place.store();
    assert_eq!(store.in_order(), None);
    store.set_in_order(1, u32::MAX);
    assert_eq!(store.in_order(), Some((1, u32::MAX)));
    store.set_in_order(2, 7);
    assert_eq!(store.in_order(), Some((2, 7)));
}
