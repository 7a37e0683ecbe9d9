//! Host ports: what stands in our table for them, who has a port, and what comes back after a flush.

use super::pod::{bridged, routed};
use super::{FRESH, PODS, TWO, changes, plan, settled};
use crate::given::{cluster, dev, host, ip, with};
use insta::assert_snapshot;
use model::attachment::Attachment;
use model::firewall::{Element, Elements};
use model::name::ContainerId;
use model::ports::{PortMap, Protocol};
use plan::ports::{differences, elements, kept, localnet, publish, withdraw};

fn map(host_ip: &str, host_port: u16, protocol: Protocol) -> PortMap {
    PortMap {
        host_port,
        container_port: 80,
        protocol,
        host_ip: (!host_ip.is_empty()).then(|| ip(host_ip)),
    }
}

fn with_ports(attachment: Attachment, ports: &[PortMap]) -> Attachment {
    Attachment {
        ports: ports.to_vec(),
        ..attachment
    }
}

fn web() -> Attachment {
    let ports = [
        map("", 8080, Protocol::Tcp),
        map("192.0.2.1", 53, Protocol::Udp),
        map("::", 9000, Protocol::Sctp),
    ];
    with_ports(routed(), &ports)
}

fn named(attachment: Attachment, container: &str) -> Attachment {
    let mut attachment = attachment;
    attachment.key.container = ContainerId::new(container).expect("an id");
    attachment
}

