//! Foreign firewalls do what the real ones do, and their own programs know them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::firewall::{self, Family, Policy};
use lab::{Lab, Node, Place, probe};

const SOON: Duration = Duration::from_secs(10);
const NO_ANSWER: Duration = Duration::from_millis(300);

const DOCKER: &str = "\
-P INPUT ACCEPT
-P FORWARD DROP
-P OUTPUT ACCEPT
-N DOCKER
-N DOCKER-BRIDGE
-N DOCKER-CT
-N DOCKER-FORWARD
-N DOCKER-ISOLATION-STAGE-1
-N DOCKER-ISOLATION-STAGE-2
-N DOCKER-USER
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-USER -j RETURN
";

/// The output of a program of the machine; without it the test cannot say anything.
fn listed(place: &Place, program: &str, arguments: &[&str]) -> Result<String> {
    let command = place.command(program).args(arguments);
    let output = command
        .output_within(SOON)
        .with_context(|| format!("{program} is needed: apt-get install nftables iptables"))?;
    Ok(output.ok()?.stdout)
}

/// Two nodes with a router between them, whose forwarding a firewall can break.
fn routed(lab: &Lab) -> Result<(Node, Node, Node)> {
    let (left, right) = (lab.segment("left")?, lab.segment("right")?);
    let near = lab
        .node("near")
        .uplink(&left, &["10.1.0.2/24", "fd00:1::2/64"]);
    let near = near.gateway("10.1.0.1").gateway("fd00:1::1").start()?;
    let far = lab
        .node("far")
        .uplink(&right, &["10.2.0.2/24", "fd00:2::2/64"]);
    let far = far.gateway("10.2.0.1").gateway("fd00:2::1").start()?;
    let router = lab
        .node("router")
        .uplink(&left, &["10.1.0.1/24", "fd00:1::1/64"])
        .uplink(&right, &["10.2.0.1/24", "fd00:2::1/64"])
        .forwarding()
        .start()?;
    Ok((near, router, far))
}

#[test]
fn docker_like_chains_are_listed_by_iptables() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        firewall::docker(&node)?;
        for program in ["iptables-nft", "ip6tables-nft"] {
            assert_eq!(listed(&node, program, &["-S"])?, DOCKER, "{program}");
        }
        // Saved and restored they are the same.
        let saved = listed(&node, "iptables-nft-save", &[])?;
        let restore = node.command("iptables-nft-restore").stdin(saved);
        restore.output_within(SOON)?.ok()?;
        assert_eq!(listed(&node, "iptables-nft", &["-S"])?, DOCKER);
        Ok(())
    })
}

#[test]
fn dockers_forward_policy_drops_what_is_forwarded() -> Result<()> {
    Lab::scenario(|lab| {
        let (near, router, far) = routed(lab)?;
        let reach = |within| -> Result<()> {
            for address in far.uplink_addresses() {
                probe::ping(&near, address, within)?;
            }
            Ok(())
        };
        reach(SOON)?;
        firewall::docker(&router)?;
        ensure!(reach(NO_ANSWER).is_err());
        for family in [Family::Ip, Family::Ip6] {
            firewall::set_forward_policy(&router, family, Policy::Accept)?;
        }
        reach(SOON)?;
        firewall::set_forward_policy(&router, Family::Ip6, Policy::Drop)?;
        probe::ping(&near, "10.2.0.2".parse()?, SOON)?;
        ensure!(reach(NO_ANSWER).is_err());
        Ok(())
    })
}

#[test]
fn a_final_reject_refuses_what_is_forwarded_and_lets_ssh_in() -> Result<()> {
    Lab::scenario(|lab| {
        for install in [firewall::firewalld, firewall::cloud_image] {
            let (near, router, far) = routed(lab)?;
            install(&router)?;
            let refusals = router
                .uplink_addresses()
                .into_iter()
                .zip(far.uplink_addresses());
            for (refuser, address) in refusals {
                let refused = probe::ping(&near, address, SOON).expect_err("refused");
                let refused = refused.to_string();
                let expected = format!("{refuser} says destination unreachable");
                ensure!(refused.contains(&expected), "{address}: {refused}");
            }
            let _ssh = probe::listen(&router, 22)?;
            let _other = probe::listen(&router, 23)?;
            probe::tcp(&near, "10.1.0.1:22".parse()?, SOON)?;
            ensure!(probe::tcp(&near, "10.1.0.1:23".parse()?, SOON).is_err());
        }
        Ok(())
    })
}

#[test]
fn the_rules_are_what_nft_and_iptables_would_have_written() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("firewalld").start()?;
        firewall::firewalld(&node)?;
        let rules = listed(&node, "nft", &["list", "ruleset"])?;
        for line in [
            "ct state established,related accept",
            "reject with icmpx admin-prohibited",
        ] {
            ensure!(rules.contains(line), "no \"{line}\" in\n{rules}");
        }
        let node = lab.node("cloud-image").start()?;
        firewall::cloud_image(&node)?;
        let rules = listed(&node, "iptables-nft", &["-S", "FORWARD"])?;
        assert_eq!(
            rules,
            "-P FORWARD ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited\n"
        );
        let node = lab.node("input-drop").start()?;
        firewall::input_drop(&node)?;
        let rules = listed(&node, "ip6tables-nft", &["-S", "INPUT"])?;
        assert_eq!(
            rules,
            "-P INPUT DROP\n\
             -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
             -A INPUT -i lo -j ACCEPT\n\
             -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n\
             -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT\n\
             -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j ACCEPT\n"
        );
        Ok(())
    })
}
