//! A node on which more stands than the remembered cluster knows.

use super::*;
use model::addr::{Family, PodRange, host_prefix};
use model::cluster::Node;
use model::firewall::{ForeignChain, ForeignRule, TableFamily, TableState};
use model::name::{IfName, NetworkName};
use model::net::{Address, Route};
use model::state::{LinkState, Lookup};
use std::net::IpAddr;
use std::string::ToString as _;
use std::vec;

const OWN: &str = "10.128.0.2";
const PEER: &str = "10.128.0.3";
/// Of a node that came later.
const NEWER: &str = "10.244.7.0/24";

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn route(dst: &str, via: &str) -> Route {
    let dev = IfName::new("eth0").unwrap();
    Route {
        dst: net(dst),
        target: Target::Via(ip(via), dev),
        src: Some(ip("10.244.0.1")),
    }
}

/// Two nodes, whose prefixes are their ranges.
fn cluster() -> Cluster {
    let node = |address: &str, range: &str| Node {
        addresses: vec![ip(address)],
        ranges: vec![PodRange::parse(range).unwrap()],
    };
    Cluster {
        network: NetworkName::new("podwire").unwrap(),
        prefixes: Vec::new(),
        nodes: [
            (name("a"), node(OWN, "10.244.0.0/24")),
            (name("b"), node(PEER, "10.244.1.0/24")),
        ]
        .into(),
    }
}

/// The bare node.
fn bare() -> HostState {
    let dev = IfName::new("eth0").unwrap();
    let link = LinkState {
        index: 2,
        mtu: 1500,
        up: true,
        bridge: false,
        mac: None,
        master: None,
    };
    let mut have = HostState::default();
    have.links.insert(dev.clone(), link);
    have.addresses.insert(Address {
        net: net("10.128.0.2/24"),
        dev: dev.clone(),
    });
    let lookup = Lookup { dev, gateway: None };
    have.lookups.insert(ip(PEER), lookup);
    have
}

fn mended(have: &HostState) -> Vec<Change> {
    plan(&cluster(), &name("a"), have).changes
}

fn routes(changes: &[Change]) -> Vec<&Route> {
    let mut routes = Vec::new();
    for change in changes {
        if let Change::ReplaceRoute(route) = change
            && route.src.is_some()
        {
            routes.push(route);
        }
    }
    routes
}

/// The table that a look at `have` asks for.
fn table(have: &HostState) -> model::firewall::Table {
    for change in mended(have) {
        if let Change::PutTable(table) = change {
            return table;
        }
    }
    panic!("no table is asked for");
}

fn stand(have: &mut HostState, table: model::firewall::Table) {
    let rules = table.chains.iter();
    have.table = Some(TableState {
        rules: rules
            .map(|chain| (chain.name.to_string(), chain.rules.len()))
            .collect(),
        version: table.version,
        elements: table.elements,
    });
}

fn held(have: &mut HostState, set: Set) -> &mut BTreeSet<Element> {
    let table = have.table.as_mut().unwrap();
    table.elements.entry(set).or_default()
}

fn elements(nets: &[&str]) -> BTreeSet<Element> {
    nets.iter().map(|it| Element::Net(net(it))).collect()
}

const PODS: Set = Set::Pods(Family::V4);
const NODES: Set = Set::Nodes(Family::V4);

#[test]
fn a_route_is_put_back_only_where_none_stands() {
    let mut have = bare();
    let mine = route("10.244.1.0/24", PEER);
    assert_eq!(routes(&mended(&have)), [&mine]);
    // The range has gone to a node that came later, or lies in one that has.
    for dst in ["10.244.1.0/24", "10.244.0.0/23"] {
        have.routes = [route(dst, "10.128.0.9")].into();
        assert_eq!(routes(&mended(&have)), [] as [&Route; 0], "{dst}");
    }
    have.routes = [route(NEWER, "10.128.0.9")].into();
    assert_eq!(routes(&mended(&have)), [&mine]);
    let changes = mended(&have);
    let stays = |change: &Change| !matches!(change, Change::RemoveRoute(_));
    assert!(changes.iter().all(stays), "{changes:?}");
}

#[test]
fn a_new_table_keeps_the_prefixes_of_newer_nodes() {
    let mut have = bare();
    stand(&mut have, table(&bare()));
    held(&mut have, PODS).insert(Element::Net(net(NEWER)));
    let newer = Element::Net(host_prefix(ip("10.128.0.9")));
    held(&mut have, NODES).insert(newer.clone());
    // As after an update.
    have.table.as_mut().unwrap().version = "older".into();
    let put = table(&have);
    let all = elements(&["10.244.0.0/24", "10.244.1.0/24", NEWER]);
    assert_eq!(put.elements[&PODS], all);
    assert!(put.elements[&NODES].contains(&newer));
    stand(&mut have, put);
    let changes = mended(&have);
    let is_table = |change: &Change| {
        matches!(
            change,
            Change::PutTable(_) | Change::AddElements(..) | Change::RemoveElements(..)
        )
    };
    assert!(!changes.iter().any(is_table), "{changes:?}");
}

