//! Our table as a whole.

use super::*;

#[test]
fn a_put_table_is_listed_by_nft_as_it_prints_itself() {
    fresh(|mut nft| {
        let table = everything();
        put(&mut nft, table.clone());
        let listing = listing();
        assert!(
            listing.contains(&format!("comment {:?}", table.version)),
            "{listing}"
        );
        for set in Set::ALL {
            let is_map = matches!(set, Set::Ports(_) | Set::PortsAt(_));
            let kind = if is_map { "map" } else { "set" };
            assert!(listing.contains(&format!("{kind} {set} {{")), "{listing}");
        }
        for chain in &table.chains {
            let (_, rest) = listing
                .split_once(&format!("chain {} {{", chain.name))
                .unwrap();
            let (body, _) = rest.split_once("\n\t}").unwrap();
            let mut lines = body.trim().lines().map(str::trim);
            let head = lines.next().unwrap();
            let kind = if chain.nat { "nat" } else { "filter" };
            assert!(
                head.starts_with(&format!("type {kind} hook {} ", chain.hook)),
                "{head}"
            );
            assert!(head.ends_with("policy accept;"), "{head}");
            let listed: Vec<&str> = lines.collect();
            let printed: Vec<String> = chain.rules.iter().map(Rule::to_string).collect();
            assert_eq!(listed, printed);
        }
    });
}

#[test]
fn what_nft_lists_of_our_table_can_be_loaded_by_nft() {
    fresh(|mut nft_socket| {
        put(&mut nft_socket, everything());
        let before = nft_socket.table().unwrap();
        let script = listing();
        run("nft", &["flush", "ruleset"]);
        nft(&script);
        assert_eq!(nft_socket.table().unwrap(), before);
        assert_eq!(listing(), script);
    });
}

#[test]
fn putting_the_table_twice_leaves_one() {
    fresh(|mut nft| {
        put(&mut nft, everything());
        let (first, state) = (listing(), nft.table().unwrap());
        put(&mut nft, everything());
        assert_eq!((listing(), nft.table().unwrap()), (first, state));
        assert_eq!(run("nft", &["list", "tables"]), "table inet podwire\n");
    });
}

#[test]
fn an_older_table_with_other_chains_and_sets_is_replaced() {
    fresh(|mut socket| {
        nft("table inet podwire { set pods4 { type ipv4_addr; };
             chain old { type filter hook forward priority 0; ip saddr @pods4 drop; }; }");
        assert_eq!(socket.version().unwrap().as_deref(), Some(""));
        put(&mut socket, everything());
        assert!(!listing().contains("old"));
        assert_eq!(socket.version().unwrap(), Some(everything().version));
    });
}

#[test]
fn what_is_observed_is_what_was_put() {
    fresh(|mut nft| {
        let table = everything();
        put(&mut nft, table.clone());
        let rules = table
            .chains
            .iter()
            .map(|c| (c.name.to_owned(), c.rules.len()))
            .collect();
        let Table {
            version, elements, ..
        } = table;
        assert_eq!(
            nft.table().unwrap(),
            Some(TableState {
                version,
                rules,
                elements
            })
        );
    });
}

#[test]
fn without_the_table_there_is_neither_version_nor_state_and_removing_it_is_fine() {
    fresh(|mut nft| {
        assert_eq!((nft.version().unwrap(), nft.table().unwrap()), (None, None));
        nft.apply(&[Change::RemoveTable], None).unwrap();
        put(&mut nft, everything());
        nft.apply(&[Change::RemoveTable], None).unwrap();
        assert_eq!((nft.version().unwrap(), nft.table().unwrap()), (None, None));
    });
}

#[test]
fn a_stale_generation_is_refused_and_nothing_changes() {
    fresh(|mut socket| {
        let generation = socket.generation().unwrap();
        nft("table ip other { }");
        let error = socket
            .apply(&[Change::PutTable(everything())], Some(generation))
            .unwrap_err();
        assert!(error.is_stale(), "{error}");
        assert_eq!(socket.version().unwrap(), None);
        let generation = socket.generation().unwrap();
        socket
            .apply(&[Change::PutTable(everything())], Some(generation))
            .unwrap();
        assert_ne!(socket.generation().unwrap(), generation);
    });
}

#[test]
fn a_refused_change_is_named_and_nothing_of_the_list_happens() {
    fresh(|mut nft| {
        let missing = elements(Set::Nodes(Family::V4), &["192.0.2.1/32"]);
        let changes = [
            Change::PutTable(everything()),
            Change::RemoveElements(Set::Nodes(Family::V4), missing),
        ];
        let error = nft.apply(&changes, None).unwrap_err();
        assert_eq!(error.operation(), changes[1].to_string());
        assert!(error.is_gone(), "{error}");
        assert_eq!(nft.version().unwrap(), None);
    });
}

#[test]
fn what_nftables_has_no_words_for_is_refused_before_anything_is_sent() {
    fresh(|mut nft| {
        let wrong = [
            Change::RemoveLink(IfName::new("eth0").unwrap()),
            Change::AddElements(
                Set::Bridges,
                elements(Set::Nodes(Family::V4), &["10.0.0.1/32"]),
            ),
            Change::AddElements(
                Set::Nodes(Family::V4),
                elements(Set::Pods(Family::V4), &["10.0.0.0/8"]),
            ),
        ];
        for change in wrong {
            let error = nft
                .apply(&[Change::PutTable(everything()), change], None)
                .unwrap_err();
            assert_eq!(error.errno(), Some(rustix::io::Errno::INVAL));
        }
        assert_eq!(nft.version().unwrap(), None);
    });
}
