//! The agent's view: sysctls, notifications, and a list of changes of every kind.

use crate::place::*;
use host::events::{Events, Heard, Port};
use host::machine::{Ask, Machine, Paths};
use host::sysctl::Sysctls;
use model::change::Change;
use model::net::Sysctl;

fn sysctl(key: &str, value: &str) -> Sysctl {
    Sysctl {
        key: key.into(),
        value: value.into(),
    }
}

#[test]
fn a_sysctl_is_written_only_where_it_differs() {
    let _node = node();
    let sysctls = Sysctls::default();
    let forward = sysctl("ipv4/ip_forward", "1");
    assert_eq!(
        sysctls
            .write(&sysctl("ipv4/ip_forward", "0"))
            .ok()
            .map(|_| ()),
        Some(())
    );
    assert_eq!(sysctls.write(&forward), Ok(true));
    assert_eq!(sysctls.write(&forward), Ok(false));
    assert_eq!(sysctls.read("ipv4/ip_forward"), Ok(Some("1".into())));
    assert_eq!(sysctls.read("ipv4/no_such_thing"), Ok(None));
    let error = sysctls
        .write(&sysctl("ipv4/no_such_thing", "1"))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("set sysctl net/ipv4/no_such_thing = 1: "),
        "{error}"
    );
}

const NOTHING: Heard = Heard {
    news: false,
    ways: false,
};
const NEWS: Heard = Heard {
    news: true,
    ways: false,
};
const WAYS: Heard = Heard {
    news: true,
    ways: true,
};

#[test]
fn others_changes_are_heard_and_ones_own_are_not() {
    let mut node = node();
    let own = [Port::Route(node.port().unwrap())];
    let mut events = Events::open().unwrap();
    assert_eq!(events.drain(&own), Ok(NOTHING));

    node.apply(&[bridge("br0")], None).ok().unwrap();
    events.drain(&own).unwrap();
    let route = out("10.1.0.0/16", "br0");
    node.apply(&[Change::AddRoute(route.clone())], None)
        .ok()
        .unwrap();
    assert_eq!(events.drain(&own), Ok(NOTHING), "own route");
    assert_eq!(events.drain(&[]), Ok(NOTHING), "nothing left");
    node.apply(&[Change::RemoveRoute(route)], None)
        .ok()
        .unwrap();
    assert_eq!(events.drain(&[]), Ok(WAYS), "a stranger's");

    ip("route add 10.2.0.0/16 dev br0");
    assert_eq!(events.drain(&own), Ok(WAYS));
    ip("addr add 10.3.0.1/16 dev br0");
    assert_eq!(events.drain(&own), Ok(WAYS));
    nft("add table ip strange");
    assert_eq!(events.drain(&own), Ok(NEWS));
    nft("flush ruleset");
    assert_eq!(events.drain(&own), Ok(NEWS));
    assert_eq!(events.drain(&own), Ok(NOTHING));
}

#[test]
fn what_becomes_of_a_pods_link_moves_nobodys_way() {
    let _node = node();
    let mut events = Events::open().unwrap();
    ip("link add pw0123456789abc type veth peer name peer0");
    assert_eq!(events.drain(&[]), Ok(WAYS), "the other end is no pod's");
    for change in [
        "link set pw0123456789abc up",
        "addr add 10.4.0.1/32 dev pw0123456789abc",
        "route add 10.4.0.2/32 dev pw0123456789abc",
    ] {
        ip(change);
        assert_eq!(events.drain(&[]), Ok(NEWS), "{change}");
    }
    ip("route add 10.4.0.3/32 dev pw0123456789abc");
    assert_eq!(events.drain(&[]), Ok(NEWS));
    ip("addr del 10.4.0.1/32 dev pw0123456789abc");
    assert_eq!(events.drain(&[]), Ok(NEWS));
    ip("link set peer0 up");
    assert_eq!(events.drain(&[]), Ok(WAYS));
}

