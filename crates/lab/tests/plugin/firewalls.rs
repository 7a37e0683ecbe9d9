//! A node without an agent, whose firewall lets no pod through: the plugin sees to it by itself.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::firewall::{self, Family, Policy};
use lab::{Lab, Node, Place, Pod, Segment, probe};

use super::{Kind, Rig, SOON, said};

const PORT: u16 = 8080;
const NO_ANSWER: Duration = Duration::from_millis(300);
const NODE: &str = "10.128.0.2";
const OUTSIDE: &str = "108.177.121.113";

/// A node on a LAN with the rest of the world behind it, and two pods.
pub(super) struct World {
    pub(super) rig: Rig,
    _lan: Segment,
    outside: Node,
    first: Pod,
    second: Pod,
}

impl World {
    /// Two pods that are not attached yet.
    pub(super) fn new(lab: &Lab) -> Result<Self> {
        let lan = lab.segment("lan")?;
        let outside = lab.outside(&lan)?;
        let node = lab.node("one").uplink(&lan, &["10.128.0.2/24"]);
        let node = node.gateway("10.128.0.1").start()?;
        let (first, second) = (node.pod("first")?, node.pod("second")?);
        let rig = Rig::on(node, Kind::Bridge)?;
        Ok(Self {
            rig,
            _lan: lan,
            outside,
            first,
            second,
        })
    }

    /// Attaches both pods and returns their addresses.
    pub(super) fn attach(&self) -> Result<[IpAddr; 2]> {
        let address = |pod| -> Result<IpAddr> {
            let result = self.rig.add(pod)?;
            Ok(super::addresses(&result)
                .first()
                .context("an address")?
                .parse()?)
        };
        Ok([address(&self.first)?, address(&self.second)?])
    }

    /// Everything that must be reachable without an agent, by ICMP and by TCP.
    pub(super) fn reach(&self, [first, second]: [IpAddr; 2]) -> Result<()> {
        let node: IpAddr = NODE.parse()?;
        let gateway: IpAddr = "10.244.0.1".parse()?;
        let outside: IpAddr = OUTSIDE.parse()?;
        // From, to, and as whom it is seen.
        let ways: [(&Place, &Place, IpAddr, IpAddr); 6] = [
            (&self.first, &self.second, second, first),
            (&self.second, &self.first, first, second),
            (&self.first, &self.rig.node, node, first),
            (&self.first, &self.rig.node, gateway, first),
            (&self.rig.node, &self.second, second, gateway),
            (&self.second, &self.outside, outside, node),
        ];
        for (from, to, address, seen) in ways {
            let listener = probe::listen(to, PORT)?;
            let way = || format!("from {} to {address}", from.name());
            probe::ping(from, address, SOON).with_context(way)?;
            let told = probe::tcp(from, SocketAddr::new(address, PORT), SOON).with_context(way)?;
            ensure!(
                told == seen && listener.seen() == [seen],
                "{}: seen as {told}",
                way()
            );
        }
        Ok(())
    }

    /// The outside is reached from there, and sees the node.
    pub(super) fn is_masqueraded(&self, pod: &Pod) -> Result<()> {
        let listener = probe::listen(&self.outside, PORT)?;
        let seen = probe::tcp(pod, SocketAddr::new(OUTSIDE.parse()?, PORT), SOON)?;
        let node: IpAddr = NODE.parse()?;
        ensure!(
            seen == node && listener.seen() == [node],
            "{} is seen as {seen}",
            pod.name()
        );
        Ok(())
    }

    pub(super) fn pods(&self) -> [&Pod; 2] {
        [&self.first, &self.second]
    }

    fn node(&self) -> &Node {
        &self.rig.node
    }
}

/// The ruleset in iptables' words without what is ours.
fn foreign(node: &Node) -> Result<String> {
    let mut rest = String::new();
    for program in ["iptables-nft-save", "ip6tables-nft-save"] {
        let text = said(node, program)?;
        let lines = text
            .lines()
            .filter(|line| !line.contains("podwire") && !line.starts_with('#'));
        // Counters go on counting.
        rest.extend(lines.map(|line| format!("{}\n", line.split(" [").next().unwrap_or(line))));
    }
    Ok(rest)
}

fn forward(node: &Node) -> Result<Vec<String>> {
    Ok(said(node, "iptables-nft -S FORWARD")?
        .lines()
        .map(str::to_owned)
        .collect())
}

#[test]
fn past_dockers_chains_everything_is_reached() -> Result<()> {
    Lab::scenario(|lab| {
        let world = World::new(lab)?;
        firewall::docker(world.node())?;
        let before = foreign(world.node())?;
        let pods = world.attach()?;
        world.reach(pods)?;
        ensure!(
            foreign(world.node())? == before,
            "{}\nwas\n{before}",
            foreign(world.node())?
        );
        let ours = |way: &str| {
            format!(
                "-A FORWARD {way} 10.244.0.0/16 -m comment --comment \"podwire: pods\" -j ACCEPT"
            )
        };
        let expected = [
            "-P FORWARD DROP".to_owned(),
            "-A FORWARD -j DOCKER-USER".to_owned(),
            "-A FORWARD -j DOCKER-FORWARD".to_owned(),
            ours("-s"),
            ours("-d"),
        ];
        ensure!(
            forward(world.node())? == expected,
            "{:?}",
            forward(world.node())?
        );
        Ok(())
    })
}

