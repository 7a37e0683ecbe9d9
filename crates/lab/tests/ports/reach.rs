//! Who reaches a host port, and which source the pod sees.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use lab::{Lab, Place, firewall, probe};
use serde_json::json;

use super::{Attached, Kind, NO_ANSWER, SOON, Scene, Side, echo, udp};

const PORT: u16 = 8080;

/// Who asks, where, and whom the pod sees.
struct Case<'a> {
    from: &'a Place,
    at: &'a str,
    seen: IpAddr,
}

fn case<'a>(from: &'a Place, at: &'a str, seen: &str) -> Result<Case<'a>> {
    let seen = seen.parse()?;
    Ok(Case { from, at, seen })
}

impl Case<'_> {
    /// What went wrong, by TCP and by UDP.
    fn faults(&self) -> Result<Vec<String>> {
        let Self { from, at, seen } = self;
        let to = SocketAddr::new(at.parse()?, PORT);
        let answers = [
            ("tcp", probe::tcp(from, to, SOON)),
            ("udp", udp(from, to, "web", SOON)),
        ];
        let fault = |(protocol, answer): (&str, Result<IpAddr>)| match answer {
            Ok(found) if found == *seen => None,
            Ok(found) => Some(format!(
                "{protocol} from {} to {to}: seen as {found}, not {seen}",
                from.name()
            )),
            Err(error) => Some(format!("{protocol}: {error:#}")),
        };
        Ok(answers.into_iter().filter_map(fault).collect())
    }
}

fn by_ipv4<'a>(
    kind: Kind,
    scene: &'a Scene,
    [web, other, far]: [&'a Attached; 3],
) -> Result<Vec<Case<'a>>> {
    // Where the demo has no agent, a pod's packets to the other node leave with their node's source; and pods of one
    // bridge meet through the bridge's own address.
    let (other4, far4) = match kind {
        Kind::Bridge => ("10.244.0.1".to_owned(), "10.128.0.3".to_owned()),
        Kind::Routed => (
            other.address(true)?.to_string(),
            far.address(true)?.to_string(),
        ),
    };
    Ok(vec![
        case(&scene.outside, "10.128.0.2", "10.128.0.1")?,
        case(&scene.master.node, "10.128.0.2", "10.128.0.2")?,
        case(&scene.master.node, "10.244.0.1", "10.244.0.1")?,
        case(&scene.master.node, "127.0.0.1", "10.244.0.1")?,
        case(&scene.master.node, "127.0.0.9", "10.244.0.1")?,
        case(&scene.worker.node, "10.128.0.2", "10.128.0.3")?,
        case(&other.pod, "10.128.0.2", &other4)?,
        case(&web.pod, "10.128.0.2", "10.244.0.1")?,
        case(&far.pod, "10.128.0.2", &far4)?,
    ])
}

fn by_ipv6<'a>(scene: &'a Scene, [web, other, far]: [&'a Attached; 3]) -> Result<Vec<Case<'a>>> {
    let (other6, far6) = (
        other.address(false)?.to_string(),
        far.address(false)?.to_string(),
    );
    Ok(vec![
        case(&scene.outside, "fd00:10:128::2", "fd00:10:128::1")?,
        case(&scene.master.node, "fd00:10:128::2", "fd00:10:128::2")?,
        case(&scene.worker.node, "fd00:10:128::2", "fd00:10:128::3")?,
        case(&other.pod, "fd00:10:128::2", &other6)?,
        case(&web.pod, "fd00:10:128::2", "fd00:10:244::1")?,
        case(&far.pod, "fd00:10:128::2", &far6)?,
    ])
}

/// TCP and UDP, from everywhere, to a pod with ports at every address.
fn everywhere(kind: Kind, bridged_packets_are_filtered: bool) -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, kind)?;
        if !bridged_packets_are_filtered {
            scene.master.node.attempt(plain_bridges)?;
        }
        let ports = json!([
            {"HostPort": PORT, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""},
            {"HostPort": PORT, "ContainerPort": 53, "Protocol": "UDP", "HostIP": ""},
        ]);
        let web = scene.master.pod("web", &ports)?;
        let other = scene.master.pod("other", &json!([]))?;
        let far = scene.worker.pod("far", &json!([]))?;
        let _listener = probe::listen(&web.pod, 80)?;
        echo(&web.pod, 53, "web")?;
        let mut cases = by_ipv4(kind, &scene, [&web, &other, &far])?;
        if kind == Kind::Routed {
            cases.extend(by_ipv6(&scene, [&web, &other, &far])?);
        }
        let faults: Vec<_> = cases.iter().map(Case::faults).collect::<Result<_>>()?;
        let faults = faults.concat();
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    })
}

#[test]
fn a_host_port_of_a_routed_pod_is_reached_from_everywhere() -> Result<()> {
    everywhere(Kind::Routed, true)
}

