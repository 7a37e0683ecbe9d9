//! Segments, the outside host and the probes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::probe::Unreached;
use lab::{Lab, Node, Segment, probe, stream, wire};

const SOON: Duration = Duration::from_secs(10);
const NO_ANSWER: Duration = Duration::from_millis(300);
const PORT: u16 = 8080;

fn master_and_worker(lab: &Lab) -> Result<(Segment, Node, Node)> {
    let lan = lab.segment("lan")?;
    let start = |name: &str, v4: &str, v6: &str| {
        let node = lab.node(name).uplink(&lan, &[v4, v6]);
        node.gateway("10.128.0.1").gateway("fd00:10:128::1").start()
    };
    let master = start("k8s-master", "10.128.0.2/24", "fd00:10:128::2/64")?;
    let worker = start("k8s-worker", "10.128.0.3/24", "fd00:10:128::3/64")?;
    Ok((lan, master, worker))
}

#[test]
fn two_nodes_on_a_segment_reach_each_other_by_icmp_and_tcp() -> Result<()> {
    Lab::scenario(|lab| {
        let (_, master, worker) = master_and_worker(lab)?;
        for (from, to) in [(&master, &worker), (&worker, &master)] {
            let listener = probe::listen(to, PORT)?;
            for (address, own) in to
                .uplink_addresses()
                .into_iter()
                .zip(from.uplink_addresses())
            {
                probe::ping(from, address, SOON).with_context(|| format!("ping {address}"))?;
                let seen = probe::tcp(from, SocketAddr::new(address, PORT), SOON)?;
                assert_eq!(seen, own);
            }
            assert_eq!(listener.seen(), from.uplink_addresses());
        }
        Ok(())
    })
}

#[test]
fn the_outside_host_sees_the_source_address() -> Result<()> {
    Lab::scenario(|lab| {
        let (lan, master, _) = master_and_worker(lab)?;
        let outside = lab.outside(&lan)?;
        let _listener = probe::listen(&outside, PORT)?;
        for (target, own) in [
            ("108.177.121.113", "10.128.0.2"),
            ("2001:db8:108::113", "fd00:10:128::2"),
        ] {
            let (target, own): (IpAddr, IpAddr) = (target.parse()?, own.parse()?);
            probe::ping(&master, target, SOON).with_context(|| format!("ping {target}"))?;
            assert_eq!(
                probe::tcp(&master, SocketAddr::new(target, PORT), SOON)?,
                own
            );
        }
        Ok(())
    })
}

#[test]
fn the_outside_host_does_not_answer_to_a_pods_address() -> Result<()> {
    Lab::scenario(|lab| {
        let (lan, master, _) = master_and_worker(lab)?;
        let outside = lab.outside(&lan)?;
        let _listener = probe::listen(&outside, PORT)?;
        for (target, pod) in [
            ("108.177.121.113", "10.244.0.2/32"),
            ("2001:db8:108::113", "fd00:10:244::2/128"),
        ] {
            let (target, pod): (IpAddr, ipnet::IpNet) = (target.parse()?, pod.parse()?);
            master.attempt(|| wire::add_address("lo", pod))?;
            let source = Some(pod.addr());
            let ping = probe::ping_as(&master, source, target, NO_ANSWER);
            ensure!(matches!(ping, Err(Unreached::Silence(_))), "{ping:?}");
            let tcp = probe::tcp_as(&master, source, SocketAddr::new(target, PORT), NO_ANSWER);
            ensure!(tcp.is_err(), "{tcp:?}");
        }
        Ok(())
    })
}

#[test]
fn a_probe_says_why_it_has_failed() -> Result<()> {
    Lab::scenario(|lab| {
        let (lan, master, worker) = master_and_worker(lab)?;
        let _outside = lab.outside(&lan)?;
        let worker_address: IpAddr = "10.128.0.3".parse()?;
        let refused = probe::tcp(&master, SocketAddr::new(worker_address, PORT), SOON);
        let refused = format!("{:#}", refused.expect_err("nobody listens"));
        ensure!(refused.contains("refused"), "{refused}");

        // The outside host knows no such network and says so.
        for target in ["203.0.113.1", "2001:db8:bad::1"] {
            let unreachable = probe::ping(&master, target.parse()?, SOON);
            let unreachable = unreachable.expect_err("no such network").to_string();
            ensure!(
                unreachable.contains("destination unreachable"),
                "{unreachable}"
            );
        }

        let lonely = lab.node("lonely").start()?;
        let no_route = probe::ping(&lonely, worker_address, SOON).expect_err("no route");
        ensure!(
            no_route.to_string().contains("Network is unreachable"),
            "{no_route}"
        );
        worker.attempt(|| wire::set_down("eth0"))?;
        let silence = probe::ping(&master, "fd00:10:128::3".parse()?, NO_ANSWER);
        ensure!(matches!(silence, Err(Unreached::Silence(_))), "{silence:?}");
        Ok(())
    })
}

#[test]
fn a_stream_counts_what_is_lost_while_a_link_is_down() -> Result<()> {
    Lab::scenario(|lab| {
        let (_, master, worker) = master_and_worker(lab)?;
        for target in ["10.128.0.3:9000", "[fd00:10:128::3]:9000"] {
            let target: SocketAddr = target.parse()?;
            probe::ping(&master, target.ip(), SOON)?;
            let whole = stream::start(&master, &worker, target, 1000)?;
            for _ in 0..5 {
                probe::ping(&worker, "10.128.0.2".parse()?, SOON)?;
            }
            let tally = whole.finish()?;
            ensure!(tally.sent > 0 && tally.lost() == 0, "{tally:?}");
        }
        let target: SocketAddr = "10.128.0.3:9000".parse()?;
        let broken = stream::start(&master, &worker, target, 1000)?;
        worker.attempt(|| wire::set_down("eth0"))?;
        let ping = probe::ping(&master, target.ip(), NO_ANSWER);
        ensure!(ping.is_err(), "the link is down");
        worker.attempt(|| wire::set_up("eth0"))?;
        probe::ping(&master, target.ip(), SOON)?;
        let tally = broken.finish()?;
        ensure!(tally.longest_gap >= 200 && tally.arrived > 0, "{tally:?}");
        Ok(())
    })
}