#[test]
fn a_pods_ports_stand_in_the_maps_of_the_families_that_they_serve() {
    let done = publish(&web(), &Elements::new()).expect("nobody has them");
    assert_snapshot!(changes(&done), @r#"
    add element ports4 { tcp . 8080 comment "mynet/c1/eth0" : 10.244.0.2 . 80 }
    add element ports6 { tcp . 8080 comment "mynet/c1/eth0" : fd00:10:244::2 . 80, sctp . 9000 comment "mynet/c1/eth0" : fd00:10:244::2 . 80 }
    add element ports_at4 { 192.0.2.1 . udp . 53 comment "mynet/c1/eth0" : 10.244.0.2 . 80 }
    add element hairpin4 { 10.244.0.2 . 10.244.0.2 comment "mynet/c1/eth0" }
    add element hairpin6 { fd00:10:244::2 . fd00:10:244::2 comment "mynet/c1/eth0" }
    forget udp flows to 192.0.2.1:53 that lead nowhere
    "#);
}

#[test]
fn what_stands_already_is_not_added_again() {
    let done = publish(&web(), &elements(&web())).expect("it is ours");
    assert_snapshot!(changes(&done), @"forget udp flows to 192.0.2.1:53 that lead nowhere");
}

#[test]
fn a_port_that_another_one_has_is_named_together_with_him() {
    let other = named(web(), "c2");
    let taken = publish(&web(), &elements(&other)).expect_err("it is his");
    assert_snapshot!(taken, @"host port 8080/tcp is taken by mynet/c2/eth0");
}

#[test]
fn only_what_is_ones_own_is_withdrawn() {
    let mut found = elements(&named(web(), "c2"));
    let ours = elements(&with_ports(routed(), &[map("", 81, Protocol::Tcp)]));
    for (set, elements) in ours {
        found.entry(set).or_default().extend(elements);
    }
    assert_snapshot!(changes(&withdraw(&routed().key, None, &found)), @r#"
    delete element ports4 { tcp . 81 comment "mynet/c1/eth0" : 10.244.0.2 . 80 }
    delete element ports6 { tcp . 81 comment "mynet/c1/eth0" : fd00:10:244::2 . 80 }
    delete element hairpin4 { 10.244.0.2 . 10.244.0.2 comment "mynet/c1/eth0" }
    delete element hairpin6 { fd00:10:244::2 . fd00:10:244::2 comment "mynet/c1/eth0" }
    "#);
    let third = named(routed(), "c3");
    assert_snapshot!(changes(&withdraw(&third.key, None, &found)), @"nothing to do");
}

#[test]
fn flows_of_ports_that_are_withdrawn_already_are_forgotten_all_the_same() {
    let ours = with_ports(routed(), &[map("0.0.0.0", 53, Protocol::Udp)]);
    assert_snapshot!(changes(&withdraw(&ours.key, Some(&elements(&ours)), &Elements::new())), @"forget udp flows over IPv4 to port 53 that lead to 10.244.0.2:80");
    assert_snapshot!(changes(&withdraw(&ours.key, None, &elements(&ours))), @r#"
    delete element ports4 { udp . 53 comment "mynet/c1/eth0" : 10.244.0.2 . 80 }
    delete element hairpin4 { 10.244.0.2 . 10.244.0.2 comment "mynet/c1/eth0" }
    forget udp flows over IPv4 to port 53 that lead to 10.244.0.2:80
    "#);
}

#[test]
fn route_localnet_is_set_where_127_0_0_1_leads_to_a_pod_and_nowhere_else() {
    let at = |attachment: Attachment, host_ip: &str| {
        let attachment = with_ports(attachment, &[map(host_ip, 80, Protocol::Tcp)]);
        localnet(&attachment, &dev("pw0")).map(|sysctl| sysctl.to_string())
    };
    assert_eq!(
        at(routed(), "").as_deref(),
        Some("sysctl net/ipv4/conf/pw0/route_localnet = 1")
    );
    assert_eq!(at(routed(), "0.0.0.0"), at(routed(), "127.0.0.2"));
    assert_eq!(
        at(bridged(), "").as_deref(),
        Some("sysctl net/ipv4/conf/cni0/route_localnet = 1")
    );
    assert_eq!(
        (at(routed(), "192.0.2.1"), at(routed(), "::")),
        (None, None)
    );
    assert_eq!(localnet(&routed(), &dev("pw0")), None);
}

#[test]
fn check_names_what_lacks_and_what_is_anothers() {
    let ours = with_ports(routed(), &[map("0.0.0.0", 80, Protocol::Tcp)]);
    assert_eq!(differences(&ours, &elements(&ours)), [""; 0]);
    let lacking = differences(&ours, &Elements::new());
    assert_snapshot!(lacking.join("\n"), @r#"
    ports4 lacks tcp . 80 comment "mynet/c1/eth0" : 10.244.0.2 . 80
    hairpin4 lacks 10.244.0.2 . 10.244.0.2 comment "mynet/c1/eth0"
    "#);
    let anothers = differences(&ours, &elements(&named(ours.clone(), "c2")));
    assert_snapshot!(anothers[0], @r#"ports4 has tcp . 80 comment "mynet/c2/eth0" : 10.244.0.2 . 80 instead of tcp . 80 comment "mynet/c1/eth0" : 10.244.0.2 . 80"#);
}

#[test]
fn the_agent_puts_the_ports_of_all_records_and_removes_what_no_record_has() {
    let mut have = settled(&cluster(PODS, TWO), &host(FRESH));
    have.publishing
        .push(with_ports(routed(), &[map("0.0.0.0", 80, Protocol::Udp)]));
    assert_snapshot!(changes(&plan(&cluster(PODS, TWO), &have).changes), @r#"
    add element ports4 { udp . 80 comment "mynet/c1/eth0" : 10.244.0.2 . 80 }
    add element hairpin4 { 10.244.0.2 . 10.244.0.2 comment "mynet/c1/eth0" }
    forget udp flows over IPv4 to port 80 that lead nowhere
    "#);
    let mut have = settled(&cluster(PODS, TWO), &have);
    assert_snapshot!(changes(&plan(&cluster(PODS, TWO), &have).changes), @"nothing to do");
    have.publishing.clear();
    assert_snapshot!(changes(&plan(&cluster(PODS, TWO), &have).changes), @r#"
    delete element ports4 { udp . 80 comment "mynet/c1/eth0" : 10.244.0.2 . 80 }
    delete element hairpin4 { 10.244.0.2 . 10.244.0.2 comment "mynet/c1/eth0" }
    "#);
}

#[test]
fn a_flushed_table_comes_back_with_the_ports_in_it() {
    let mut have = settled(&cluster(PODS, TWO), &host(FRESH));
    have.publishing
        .push(with_ports(routed(), &[map("0.0.0.0", 80, Protocol::Udp)]));
    have.table = None;
    assert_snapshot!(changes(&plan(&cluster(PODS, TWO), &have).changes), @r#"
    put table inet podwire version CURRENT pods4 { 10.244.0.0/16 } local4 { 10.244.0.0/24 } nodes4 { 10.128.0.2/32, 10.128.0.3/32 } ports4 { udp . 80 comment "mynet/c1/eth0" : 10.244.0.2 . 80 } hairpin4 { 10.244.0.2 . 10.244.0.2 comment "mynet/c1/eth0" }
    forget udp flows over IPv4 to port 80 that lead nowhere
    "#);
}

#[test]
fn of_two_records_that_name_one_port_he_who_stands_there_keeps_it_else_the_older() {
    let (old, mut new) = (web(), named(web(), "c2"));
    new.born = old.born + 1;
    let both = [new.clone(), old.clone()];
    assert_eq!(kept(&both, &Elements::new()), elements(&old));
    assert_eq!(kept(&both, &elements(&new)), elements(&new));
}

#[test]
fn addresses_of_services_are_kept_apart() {
    let have = settled(&cluster(PODS, TWO), &host(FRESH));
    let have = with(
        have,
        "address 10.96.0.1 dev kube-ipvs0
         address fd00:96::1 dev kube-ipvs0
         address 169.254.20.10 dev nodelocaldns",
    );
    assert_snapshot!(changes(&plan(&cluster(PODS, TWO), &have).changes), @"
    add element services4 { 10.96.0.1/32, 169.254.20.10/32 }
    add element services6 { fd00:96::1/128 }
    ");
}

#[test]
fn an_owner_is_readable_in_what_nft_lists() {
    let held = elements(&web());
    let owners = held.values().flatten().filter_map(Element::owner);
    assert!(
        owners
            .into_iter()
            .all(|owner| owner.as_str() == "mynet/c1/eth0")
    );
}
