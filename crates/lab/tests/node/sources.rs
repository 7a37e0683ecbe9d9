//! From which address a node talks to pods, and what becomes of packets to addresses that nobody has.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use lab::probe::{self, Unreached};
use lab::walk::{Family, Mode, Site};
use lab::{Lab, Node, Place, wire};

use super::{SOON, Scene, routes};

/// Addresses that would be chosen if nothing else were said: the first ones of the node.
const VIPS: [(&str, &str); 4] = [
    ("lo", "192.0.2.7/32"),
    ("lo", "2001:db8:7::7/128"),
    ("eth0", "10.128.0.77/24"),
    ("eth0", "fd00:10:128::77/64"),
];

fn first_addresses(family: Family) -> Result<[IpAddr; 2]> {
    Ok(match family {
        Family::V4 => ["10.244.0.1".parse()?, "10.244.1.1".parse()?],
        Family::V6 => ["fd00:10:244::1".parse()?, "fd00:10:244:1::1".parse()?],
    })
}

/// Both nodes talk to all four pods from the first address of their own range.
fn nodes_are_seen_with_their_first_addresses(scene: &Scene) -> Result<()> {
    for &family in scene.mode.families() {
        for (side, own) in scene.site.sides.iter().zip(first_addresses(family)?) {
            for (number, pod) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let target = SocketAddr::new(scene.addresses.of(number, pod, family)?, Site::PORT);
                let seen = probe::tcp(&side.node, target, SOON)?;
                ensure!(
                    seen == own,
                    "{target} sees {} as {seen}, not as {own}",
                    side.node.name()
                );
            }
        }
    }
    Ok(())
}

fn add_vips(node: &Node) -> Result<()> {
    node.attempt(|| {
        for (link, vip) in VIPS {
            wire::add_address(link, vip.parse()?)?;
        }
        Ok(())
    })
}

#[test]
fn a_node_talks_to_pods_from_the_first_address_of_its_range() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        nodes_are_seen_with_their_first_addresses(&scene)
    })
}

#[test]
fn another_address_that_comes_first_is_not_taken_and_routes_outlive_it() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        add_vips(site.master())?;
        let scene = Scene::on(site, Mode::Routed)?;
        nodes_are_seen_with_their_first_addresses(&scene)?;
        let ours = |place: &Place| -> Result<Vec<String>> {
            let all = routes(place)?.into_iter();
            Ok(all.filter(|route| route.contains("proto 112")).collect())
        };
        let before = ours(scene.master())?;
        ensure!(!before.is_empty(), "no route of ours");
        for (link, vip) in VIPS {
            super::said(scene.master(), &format!("ip addr del {vip} dev {link}"))?;
        }
        ensure!(
            ours(scene.master())? == before,
            "a route has vanished with another address"
        );
        nodes_are_seen_with_their_first_addresses(&scene)?;
        scene.everything_is_reached()
    })
}

#[test]
fn a_packet_to_an_address_that_no_pod_has_is_refused_at_once_and_does_not_circle() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        for (own_range, family) in [
            ("10.244.0.200", Family::V4),
            ("fd00:10:244::c8", Family::V6),
        ] {
            let target: IpAddr = own_range.parse()?;
            let own = first_addresses(family)?[0];
            let [master, worker] = &scene.site.sides;
            let from: [&Place; 3] = [&master.pods[0], &worker.pods[0], &worker.node];
            for place in from {
                refused(place, target, family, own)?;
            }
            let local = probe::ping(&master.node, target, SOON);
            ensure!(matches!(local, Err(Unreached::Local(_))), "{local:?}");
        }
        Ok(())
    })
}

/// An answer "unreachable" from the node that has the range, not "time exceeded", and not silence.
fn refused(place: &Place, target: IpAddr, family: Family, own: IpAddr) -> Result<()> {
    let unreachable = match family {
        Family::V4 => 3,
        Family::V6 => 1,
    };
    match probe::ping(place, target, SOON) {
        Err(Unreached::Icmp { from, kind, .. }) if kind == unreachable => {
            let uplink: IpAddr = match family {
                Family::V4 => "10.128.0.2".parse()?,
                Family::V6 => "fd00:10:128::2".parse()?,
            };
            ensure!(
                from == own || from == uplink,
                "{} hears of {target} from {from}",
                place.name()
            );
            Ok(())
        }
        other => anyhow::bail!("{} to {target}: {other:?}", place.name()),
    }
}