#[test]
fn our_rules_outlast_a_policy_and_a_save_and_restore() -> Result<()> {
    Lab::scenario(|lab| {
        let world = World::new(lab)?;
        firewall::docker(world.node())?;
        let pods = world.attach()?;
        firewall::set_forward_policy(world.node(), Family::Ip, Policy::Accept)?;
        firewall::set_forward_policy(world.node(), Family::Ip, Policy::Drop)?;
        world
            .reach(pods)
            .context("after the policy was set again")?;
        let before = forward(world.node())?;

        let saved = said(world.node(), "iptables-nft-save")?;
        let restore = world.node().command("iptables-nft-restore").stdin(saved);
        restore.output_within(SOON)?.ok()?;
        world.reach(pods).context("after save and restore")?;
        ensure!(
            forward(world.node())? == before,
            "{:?}",
            forward(world.node())?
        );

        // The next ADD knows its rules again and adds no others.
        let (late, _) = world.rig.pod("late")?;
        ensure!(
            forward(world.node())? == before,
            "{:?}",
            forward(world.node())?
        );
        world.rig.del(&late)
    })
}

#[test]
fn a_flushed_ruleset_is_repaired_by_the_next_add() -> Result<()> {
    Lab::scenario(|lab| {
        let world = World::new(lab)?;
        firewall::docker(world.node())?;
        let pods = world.attach()?;
        world.reach(pods)?;
        said(world.node(), "nft flush ruleset")?;
        firewall::docker(world.node())?;
        let outside: IpAddr = OUTSIDE.parse()?;
        ensure!(
            probe::ping(&world.first, outside, NO_ANSWER).is_err(),
            "nothing was broken"
        );
        world.rig.pod("late")?;
        world.reach(pods)
    })
}

#[test]
fn a_rule_that_docker_adds_behind_ours_does_not_shut_the_pods_out() -> Result<()> {
    Lab::scenario(|lab| {
        let world = World::new(lab)?;
        firewall::docker(world.node())?;
        let pods = world.attach()?;
        said(world.node(), "iptables-nft -A FORWARD -i eth7 -j REJECT")?;
        said(world.node(), "iptables-nft -A FORWARD -j REJECT")?;
        world.rig.pod("late")?;
        world.reach(pods)?;
        let rules = forward(world.node())?;
        ensure!(
            rules
                .last()
                .is_some_and(|rule| rule.starts_with("-A FORWARD -j REJECT")),
            "{rules:?}"
        );
        ensure!(rules[3].contains("eth7"), "{rules:?}");
        Ok(())
    })
}

#[test]
fn what_the_administrator_rejects_stays_rejected() -> Result<()> {
    Lab::scenario(|lab| {
        let world = World::new(lab)?;
        firewall::docker(world.node())?;
        said(
            world.node(),
            &format!("iptables-nft -I DOCKER-USER -d {OUTSIDE} -j DROP"),
        )?;
        world.attach()?;
        let outside: IpAddr = OUTSIDE.parse()?;
        ensure!(probe::ping(&world.first, outside, NO_ANSWER).is_err());
        Ok(())
    })
}

#[test]
fn past_a_final_reject_and_a_closed_input_everything_is_reached() -> Result<()> {
    for install in [
        firewall::firewalld,
        firewall::cloud_image,
        firewall::input_drop,
    ] {
        Lab::scenario(|lab| {
            let world = World::new(lab)?;
            install(world.node())?;
            let before = foreign(world.node())?;
            let pods = world.attach()?;
            world
                .reach(pods)
                .context(said(world.node(), "nft list ruleset")?)?;
            ensure!(
                foreign(world.node())? == before,
                "{}\nwas\n{before}",
                foreign(world.node())?
            );
            let late = world.rig.pod("late")?.0;
            world.rig.del(&late)?;
            world.reach(pods)
        })?;
    }
    Ok(())
}

#[test]
fn tables_and_bridges_of_others_are_the_same_after_all_pods_are_gone() -> Result<()> {
    Lab::scenario(|lab| {
        let world = World::new(lab)?;
        firewall::docker(world.node())?;
        firewall::firewalld(world.node())?;
        said(world.node(), "ip link add docker0 type bridge")?;
        said(world.node(), "ip addr add 172.17.0.1/16 dev docker0")?;
        let bridge = || said(world.node(), "ip -j addr show dev docker0");
        let firewalld = || -> Result<String> {
            let table = said(world.node(), "nft list table inet firewalld")?;
            Ok(table
                .lines()
                .filter(|line| !line.contains("podwire"))
                .collect())
        };
        let before = (foreign(world.node())?, bridge()?, firewalld()?);
        world.attach()?;
        world.rig.del(&world.first)?;
        world.rig.del(&world.second)?;
        let after = (foreign(world.node())?, bridge()?, firewalld()?);
        ensure!(after == before, "{after:?}\nwas\n{before:?}");
        Ok(())
    })
}
