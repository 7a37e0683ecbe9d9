//! What listens on the node's loopback only is not reached by a pod, although its link takes packets from 127.0.0.1.

use anyhow::{Result, ensure};
use lab::{Lab, probe};
use serde_json::json;

use super::{Kind, NO_ANSWER, SOON, Side, said};

fn loopback_stays_the_nodes(kind: Kind) -> Result<()> {
    Lab::scenario(|lab| {
        let side = Side::alone(lab.node("one").start()?, kind, 0)?;
        let web = side.pod("web", &json!([{"hostPort": 8080, "containerPort": 80}]))?;
        let _secret = probe::listen(&side.node, 7000)?;
        let link = match kind {
            Kind::Bridge => "cni0",
            Kind::Routed => web.result["interfaces"][1]["name"]
                .as_str()
                .unwrap_or_default(),
        };
        let switch = format!("/proc/sys/net/ipv4/conf/{link}/route_localnet");
        let set = side
            .node
            .attempt(|| Ok(std::fs::read_to_string(&switch)?))?;
        ensure!(set.trim() == "1", "{switch} is {set}");
        // The pod gives its own loopback up and sends what is for it to its node.
        let gateway = web.result["ips"][0]["gateway"].as_str().unwrap_or_default();
        for words in [
            "ip address flush dev lo".to_owned(),
            "ip route flush table local 127.0.0.0/8".to_owned(),
            format!("ip route add 127.0.0.1/32 via {gateway} dev eth0 onlink"),
        ] {
            said(&web.pod, &words)?;
        }
        web.pod.attempt(|| {
            for dev in ["all", "eth0"] {
                lab::wire::set_parameter(&format!("ipv4/conf/{dev}/route_localnet"), "1")?;
            }
            Ok(())
        })?;
        let source = Some(web.address(true)?);
        let to = "127.0.0.1:7000".parse()?;
        let reached = probe::tcp_as(&web.pod, source, to, NO_ANSWER);
        ensure!(reached.is_err(), "the pod has reached its node's loopback");
        let counted = said(&side.node, "nft list chain inet podwire spoofed")?;
        let guard = counted.lines().find(|line| line.contains("127.0.0.0/8"));
        ensure!(
            guard.is_some_and(|line| !line.contains("packets 0 ")),
            "{counted}"
        );
        // Without the rule it would: the test tests something.
        said(&side.node, "nft flush chain inet podwire spoofed")?;
        probe::tcp_as(&web.pod, source, to, SOON).map(drop)
    })
}

#[test]
fn a_routed_pod_with_host_ports_does_not_reach_the_nodes_loopback() -> Result<()> {
    loopback_stays_the_nodes(Kind::Routed)
}

#[test]
fn a_pod_on_a_bridge_with_host_ports_does_not_reach_the_nodes_loopback() -> Result<()> {
    loopback_stays_the_nodes(Kind::Bridge)
}

#[test]
fn without_a_port_at_127_0_0_1_nothing_is_opened() -> Result<()> {
    Lab::scenario(|lab| {
        let side = Side::alone(lab.node("one").start()?, Kind::Routed, 0)?;
        for (name, ports) in [
            ("none", json!([])),
            (
                "one",
                json!([{"hostPort": 80, "containerPort": 80, "hostIP": "10.128.0.2"}]),
            ),
        ] {
            let pod = side.pod(name, &ports)?;
            let link = pod.result["interfaces"][1]["name"]
                .as_str()
                .unwrap_or_default();
            let switch = format!("/proc/sys/net/ipv4/conf/{link}/route_localnet");
            let set = side
                .node
                .attempt(|| Ok(std::fs::read_to_string(&switch)?))?;
            ensure!(set.trim() == "0", "{switch} is {set}");
        }
        Ok(())
    })
}