#[test]
fn a_host_port_of_a_pod_on_a_bridge_is_reached_from_everywhere() -> Result<()> {
    everywhere(Kind::Bridge, true)
}

#[test]
fn a_host_port_of_a_pod_on_a_bridge_is_reached_from_everywhere_without_br_netfilter() -> Result<()>
{
    everywhere(Kind::Bridge, false)
}

/// As on a kernel without br_netfilter; where there is none, all bridges are so.
fn plain_bridges() -> Result<()> {
    let name = "bridge/bridge-nf-call-iptables";
    if std::path::Path::new("/proc/sys/net").join(name).exists() {
        lab::wire::set_parameter(name, "0")?;
    }
    Ok(())
}

#[test]
fn a_host_port_at_one_address_is_reached_there_and_nowhere_else() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Kind::Routed)?;
        let ports = json!([
            {"hostPort": PORT, "containerPort": 80, "protocol": "tcp", "hostIP": "10.128.0.2"},
            {"hostPort": PORT, "containerPort": 80, "protocol": "tcp", "hostIP": "fd00:10:128::2"},
            {"hostPort": 81, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"},
            {"hostPort": 82, "containerPort": 80, "protocol": "tcp", "hostIP": "0.0.0.0"},
        ]);
        let web = scene.master.pod("web", &ports)?;
        let _listener = probe::listen(&web.pod, 80)?;
        let master = &scene.master.node;
        for (from, to) in [
            (&*scene.outside, "10.128.0.2:8080"),
            (&scene.outside, "[fd00:10:128::2]:8080"),
            (master, "10.128.0.2:8080"),
            (master, "127.0.0.1:81"),
            (&scene.outside, "10.128.0.2:82"),
            (master, "127.0.0.1:82"),
        ] {
            probe::tcp(from, to.parse()?, SOON)?;
        }
        for (from, to) in [
            (master as &Place, "10.244.0.1:8080"),
            (master, "127.0.0.1:8080"),
            (&scene.outside, "10.128.0.2:81"),
            (&scene.outside, "[fd00:10:128::2]:82"),
        ] {
            let refused = probe::tcp(from, to.parse()?, SOON);
            let refused = format!("{:#}", refused.err().context(to)?);
            ensure!(refused.contains("refused"), "{to}: {refused}");
        }
        Ok(())
    })
}

#[test]
fn localhost_over_ipv6_is_refused_at_once_so_that_callers_go_on_to_ipv4() -> Result<()> {
    Lab::scenario(|lab| {
        let side = Side::alone(lab.node("one").start()?, Kind::Routed, 0)?;
        let web = side.pod("web", &json!([{"hostPort": PORT, "containerPort": 80}]))?;
        let _listener = probe::listen(&web.pod, 80)?;
        let refused = probe::tcp(&side.node, "[::1]:8080".parse()?, SOON);
        let refused = format!("{:#}", refused.err().context("::1 cannot lead to a pod")?);
        ensure!(refused.contains("refused"), "{refused}");
        // What listens there itself is left alone.
        let _own = probe::listen(&side.node, PORT)?;
        probe::tcp(&side.node, "[::1]:8080".parse()?, SOON)?;
        probe::tcp(&side.node, "127.0.0.1:8080".parse()?, SOON).map(drop)
    })
}

#[test]
fn a_host_port_passes_a_forward_policy_of_drop() -> Result<()> {
    for kind in [Kind::Bridge, Kind::Routed] {
        Lab::scenario(|lab| {
            let lan = lab.segment("lan")?;
            let node = lab.node("one").uplink(&lan, &["10.128.0.2/24"]);
            let node = node.gateway("10.128.0.1").start()?;
            let outside = lab.outside(&lan)?;
            firewall::docker(&node)?;
            let mut side = Side::alone(node, kind, 0)?;
            if kind == Kind::Routed {
                // With type podwire other people's chains are the agent's.
                side.node
                    .attempt(|| Ok(std::fs::write("/etc/nodes.toml", ONE)?))?;
                let agent = side.node.command(lab::programs()?.agent);
                let agent = agent
                    .args(["--nodes", "/etc/nodes.toml", "--node", "one"])
                    .spawn()?;
                agent.wait_for_line("ready", SOON)?;
                side.conf = side.node.attempt(super::configured)?;
            }
            let web = side.pod("web", &json!([{"hostPort": PORT, "containerPort": 80}]))?;
            let _listener = probe::listen(&web.pod, 80)?;
            probe::tcp(&outside, "10.128.0.2:8080".parse()?, SOON)?;
            side.del(&web.pod)?;
            ensure!(probe::tcp(&outside, "10.128.0.2:8080".parse()?, NO_ANSWER).is_err());
            Ok(())
        })?;
    }
    Ok(())
}

const ONE: &str = r#"
[[node]]
name = "one"
addresses = ["10.128.0.2"]
ranges = ["10.244.0.0/24"]
"#;
