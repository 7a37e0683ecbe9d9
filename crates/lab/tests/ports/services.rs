//! A host port never takes what a Service was given.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use lab::{Lab, Place, Pod, probe, wire};
use serde_json::json;

use super::{Kind, SOON, Scene, said};

/// Whether the connection came to this listener.
fn comes_to(listener: &probe::Listener, from: &Place, to: &str) -> Result<bool> {
    let before = listener.seen().len();
    probe::tcp(from, to.parse::<SocketAddr>()?, SOON)?;
    Ok(listener.seen().len() > before)
}

#[test]
fn an_ingress_on_443_does_not_take_the_api_servers_service() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Kind::Routed)?;
        let node = &scene.master.node;
        // kube-proxy in mode IPVS keeps the addresses of all Services on a link of this name.
        let services = ["10.96.0.1/32", "fd00:96::1/128"];
        node.attempt(|| {
            wire::add_bridge("kube-ipvs0", wire::mac_of("kube-ipvs0"))?;
            for service in services {
                wire::add_address("kube-ipvs0", service.parse()?)?;
            }
            Ok(())
        })?;
        let deadline = Instant::now() + SOON;
        for (set, element) in [("services4", "10.96.0.1"), ("services6", "fd00:96::1")] {
            while !scene.master.elements_of("set", set)?.contains(element) {
                ensure!(
                    Instant::now() < deadline,
                    "{element} does not come into {set}"
                );
            }
        }
        let asks_api = json!([{"hostPort": 443, "containerPort": 443},
            {"hostPort": 443, "containerPort": 443, "hostIP": "10.96.0.1", "protocol": "udp"}]);
        let ingress = scene.master.pod("ingress", &asks_api)?;
        let other = scene.master.pod("other", &json!([]))?;
        let at_ingress = probe::listen(&ingress.pod, 443)?;
        let api = probe::listen(node, 443)?;
        let pods: [&Pod; 2] = [&ingress.pod, &other.pod];
        for from in pods
            .map(|pod| pod as &Place)
            .into_iter()
            .chain([node as &Place])
        {
            for to in ["10.96.0.1:443", "[fd00:96::1]:443"] {
                ensure!(
                    comes_to(&api, from, to)?,
                    "{to} is taken from {}",
                    from.name()
                );
            }
            for to in ["10.128.0.2:443", "[fd00:10:128::2]:443"] {
                ensure!(
                    comes_to(&at_ingress, from, to)?,
                    "{to} from {}",
                    from.name()
                );
            }
        }
        // Nobody else's address is taken either, whatever is asked for.
        let rules = said(node, "nft list chain inet podwire ports")?;
        for rule in rules.lines().filter(|line| line.contains("dnat")) {
            ensure!(
                rule.contains("fib daddr type local") && rule.contains("!= @services"),
                "{rule}"
            );
        }
        Ok(())
    })
}

#[test]
fn an_address_of_anybody_else_is_not_taken_by_a_host_ip() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Kind::Routed)?;
        let ports = json!([{"hostPort": 53, "containerPort": 53, "hostIP": "108.177.121.113"}]);
        let taker = scene.master.pod("taker", &ports)?;
        let other = scene.master.pod("other", &json!([]))?;
        let (_taken, true_one) = (
            probe::listen(&taker.pod, 53)?,
            probe::listen(&scene.outside, 53)?,
        );
        ensure!(comes_to(&true_one, &other.pod, "108.177.121.113:53")?);
        ensure!(comes_to(
            &true_one,
            &scene.master.node,
            "108.177.121.113:53"
        )?);
        Ok(())
    })
}
