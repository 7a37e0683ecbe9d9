//! Taking Podwire off a node: what goes, in which order, and what stays.

use super::{FRESH, PODS, TWO, changes, settled};
use crate::given::{cluster, host, with};
use insta::assert_snapshot;
use model::addr::PodRange;
use model::cni::Kind;
use model::net::Former;
use model::remains::Remains;
use model::state::HostState;

const CONFLIST: &str = "/etc/cni/net.d/10-podwire.conflist";

fn remains() -> Remains {
    Remains {
        conflist: CONFLIST.into(),
        ..Remains::default()
    }
}

fn former(lines: &str) -> Vec<Former> {
    let lines = lines.lines().map(str::trim);
    lines.map(|line| Former::parse(line).expect(line)).collect()
}

fn shown(have: &HostState, remains: &Remains) -> String {
    told(have, remains, false)
}

fn told(have: &HostState, remains: &Remains, keep: bool) -> String {
    let plan = plan::uninstall::plan(have, remains, keep);
    let stays = plan.stays.iter().map(|it| format!("stays: {it}\n"));
    changes(&plan.changes) + &stays.collect::<String>()
}

#[test]
fn a_node_of_two_is_left_in_the_order_of_a_retreat() {
    let docker = "chain ip filter FORWARD on forward drop
                  7 other jump DOCKER-USER";
    let have = settled(&cluster(PODS, TWO), &with(host(FRESH), docker));
    let mut remains = remains();
    remains.former = former("net/ipv4/ip_forward 0 -> 1");
    remains.run = Some("/run/podwire".into());
    let ours = [Kind::Podwire, Kind::Loopback];
    remains.configurations.insert(CONFLIST.into(), ours.into());
    let files = ["/opt/cni/bin/podwire", "/opt/cni/bin/loopback"];
    remains.files.extend(files.map(String::from));
    assert_snapshot!(shown(&have, &remains), @"
    delete file /etc/cni/net.d/10-podwire.conflist
    delete rule ip filter FORWARD handle 8
    delete rule ip filter FORWARD handle 9
    delete table inet podwire
    delete route 10.244.1.0/24 via 10.128.0.3 dev eth0 src 10.244.0.1
    delete address 10.244.0.1/32 dev lo
    delete route unreachable 10.244.0.0/24
    set sysctl net/ipv4/ip_forward = 0
    delete file /opt/cni/bin/loopback
    delete file /opt/cni/bin/podwire
    delete folder /run/podwire
    ");
}

#[test]
fn a_node_without_podwire_has_nothing_to_do() {
    assert_snapshot!(shown(&host(FRESH), &remains()), @"nothing to do");
}

#[test]
fn an_address_is_known_by_any_range_that_is_remembered() {
    let have = with(
        host(FRESH),
        "address 10.244.7.1 dev lo
         address fd00:10:244:7::1 dev lo
         address 192.0.2.1 dev lo
         address 10.244.7.1/24 dev eth9",
    );
    let mut remains = remains();
    let ranges = ["10.244.7.0/24", "fd00:10:244:7::/64"];
    let ranges = ranges.map(|text| PodRange::parse(text).expect(text));
    remains.ranges.extend(ranges);
    assert_snapshot!(shown(&have, &remains), @"
    delete address 10.244.7.1/32 dev lo
    delete address fd00:10:244:7::1/128 dev lo
    ");
}

#[test]
fn a_bridge_goes_if_it_has_our_mac_and_no_port() {
    let ours = "link cni0 index 5 bridge 0e:58:0a:f4:00:01
                address 10.244.0.1/24 dev cni0
                link br-theirs index 6 bridge 02:58:0a:f4:00:01
                address 172.30.0.1/24 dev br-theirs";
    let have = with(host(FRESH), ours);
    assert_snapshot!(shown(&have, &remains()), @"delete link cni0");
    let have = with(have, "link tap0 master 5");
    assert_snapshot!(shown(&have, &remains()), @"
    nothing to do
    stays: bridge cni0 is Podwire's and has 1 ports that are not; when nobody needs it: ip link delete cni0
    ");
}

#[test]
fn a_bridge_that_pods_were_on_and_that_is_not_ours_is_named() {
    let bridge = "bridge cni0
                  link cni0 index 5 bridge 02:58:0a:f4:00:01";
    let have = settled(&cluster("", "a: 10.128.0.2 /"), &with(host(FRESH), bridge));
    assert_snapshot!(shown(&have, &remains()), @"
    delete table inet podwire
    stays: bridge cni0 was not made by Podwire; its addresses may be those of pods' gateways: ip address show cni0
    ");
}

#[test]
fn a_sysctl_goes_back_if_it_still_holds_what_it_was_given() {
    let have = with(
        host(FRESH),
        "sysctl ipv4/ip_forward 1
         sysctl ipv4/conf/eth0/rp_filter 0
         sysctl ipv6/conf/eth0/accept_ra 1",
    );
    let mut remains = remains();
    remains.former = former(
        "net/ipv4/conf/eth0/rp_filter 1 -> 2
         net/ipv6/conf/eth0/accept_ra 1 -> 2
         net/ipv4/conf/gone0/rp_filter 1 -> 2
         net/ipv4/ip_forward 0 -> 1",
    );
    assert_snapshot!(shown(&have, &remains), @"
    set sysctl net/ipv4/ip_forward = 0
    stays: sysctl net/ipv4/conf/eth0/rp_filter is 0: somebody has set it since Podwire made it 2; before Podwire it was 1
    ");
    assert_snapshot!(told(&have, &remains, true), @"
    nothing to do
    stays: sysctl net/ipv4/conf/eth0/rp_filter stays 0; before Podwire it was 1
    stays: sysctl net/ipv4/ip_forward stays 1; before Podwire it was 0
    ");
}

#[test]
fn a_sysctl_goes_with_its_bridge_or_is_put_back_on_one_that_stays() {
    let bridges = "link cni0 index 5 bridge 0e:58:0a:f4:00:01
                   address 10.244.0.1/24 dev cni0
                   link cni1 index 6 bridge 02:58:0a:f4:00:01
                   sysctl ipv4/conf/cni0/route_localnet 1
                   sysctl ipv4/conf/cni1/route_localnet 1";
    let have = with(host(FRESH), bridges);
    let mut remains = remains();
    remains.former = former(
        "net/ipv4/conf/cni0/route_localnet 0 -> 1
         net/ipv4/conf/cni1/route_localnet 0 -> 1",
    );
    assert_snapshot!(shown(&have, &remains), @"
    delete link cni0
    set sysctl net/ipv4/conf/cni1/route_localnet = 0
    ");
}

#[test]
fn what_changes_along_with_a_switch_is_put_right_after_it() {
    let also = "sysctl ipv4/ip_forward 1
                sysctl ipv4/conf/eth1/forwarding 1
                sysctl ipv4/conf/all/accept_redirects 0
                sysctl ipv6/conf/eth1/forwarding 1";
    let have = with(host(FRESH), also);
    let mut remains = remains();
    remains.former = former(
        "net/ipv4/conf/eth1/forwarding 1 -> 1
         net/ipv4/conf/all/accept_redirects 0 -> 0
         net/ipv4/ip_forward 0 -> 1
         net/ipv6/conf/eth1/forwarding 1 -> 1
         net/ipv6/conf/all/forwarding 0 -> 1",
    );
    // Somebody has turned IPv6's switch off already.
    assert_snapshot!(shown(&have, &remains), @"
    set sysctl net/ipv4/ip_forward = 0
    set sysctl net/ipv4/conf/all/accept_redirects = 0
    set sysctl net/ipv4/conf/eth1/forwarding = 1
    ");
}

#[test]
fn what_changed_along_with_a_switch_is_put_right_also_by_the_next_run() {
    let also = "sysctl ipv4/conf/eth1/forwarding 0
                sysctl ipv4/conf/all/accept_redirects 1";
    let have = with(host(FRESH), also);
    let mut remains = remains();
    remains.former = former(
        "net/ipv4/conf/eth1/forwarding 1 -> 1
         net/ipv4/conf/all/accept_redirects 0 -> 0
         net/ipv4/ip_forward 0 -> 1",
    );
    assert_snapshot!(shown(&have, &remains), @"
    set sysctl net/ipv4/conf/all/accept_redirects = 0
    set sysctl net/ipv4/conf/eth1/forwarding = 1
    ");
}

#[test]
fn other_files_that_ask_for_our_types_are_named() {
    let mut remains = remains();
    let demo = "/etc/cni/net.d/10-bash-cni-plugin.conf";
    let kinds = [Kind::BashCni];
    remains.configurations.insert(demo.into(), kinds.into());
    // Somebody has put another network into the agent's file.
    remains.configurations.insert(CONFLIST.into(), kinds.into());
    assert_snapshot!(shown(&host(FRESH), &remains), @"
    nothing to do
    stays: /etc/cni/net.d/10-bash-cni-plugin.conf is not the agent's and asks for bash-cni; no pod can start by it any more: rm /etc/cni/net.d/10-bash-cni-plugin.conf
    stays: /etc/cni/net.d/10-podwire.conflist is not the agent's and asks for bash-cni; no pod can start by it any more: rm /etc/cni/net.d/10-podwire.conflist
    ");
}

#[test]
fn a_rule_that_only_another_program_can_write_is_named() {
    let owned = "chain inet firewalld filter_FORWARD on forward accept owned
                 8 ours saddr 10.244.0.0/16";
    assert_snapshot!(shown(&with(host(FRESH), owned), &remains()), @"
    nothing to do
    stays: rule 8 of chain inet firewalld filter_FORWARD is ours; nobody can write it but the program that has made it its own
    ");
}
