//! Host ports: each place has one owner, nobody takes or removes what is another's, and one round is enough.

use super::cases;
use crate::given::{dev, ip, range};
use crate::kernel::{apply, observed};
use model::attachment::{Attachment, Key, Mode, PodAddress};
use model::firewall::{Element, Elements};
use model::name::{ContainerId, NetworkName};
use model::ports::{PortMap, Protocol};
use model::state::HostState;
use plan::masquerade;
use plan::ports::{all, differences, elements, kept, of, publish, withdraw};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A port out of few, so that two often want the same.
fn port() -> impl Strategy<Value = PortMap> {
    let host_ip = select(Vec::from(["", "0.0.0.0", "::", "192.0.2.1", "2001:db8::1"]));
    (1..4u16, select(Vec::from(Protocol::ALL)), host_ip).prop_map(|(port, protocol, host_ip)| {
        PortMap {
            host_port: port,
            container_port: 80 + port,
            protocol,
            host_ip: (!host_ip.is_empty()).then(|| ip(host_ip)),
        }
    })
}

/// What a configuration lets through: no port twice.
fn ports() -> impl Strategy<Value = Vec<PortMap>> {
    vec(port(), 0..5).prop_map(|drawn| {
        let mut ports: Vec<PortMap> = Vec::new();
        for port in drawn {
            if !ports.iter().any(|other| other.collides(&port)) {
                ports.push(port);
            }
        }
        ports
    })
}

/// Pods of one node, each with its addresses.
fn pods() -> impl Strategy<Value = Vec<Attachment>> {
    vec((ports(), 0..3u64, any::<bool>()), 1..5).prop_map(|drawn| {
        let pods = drawn.into_iter().enumerate();
        pods.map(|(i, (ports, born, both))| pod(i, ports, born, both))
            .collect()
    })
}

fn pod(i: usize, ports: Vec<PortMap>, born: u64, both: bool) -> Attachment {
    let address = |ip_is: String, of: &str| PodAddress {
        ip: ip(&ip_is),
        range: range(of),
    };
    let mut addresses = vec![address(format!("10.244.0.{}", i + 2), "10.244.0.0/24")];
    if both {
        addresses.push(address(
            format!("fd00:10:244::{}", i + 2),
            "fd00:10:244::/64",
        ));
    }
    Attachment {
        addresses,
        key: Key {
            network: NetworkName::new("mynet").expect("a name"),
            container: ContainerId::new(&format!("c{i}")).expect("an id"),
            ifname: dev("eth0"),
        },
        netns: String::new(),
        inode: 7,
        standpoint: None,
        mode: Mode::Routed,
        mtu: None,
        mac: None,
        bandwidth: model::bandwidth::Bandwidth::default(),
        pod: None,
        ports,
        bridged: None,
        born,
    }
}

/// A node whose table holds this.
fn holding(elements: Elements) -> HostState {
    HostState {
        table: Some(observed(&masquerade::table(elements))),
        ..HostState::default()
    }
}

fn held(have: &HostState) -> Elements {
    let table = have.table.as_ref().expect("a table");
    table.elements.clone()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn who_publishes_has_all_or_leaves_everything_as_it_is(pods in pods()) {
        let mut have = holding(Elements::new());
        for pod in &pods {
            let before = held(&have);
            match publish(pod, &before) {
                Ok(changes) => {
                    apply(&changes, &mut have);
                    prop_assert_eq!(differences(pod, &held(&have)), Vec::<String>::new());
                    for other in &pods {
                        let owner = other.key.owner();
                        prop_assert!(other.key == pod.key || of(&owner, &held(&have)) == of(&owner, &before));
                    }
                }
                Err(taken) => {
                    prop_assert!(taken.holder != pod.key.owner());
                    let all = before.values().flatten();
                    let owners: Vec<_> = all.filter_map(Element::owner).collect();
                    prop_assert!(owners.contains(&&taken.holder));
                }
            }
        }
    }

    #[test]
    fn whoever_withdraws_takes_his_own_and_nothing_else(pods in pods()) {
        let mut have = holding(all(&pods, &Elements::new()));
        for pod in &pods {
            let owner = pod.key.owner();
            let before = held(&have);
            apply(&withdraw(&pod.key, Some(&elements(pod)), &before), &mut have);
            prop_assert_eq!(of(&owner, &held(&have)), Elements::new());
            for other in pods.iter().filter(|other| other.key != pod.key) {
                let owner = other.key.owner();
                prop_assert_eq!(of(&owner, &held(&have)), of(&owner, &before));
            }
        }
    }

    #[test]
    fn what_stands_for_a_record_stays_whoever_else_wants_its_place(pods in pods(), others in pods()) {
        let stands = all(&pods, &Elements::new());
        let everybody: Vec<_> = pods.iter().chain(&others).cloned().collect();
        for wanted in [all(&everybody, &stands), kept(&others, &stands)] {
            observed(&masquerade::table(wanted.clone()));
            for (set, elements) in &stands {
                prop_assert!(wanted[set].is_superset(elements));
            }
        }
    }

    #[test]
    fn a_pod_without_rivals_has_all_that_it_asks_for(ports in ports(), both in any::<bool>()) {
        let pod = pod(0, ports, 0, both);
        prop_assert_eq!(all(std::slice::from_ref(&pod), &Elements::new()), elements(&pod));
    }
}
