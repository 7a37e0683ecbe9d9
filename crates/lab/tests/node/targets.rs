//! The five targets of the demo, and whose address is seen.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use lab::walk::{Family, Mode, Moment, Round, Site, Wires};
use lab::{Lab, probe};

use super::{SOON, Scene};

#[test]
fn pods_that_are_only_wired_reach_their_own_host_and_nobody_beyond() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let families = Mode::Routed.families();
        let wires = Wires::lay(&site, families)?;
        let round = Round::run(&site, &wires.addresses, families, Moment::Before)?;
        let faults = round.faults();
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    })
}

#[test]
fn the_five_targets_are_reached_in_bridge_mode() -> Result<()> {
    Lab::scenario(|lab| Scene::new(lab, Mode::Bridge)?.everything_is_reached())
}

#[test]
fn the_five_targets_are_reached_in_routed_mode_with_both_families() -> Result<()> {
    Lab::scenario(|lab| Scene::new(lab, Mode::Routed)?.everything_is_reached())
}

#[test]
fn a_pod_sees_another_pods_own_address_and_the_outside_sees_the_nodes() -> Result<()> {
    Lab::scenario(|lab| {
        for mode in [Mode::Bridge, Mode::Routed] {
            let scene = Scene::new(lab, mode)?;
            for &family in mode.families() {
                pods_see_pods(&scene, family)?;
                outside_sees_nodes(&scene, family)?;
            }
        }
        Ok(())
    })
}

/// All twelve ways from a pod to another one.
fn pods_see_pods(scene: &Scene, family: Family) -> Result<()> {
    let places = [(0, 0), (0, 1), (1, 0), (1, 1)];
    for from in places {
        for to in places.into_iter().filter(|to| *to != from) {
            let own = scene.addresses.of(from.0, from.1, family)?;
            let target = scene.addresses.of(to.0, to.1, family)?;
            let pod = &scene.site.sides[from.0].pods[from.1];
            let seen = probe::tcp(pod, SocketAddr::new(target, Site::PORT), SOON)?;
            ensure!(seen == own, "{target} sees {own} as {seen}");
        }
    }
    Ok(())
}

fn outside_sees_nodes(scene: &Scene, family: Family) -> Result<()> {
    let outside = match family {
        Family::V4 => "108.177.121.113",
        Family::V6 => "2001:db8:108::113",
    };
    let outside = SocketAddr::new(outside.parse()?, Site::PORT);
    for side in &scene.site.sides {
        let node = family
            .among(&side.node.uplink_addresses())
            .context("a node's address")?;
        for pod in &side.pods {
            let seen = probe::tcp(pod, outside, SOON)?;
            ensure!(seen == node, "the outside sees {} as {seen}", pod.name());
        }
    }
    Ok(())
}