#[test]
fn a_table_that_was_lost_gets_the_prefixes_that_routes_lead_to() {
    let mut have = bare();
    have.routes.insert(route(NEWER, "10.128.0.9"));
    let all = elements(&["10.244.0.0/24", "10.244.1.0/24", NEWER]);
    assert_eq!(table(&have).elements[&PODS], all);
}

#[test]
fn prefixes_come_and_those_that_stand_stay() {
    let mut have = bare();
    stand(&mut have, table(&bare()));
    *held(&mut have, PODS) = elements(&["10.244.0.0/24", NEWER]);
    let mine = Change::AddElements(PODS, vec![Element::Net(net("10.244.1.0/24"))]);
    assert!(mended(&have).contains(&mine));
    let takes = |change: &Change| matches!(change, Change::RemoveElements(..));
    assert!(!mended(&have).iter().any(takes));
    // A wider one takes the place of what lies in it.
    let mut wide = cluster();
    wide.prefixes = vec![net("10.244.0.0/16")];
    let changes = plan(&wide, &name("a"), &have).changes;
    let wider = Change::AddElements(PODS, vec![Element::Net(net("10.244.0.0/16"))]);
    assert!(changes.contains(&wider), "{changes:?}");
    let narrow = elements(&["10.244.0.0/24", NEWER]).into_iter().collect();
    assert!(changes.contains(&Change::RemoveElements(PODS, narrow)));
}

#[test]
fn a_range_that_the_node_had_is_served_on() {
    let mut have = bare();
    have.routes.insert(Route {
        dst: net("10.244.5.0/24"),
        target: Target::Unreachable,
        src: None,
    });
    let local = &table(&have).elements[&Set::Local(Family::V4)];
    assert_eq!(*local, elements(&["10.244.0.0/24", "10.244.5.0/24"]));
}

fn chain() -> ChainRef {
    ChainRef {
        family: TableFamily::Ip,
        table: "filter".into(),
        chain: "FORWARD".into(),
    }
}

/// One that drops at its end.
fn forward(rules: Vec<Role>) -> ForeignChain {
    let handles = (1..).zip(rules);
    ForeignChain {
        chain: chain(),
        hook: Hook::Forward,
        drops: true,
        owned: false,
        rules: handles
            .map(|(handle, role)| ForeignRule { handle, role })
            .collect(),
    }
}

fn pair(of: &str) -> [Role; 2] {
    [
        Role::Ours(vec![Match::Source(Is::In, net(of))]),
        Role::Ours(vec![Match::Destination(Is::In, net(of))]),
    ]
}

#[test]
fn the_rules_of_a_rewritten_chain_are_all_that_stood_and_those_that_lacked() {
    let mut have = bare();
    have.foreign = vec![forward(pair(NEWER).into())];
    let changes = mended(&have);
    let removed = changes
        .iter()
        .filter(|change| matches!(change, Change::RemoveRule(..)));
    assert_eq!(removed.count(), 2);
    let mut rules = Vec::new();
    for change in &changes {
        if let Change::InsertRule(_, _, rule) = change {
            rules.push(Role::Ours(rule.matches.clone()));
        }
    }
    for wanted in pair(NEWER).iter().chain(&pair("10.244.1.0/24")) {
        assert!(rules.contains(wanted), "{rules:?}");
    }
    have.foreign = vec![forward(rules)];
    let again = mended(&have);
    let rewrites = |change: &Change| matches!(change, Change::InsertRule(..));
    assert!(!again.iter().any(rewrites), "{again:?}");
}

#[test]
fn no_rule_is_taken_out_of_a_chain_that_gets_none() {
    let other = ChainRef {
        chain: "INPUT".into(),
        ..chain()
    };
    let rule = model::firewall::Rule {
        matches: Vec::new(),
        verdict: model::firewall::Verdict::Accept,
        comment: "podwire: pods".into(),
    };
    let rewrite = vec![
        Change::RemoveRule(chain(), 7),
        Change::InsertRule(chain(), None, rule),
    ];
    let mut changes = rewrite.clone();
    changes.push(Change::RemoveRule(other, 8));
    let mut plan = Plan {
        changes,
        ..Plan::default()
    };
    only(&mut plan, &bare());
    assert_eq!(plan.changes, rewrite);
}

#[test]
fn a_place_that_another_has_is_left_to_him() {
    let set = Set::Ports(Family::V4);
    let mut plan = Plan {
        changes: vec![
            Change::RemoveElements(set, Vec::new()),
            Change::AddElements(
                set,
                vec![Element::Pair(
                    ip(OWN),
                    model::firewall::Owner::named("somebody"),
                )],
            ),
        ],
        ..Plan::default()
    };
    only(&mut plan, &bare());
    assert_eq!(plan.changes, []);
}

#[test]
fn what_is_there_stays_and_no_runtime_is_told() {
    let link = IfName::new("eth0").unwrap();
    let mut plan = Plan {
        changes: vec![Change::RemoveLink(link.clone()), Change::SetUp(link)],
        conflist: Some(Change::WriteConflist("{}".into())),
        ..Plan::default()
    };
    only(&mut plan, &bare());
    assert_eq!(plan.changes.len(), 1);
    assert!(matches!(plan.changes[0], Change::SetUp(_)));
    assert_eq!(plan.conflist, None);
}
