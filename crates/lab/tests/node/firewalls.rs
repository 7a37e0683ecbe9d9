//! Other people's firewalls: overcome, and never bypassed.

use anyhow::{Context, Result, ensure};
use lab::firewall::{self, Family, Policy};
use lab::walk::{Agent, Mode, Site, Target};
use lab::{Lab, Node, programs, watch};

use super::{REPAIRED, SOON, Scene, chain, fed, said};

const PROGRAMS: [(&str, Family, &str); 2] = [
    ("iptables-nft", Family::Ip, "10.244.0.0/16"),
    ("ip6tables-nft", Family::Ip6, "fd00:10:244::/56"),
];

/// Docker's jumps, and then ours, which iptables shows as its own kind of rule or as one that it cannot read.
fn stands_behind_docker(node: &Node, program: &str, net: &str) -> Result<bool> {
    let lines = chain(node, program, "FORWARD")?;
    let ours = |line: &String| line.contains("podwire");
    Ok(lines.len() == 5
        && lines[1] == "-A FORWARD -j DOCKER-USER"
        && lines[2] == "-A FORWARD -j DOCKER-FORWARD"
        && lines[3..]
            .iter()
            .all(|line| ours(line) && line.contains(net)))
}

fn until_it_stands(node: &Node) -> Result<()> {
    for (program, _, net) in PROGRAMS {
        let stands = || Ok(stands_behind_docker(node, program, net)?.then_some(()));
        watch::until(
            node,
            "our rules stand behind Docker's",
            &[],
            REPAIRED,
            stands,
        )
        .with_context(|| {
            chain(node, program, "FORWARD")
                .unwrap_or_default()
                .join("\n")
        })?;
    }
    Ok(())
}

#[test]
fn a_forward_policy_of_drop_is_overcome_behind_other_peoples_rules() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        for side in &scene.site.sides {
            for (program, _, net) in PROGRAMS {
                let lines = chain(&side.node, program, "FORWARD")?;
                ensure!(lines[0] == "-P FORWARD DROP", "{lines:?}");
                ensure!(stands_behind_docker(&side.node, program, net)?, "{lines:?}");
            }
        }
        scene.everything_is_reached()
    })
}

#[test]
fn pods_talk_on_when_the_policy_is_set_to_drop_again() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        for side in &scene.site.sides {
            for (program, family, _) in PROGRAMS {
                firewall::set_forward_policy(&side.node, family, Policy::Accept)?;
                said(&side.node, &format!("{program} -P FORWARD DROP"))?;
            }
            until_it_stands(&side.node)?;
        }
        scene.everything_is_reached()
    })
}

#[test]
fn a_firewall_that_comes_later_is_overcome_too() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        for side in &scene.site.sides {
            for family in ["ip", "ip6"] {
                said(&side.node, &format!("nft delete table {family} filter"))?;
            }
            firewall::docker(&side.node)?;
            until_it_stands(&side.node)?;
        }
        scene.everything_is_reached()
    })
}

#[test]
fn a_save_from_before_our_rules_is_restored_and_they_are_put_back() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let mut saves = Vec::new();
        for (program, _, _) in PROGRAMS {
            saves.push(said(site.master(), &format!("{program}-save"))?);
        }
        let scene = Scene::on(site, Mode::Routed)?;
        for ((program, _, _), save) in PROGRAMS.iter().zip(&saves) {
            ensure!(!save.contains("podwire"), "{save}");
            fed(scene.master(), &format!("{program}-restore"), save)?;
        }
        until_it_stands(scene.master())?;
        scene.everything_is_reached()
    })
}

#[test]
fn a_save_with_our_rules_is_restored_and_they_are_not_doubled() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        for (program, _, net) in PROGRAMS {
            let save = said(scene.master(), &format!("{program}-save"))?;
            ensure!(save.contains(net), "{save}");
            fed(scene.master(), &format!("{program}-restore"), &save)?;
        }
        scene.settled()?;
        for (program, _, net) in PROGRAMS {
            let lines = chain(scene.master(), program, "FORWARD")?;
            ensure!(
                stands_behind_docker(scene.master(), program, net)?,
                "{lines:?}"
            );
        }
        scene.everything_is_reached()
    })
}

#[test]
fn a_rule_that_is_appended_behind_ours_is_overtaken() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let master = scene.master();
        let theirs = "-A FORWARD -s 192.0.2.0/24 -j DROP";
        said(master, &format!("iptables-nft {theirs}"))?;
        let overtaken = || {
            let lines = chain(master, "iptables-nft", "FORWARD")?;
            let at = lines.iter().position(|line| line == theirs);
            let ours: Vec<usize> = (0..lines.len())
                .filter(|&at| lines[at].contains("podwire"))
                .collect();
            Ok((at == Some(3) && ours == [4, 5]).then_some(()))
        };
        watch::until(
            master,
            "our rules stand behind the new one",
            &[],
            REPAIRED,
            overtaken,
        )
        .with_context(|| {
            chain(master, "iptables-nft", "FORWARD")
                .unwrap_or_default()
                .join("\n")
        })?;
        scene.everything_is_reached()
    })
}

#[test]
fn what_the_administrator_drops_for_pods_stays_dropped() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let drop = "-I DOCKER-USER -s 10.244.0.0/24 -d 108.177.121.113 -j DROP";
        said(scene.master(), &format!("iptables-nft {drop}"))?;
        scene.settled()?;
        let faults = scene.round()?.faults();
        ensure!(faults.len() == 1, "{}", faults.join("\n"));
        ensure!(
            faults[0].contains("IPv4 from pod 10.244.0.2 to outside"),
            "{faults:?}"
        );
        Ok(())
    })
}

#[test]
fn an_emergency_stop_before_ours_is_left_alone_and_named() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        said(scene.master(), "iptables-nft -I FORWARD -j DROP")?;
        scene.agents[0].status(SOON, "the stop is named", |status| {
            status["findings"][0]["what"]
                .as_str()
                .is_some_and(|what| what.contains("ip filter FORWARD lets nothing pass"))
        })?;
        scene.settled()?;
        let lines = chain(scene.master(), "iptables-nft", "FORWARD")?;
        ensure!(lines[1] == "-A FORWARD -j DROP", "{lines:?}");
        said(scene.master(), "iptables-nft -D FORWARD -j DROP")?;
        scene.everything_is_reached()
    })
}

#[test]
fn pods_pass_a_firewall_whose_last_rule_rejects() -> Result<()> {
    Lab::scenario(|lab| {
        for install in [firewall::firewalld, firewall::cloud_image] {
            let site = Site::new(lab)?;
            for side in &site.sides {
                install(&side.node)?;
            }
            let programs = programs()?;
            let agents = Agent::start_all(&site, &programs)?;
            let addresses = site.attach(&programs, Mode::Routed)?;
            let scene = Scene {
                site,
                programs,
                agents,
                addresses,
                mode: Mode::Routed,
            };
            // Whether pods of other nodes may talk to a node is that node's administrator's business.
            let other_host = format!("to {}", Target::OtherHost.name());
            let mut faults = scene.round()?.faults();
            faults.retain(|fault| !fault.contains(&other_host));
            ensure!(faults.is_empty(), "{}", faults.join("\n"));
            scene.agents[0].status(SOON, "nothing is wrong", |status| {
                status["findings"] == serde_json::json!([])
            })?;
        }
        Ok(())
    })
}
