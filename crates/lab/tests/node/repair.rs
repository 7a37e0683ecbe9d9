//! What somebody breaks is put back, by event.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use lab::walk::Mode;
use lab::{Lab, watch};

use super::{REPAIRED, Scene, routes, said};

#[test]
fn a_flushed_ruleset_is_put_back_and_pods_are_masqueraded_again() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let master = scene.master();
        let before = said(master, "nft list table inet podwire")?;
        said(master, "nft flush ruleset")?;
        watch::until(master, "our table is back", &[], REPAIRED, || {
            let now = said(master, "nft list tables")?;
            Ok(now.contains("inet podwire").then_some(()))
        })?;
        let after = said(master, "nft list table inet podwire")?;
        ensure!(before == after, "before:\n{before}\nafter:\n{after}");
        scene.everything_is_reached()
    })
}

#[test]
fn elements_that_somebody_takes_from_our_sets_come_back() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let master = scene.master();
        let before = said(master, "nft list table inet podwire")?;
        said(master, "nft flush set inet podwire local4")?;
        watch::until(master, "the set is as it was", &[], REPAIRED, || {
            let now = said(master, "nft list table inet podwire")?;
            Ok((now == before).then_some(()))
        })?;
        scene.everything_is_reached()
    })
}

#[test]
fn routes_that_somebody_deletes_come_back() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let master = scene.master();
        let before = routes(master)?;
        for words in [
            "ip route del 10.244.1.0/24",
            "ip -6 route del fd00:10:244:1::/64",
            "ip route del unreachable 10.244.0.0/24",
            "ip -6 route del unreachable fd00:10:244::/64",
        ] {
            said(master, words)?;
            let what = format!("`{words}` is repaired");
            watch::until(master, &what, &[], REPAIRED, || {
                Ok((routes(master)? == before).then_some(()))
            })?;
        }
        scene.everything_is_reached()
    })
}

#[test]
fn an_own_address_that_somebody_deletes_comes_back_with_the_routes_to_other_nodes() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let master = scene.master();
        // The kernel takes away every route with this preferred source, those of single pods as well.
        let told = || -> Result<_> {
            let addresses = said(master, "ip -br addr show dev lo")?;
            let addresses: BTreeSet<_> = addresses.split_whitespace().map(str::to_owned).collect();
            let mut routes = routes(master)?;
            routes.retain(|route| !route.contains(" dev pw"));
            Ok((addresses, routes))
        };
        let before = told()?;
        said(master, "ip addr del 10.244.0.1/32 dev lo")?;
        watch::until(master, "everything is as it was", &[], REPAIRED, || {
            Ok((told()? == before).then_some(()))
        })
        .with_context(|| format!("before {before:#?}\nafter {:#?}", told()))
    })
}

#[test]
fn forwarding_that_somebody_turns_off_is_turned_on() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let master = scene.master();
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let path = format!("/proc/sys/net/{switch}");
            master.attempt(|| lab::wire::set_parameter(switch, "0"))?;
            watch::until(master, &format!("{switch} is on"), &[], REPAIRED, || {
                Ok((std::fs::read_to_string(&path)?.trim() == "1").then_some(()))
            })?;
        }
        scene.everything_is_reached()
    })
}