#[test]
fn a_port_of_one_protocol_hides_nothing_of_the_other() {
    let mut node = node();
    let crossed = [Port::Nftables(node.port().unwrap())];
    let mut events = Events::open().unwrap();
    node.apply(&[bridge("br0")], None).ok().unwrap();
    assert_eq!(events.drain(&crossed), Ok(WAYS));
}

#[test]
fn lost_notifications_count_as_a_change() {
    let mut node = node();
    let own = [Port::Route(node.port().unwrap())];
    let mut events = Events::open().unwrap();
    let mut changes = vec![bridge("br0")];
    let routes = (0..3000_u32).map(|i| out(&format!("10.{}.{}.0/24", i / 256, i % 256), "br0"));
    changes.extend(routes.map(Change::AddRoute));
    events.drain(&own).unwrap();
    node.apply(&changes, None).ok().unwrap();
    assert_eq!(events.drain(&own), Ok(WAYS));
    assert_eq!(events.drain(&own), Ok(NOTHING));
}

#[test]
fn a_list_of_all_kinds_is_applied_and_seen() {
    let _node = node();
    let folder = std::env::temp_dir().join(format!("podwire-machine-{}", std::process::id()));
    let paths = Paths {
        conflist: folder.join("10-podwire.conflist"),
        ..Paths::default()
    };
    let mut machine = Machine::open(paths).unwrap();
    let ask = Ask {
        sysctls: vec!["ipv4/ip_forward".into(), "ipv4/none".into()],
        lookups: vec!["10.9.0.1".parse().unwrap()],
    };
    let before = machine.observe(&ask).unwrap();
    assert_eq!((before.table, before.conflist), (None, None));
    let changes = [
        Change::SetSysctl(sysctl("ipv4/ip_forward", "1")),
        Change::SetSysctl(sysctl("ipv4/none", "1")),
        bridge("br0"),
        Change::AddAddress(address("10.8.0.2/24", "br0")),
        Change::AddRoute(via("10.9.0.0/16", "10.8.0.1", "br0")),
        Change::AddRoute(out("10.7.0.0/16", "eth9")),
        Change::WriteConflist("{}".into()),
    ];
    let report = machine.apply(&changes, before.generation);
    let places: Vec<usize> = report.failed.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [1, 5], "{report:?}");
    let after = machine.observe(&ask).unwrap();
    assert_eq!(after.sysctls.len(), 1);
    assert_eq!(after.sysctls["ipv4/ip_forward"], "1");
    assert!(
        after
            .routes
            .contains(&via("10.9.0.0/16", "10.8.0.1", "br0"))
    );
    assert_eq!(after.lookups[&ask.lookups[0]].dev, name("br0"));
    assert_eq!(after.conflist.as_deref(), Some("{}"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn ones_own_transactions_are_not_heard_and_each_follows_the_last() {
    let _node = node();
    let mut machine = Machine::open(Paths::default()).unwrap();
    let own = machine.ports().unwrap();
    let mut events = Events::open().unwrap();
    nft("add table inet podwire");
    assert_eq!(events.drain(&own), Ok(NEWS));
    let generation = machine.observe(&Ask::default()).unwrap().generation;
    // Two transactions of one list, the second without anything to do, and a third.
    let forward = || Change::SetSysctl(sysctl("ipv4/ip_forward", "1"));
    let changes = [
        Change::RemoveTable,
        forward(),
        Change::RemoveTable,
        forward(),
        Change::RemoveTable,
    ];
    // A sysctl is a file: that it changed is told without a sender, and only once.
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    assert_eq!(events.drain(&own), Ok(NEWS));
    assert_eq!(machine.apply(&changes, generation).ok(), Ok(()));
    assert_eq!(events.drain(&own), Ok(NOTHING));
    nft("add table inet podwire");
    let report = machine.apply(&[Change::RemoveTable], generation);
    assert!(report.ok().unwrap_err().is_stale());
}

fn nft(command: &str) {
    let status = std::process::Command::new("nft")
        .arg(command)
        .status()
        .expect("nft is installed: apt-get install nftables");
    assert!(status.success(), "nft {command}");
}
