//! Host ports in our maps: what nft lists, whose they are, and that nobody takes another's.

use super::*;
use model::firewall::{Owner, Published};
use model::ports::Protocol;

fn port(at: Option<&str>, protocol: Protocol, port: u16, pod: &str, owner: &str) -> Element {
    Element::Port(Published {
        at: at.map(|at| at.parse().unwrap()),
        protocol,
        port,
        pod: pod.parse().unwrap(),
        owner: Owner::named(owner),
    })
}

/// One of each kind and family.
fn ours(owner: &str) -> Elements {
    use Protocol::{Sctp, Tcp, Udp};
    let (v4, v6) = (Family::V4, Family::V6);
    let (pod4, pod6) = ("10.244.0.2:80", "[fd00:10:244::2]:5353");
    let pair = |ip: &str| Element::Pair(ip.parse().unwrap(), Owner::named(owner));
    let all = [
        (Set::Ports(v4), port(None, Tcp, 8080, pod4, owner)),
        (Set::Ports(v6), port(None, Sctp, 65535, pod6, owner)),
        (
            Set::PortsAt(v4),
            port(Some("192.0.2.1"), Udp, 53, pod4, owner),
        ),
        (
            Set::PortsAt(v6),
            port(Some("2001:db8::1"), Udp, 53, pod6, owner),
        ),
        (Set::Hairpin(v4), pair("10.244.0.2")),
        (Set::Hairpin(v6), pair("fd00:10:244::2")),
    ];
    all.into_iter()
        .map(|(set, element)| (set, BTreeSet::from([element])))
        .collect()
}

fn add(elements: &Elements) -> Vec<Change> {
    let each = elements.iter();
    each.map(|(set, new)| Change::AddElements(*set, new.iter().cloned().collect()))
        .collect()
}

fn remove(elements: &Elements) -> Vec<Change> {
    let each = elements.iter();
    each.map(|(set, old)| Change::RemoveElements(*set, old.iter().cloned().collect()))
        .collect()
}

#[test]
fn nft_lists_ports_with_their_owners_as_they_print_themselves() {
    fresh(|mut nft| {
        put(&mut nft, everything());
        let ours = ours("mynet/c1/eth0");
        nft.apply(&add(&ours), None).unwrap();
        let listing = listing();
        for element in ours.values().flatten() {
            assert!(
                listing.contains(&element.to_string()),
                "{element} in\n{listing}"
            );
        }
        assert!(
            listing
                .contains("type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service")
        );
    });
}

#[test]
fn what_was_put_is_what_is_read_all_together_and_one_by_one() {
    fresh(|mut nft| {
        put(&mut nft, everything());
        let ours = ours("mynet/c1/eth0");
        assert_eq!(nft.standing(&ours).unwrap(), Elements::new());
        nft.apply(&add(&ours), None).unwrap();
        assert_eq!(nft.standing(&ours).unwrap(), ours);
        let table = nft.table().unwrap().unwrap();
        for (set, elements) in &ours {
            assert_eq!(&table.elements[set], elements);
        }
        nft.apply(&remove(&ours), None).unwrap();
        assert_eq!(nft.standing(&ours).unwrap(), Elements::new());
    });
}

#[test]
fn a_place_that_is_taken_refuses_everything_whether_it_leads_to_the_same_pod_or_not() {
    fresh(|mut nft| {
        put(&mut nft, everything());
        let first = ours("mynet/c1/eth0");
        nft.apply(&add(&first), None).unwrap();
        let tcp = |pod: &str| port(None, Protocol::Tcp, 8080, pod, "mynet/c2/eth0");
        let free = port(None, Protocol::Tcp, 81, "10.244.0.3:80", "mynet/c2/eth0");
        let before = listing();
        for pod in ["10.244.0.2:80", "10.244.0.3:80"] {
            let set = Set::Ports(Family::V4);
            let wanted = Change::AddElements(set, vec![free.clone(), tcp(pod)]);
            let error = nft.apply(&[wanted], None).unwrap_err();
            assert!(error.is_taken(), "{error}");
            let asked = Elements::from([(set, [tcp(pod)].into())]);
            let stands = nft.standing(&asked).unwrap();
            assert_eq!(stands[&set], first[&set]);
        }
        assert_eq!(listing(), before);
    });
}

#[test]
fn what_nft_lists_of_ports_can_be_loaded_by_nft() {
    fresh(|mut socket| {
        put(&mut socket, everything());
        let longest = format!("n/{}/eth0", "c".repeat(120));
        socket.apply(&add(&ours(&longest)), None).unwrap();
        let (script, before) = (listing(), socket.table().unwrap());
        run("nft", &["flush", "ruleset"]);
        nft(&script);
        assert_eq!(socket.table().unwrap(), before);
    });
}

#[test]
fn an_element_by_hand_has_its_comment_as_owner_or_none() {
    fresh(|mut socket| {
        put(&mut socket, everything());
        nft("add element inet podwire ports4 { tcp . 1 : 10.0.0.1 . 2, 17 . 3 comment \"me\" : 10.0.0.1 . 4, 50 . 5 : 10.0.0.1 . 6 }
             add element inet podwire hairpin4 { 10.0.0.1 . 10.0.0.2 }");
        let wanted = [
            port(None, Protocol::Tcp, 1, "10.0.0.1:2", ""),
            port(None, Protocol::Udp, 3, "10.0.0.1:4", "me"),
        ];
        assert_eq!(held(&mut socket, Set::Ports(Family::V4)), wanted.into());
        assert_eq!(held(&mut socket, Set::Hairpin(Family::V4)), BTreeSet::new());
    });
}

#[test]
fn five_thousand_ports_with_long_owners_fit() {
    fresh(|mut nft| {
        put(&mut nft, everything());
        let owner = "o".repeat(Owner::LONGEST);
        let many = |at: u16| {
            let port = port(
                Some("2001:db8::1"),
                Protocol::Tcp,
                at,
                "[fd00::2]:80",
                &owner,
            );
            (at > 0).then_some(port)
        };
        let many: Vec<Element> = (0..=5000).filter_map(many).collect();
        let set = Set::PortsAt(Family::V6);
        nft.apply(&[Change::AddElements(set, many.clone())], None)
            .unwrap();
        assert_eq!(held(&mut nft, set), many.iter().cloned().collect());
        nft.apply(&[Change::RemoveElements(set, many)], None)
            .unwrap();
        assert_eq!(held(&mut nft, set), BTreeSet::new());
    });
}
