//! The elements of our sets.

use super::*;

const PODS: Set = Set::Pods(Family::V4);

#[test]
fn elements_come_and_go() {
    fresh(|mut nft| {
        put(&mut nft, everything());
        for (set, texts) in [
            (PODS, &["10.244.3.0/24", "0.0.0.0/8"][..]),
            (Set::Pods(Family::V6), &["fd00:10:244:2::/64"]),
            (Set::Nodes(Family::V4), &["192.0.2.1/32"]),
            (Set::Nodes(Family::V6), &["2001:db8::3/128"]),
            (Set::Bridges, &["br-lan"]),
        ] {
            let before = held(&mut nft, set);
            let new = elements(set, texts);
            nft.apply(&[Change::AddElements(set, new.clone())], None)
                .unwrap();
            let more: BTreeSet<Element> = before.iter().chain(&new).cloned().collect();
            assert_eq!(held(&mut nft, set), more);
            nft.apply(&[Change::RemoveElements(set, new)], None)
                .unwrap();
            assert_eq!(held(&mut nft, set), before);
        }
    });
}

#[test]
fn an_element_that_is_there_may_be_added_again() {
    fresh(|mut nft| {
        put(&mut nft, everything());
        for (set, texts) in [(PODS, "10.244.1.0/24"), (Set::Bridges, "cni0")] {
            nft.apply(&[Change::AddElements(set, elements(set, &[texts]))], None)
                .unwrap();
        }
        assert_eq!(
            nft.table().unwrap().unwrap().elements,
            everything().elements
        );
    });
}

#[test]
fn a_prefix_between_two_others_goes_alone() {
    fresh(|mut nft| {
        put(&mut nft, everything());
        nft.apply(
            &[Change::RemoveElements(
                PODS,
                elements(PODS, &["10.244.1.0/24"]),
            )],
            None,
        )
        .unwrap();
        let left = elements(PODS, &["10.244.0.0/24", "10.244.2.0/24"]);
        assert_eq!(held(&mut nft, PODS), left.into_iter().collect());
        let listing = run("nft", &["list", "set", "inet", "podwire", "pods4"]);
        assert!(
            listing.contains("elements = { 10.244.0.0/24, 10.244.2.0/24 }"),
            "{listing}"
        );
    });
}

#[test]
fn the_set_holds_everything_if_it_is_told_so() {
    fresh(|mut nft| {
        for (set, all) in [(PODS, "0.0.0.0/0"), (Set::Pods(Family::V6), "::/0")] {
            let all = elements(set, &[all]);
            let mut table = everything();
            table.elements = Elements::from([(set, all.iter().cloned().collect())]);
            put(&mut nft, table);
            assert_eq!(held(&mut nft, set), all.into_iter().collect());
        }
    });
}

#[test]
fn a_range_by_hand_is_seen_as_prefixes() {
    fresh(|mut socket| {
        put(&mut socket, everything());
        nft("flush set inet podwire pods4
             add element inet podwire pods4 { 10.0.0.1-10.0.0.6, 255.255.255.0-255.255.255.255 }");
        let texts = [
            "10.0.0.1/32",
            "10.0.0.2/31",
            "10.0.0.4/31",
            "10.0.0.6/32",
            "255.255.255.0/24",
        ];
        assert_eq!(
            held(&mut socket, PODS),
            elements(PODS, &texts).into_iter().collect()
        );
    });
}

#[test]
fn a_set_that_somebody_deleted_is_absent() {
    fresh(|mut socket| {
        nft("table inet podwire { set bridges { type ifname; }; }");
        let state = socket.table().unwrap().unwrap();
        assert_eq!(
            state.elements,
            Elements::from([(Set::Bridges, BTreeSet::new())])
        );
    });
}

#[test]
fn five_thousand_elements_fit() {
    fresh(|mut nft| {
        let v4 = |i: u32| format!("10.{}.{}.0/24", i >> 8, i & 255);
        let v6 = |i: u32| format!("fd00:{i:x}::/64");
        let node = |i: u32| format!("172.16.{}.{}/32", i >> 8, i & 255);
        let many = |text: &dyn Fn(u32) -> String| -> Vec<Element> {
            (0..5000)
                .map(|i| Element::Net(text(i).parse().unwrap()))
                .collect()
        };
        let mut table = everything();
        table.elements = Elements::from([(PODS, many(&v4).into_iter().collect())]);
        put(&mut nft, table);
        assert_eq!(held(&mut nft, PODS), many(&v4).into_iter().collect());
        let others = [
            (Set::Pods(Family::V6), many(&v6)),
            (Set::Nodes(Family::V4), many(&node)),
        ];
        for (set, many) in others {
            nft.apply(&[Change::AddElements(set, many.clone())], None)
                .unwrap();
            assert_eq!(held(&mut nft, set), many.iter().cloned().collect());
            nft.apply(&[Change::RemoveElements(set, many)], None)
                .unwrap();
            assert_eq!(held(&mut nft, set), BTreeSet::new());
        }
    });
}
