//! Other people's firewalls, as a pod network finds them on real machines.
//!
//! Each function puts one into a place through netfilter netlink, without any program. What they
//! have in common: a packet that is forwarded, or comes in, meets a drop or a reject that an accept
//! in another table cannot overrule. `Table` builds further ones.

use anyhow::Result;
use ipnet::IpNet;
use netlink_packet_netfilter::nftables::InetHookNumber;

use crate::nftables::Batch;
use crate::place::Place;

/// The family of a table. `Ip` and `Ip6` are written as iptables-nft writes, `Inet` as nft does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 packets.
    Ip,
    /// IPv6 packets.
    Ip6,
    /// Both.
    Inet,
}

/// Where a base chain meets packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Packets to the machine.
    Input,
    /// Packets through the machine.
    Forward,
    /// Packets from the machine.
    Output,
}

/// What a base chain does with a packet at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Let it pass.
    Accept,
    /// Drop it.
    Drop,
}

/// A condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// Comes in by this interface.
    In(&'static str),
    /// Comes in by another interface.
    NotIn(&'static str),
    /// Goes out by this interface.
    Out(&'static str),
    /// Goes out by another interface.
    NotOut(&'static str),
    /// Source address.
    Source(IpNet),
    /// Destination address.
    Destination(IpNet),
    /// Belongs to a connection that exists.
    Established,
    /// Goes to this TCP port.
    TcpPort(u16),
    /// Is ICMPv6 of this type.
    Icmp6(u8),
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Let it pass this chain.
    Accept,
    /// Drop it.
    Drop,
    /// Refuse it with an ICMP message.
    Reject,
    /// Go back to the chain that jumped here.
    Return,
    /// Go on in another chain.
    Jump(String),
}

/// A table to be described and then installed.
#[must_use = "a table exists only once it is installed"]
pub struct Table {
    batch: Batch,
}

impl Table {
    /// A table; what exists of it stays, what is described is added.
    pub fn new(family: Family, name: &str) -> Self {
        Self {
            batch: Batch::new(family, name),
        }
    }

    /// A base chain; one that exists gets this policy.
    pub fn base(mut self, name: &str, at: At, policy: Policy) -> Self {
        let hook = match at {
            At::Input => InetHookNumber::LocalIn,
            At::Forward => InetHookNumber::Forward,
            At::Output => InetHookNumber::LocalOut,
        };
        self.batch.base_chain(name, hook, policy);
        self
    }

    /// Chains that others jump to.
    pub fn chains(mut self, names: &[&str]) -> Self {
        for name in names {
            self.batch.chain(name);
        }
        self
    }

    /// A rule at the end of a chain.
    pub fn rule(mut self, chain: &str, matches: &[Match], verdict: &Verdict) -> Self {
        self.batch.rule(chain, matches, verdict);
        self
    }

    /// A rule that goes on in another chain in any case.
    pub fn jump(self, chain: &str, to: &str) -> Self {
        self.rule(chain, &[], &Verdict::Jump(to.to_owned()))
    }

    /// Puts it into the place, whole or not at all.
    pub fn install(self, place: &Place) -> Result<()> {
        place.attempt(|| self.batch.commit())
    }
}

/// The ruleset's generation: another number after each change, whoever makes it.
pub fn generation(place: &Place) -> Result<u32> {
    place.attempt(crate::netlink::generation)
}

/// Docker's chains of both families, as Docker 28 makes them by iptables-nft: FORWARD drops.
pub fn docker(place: &Place) -> Result<()> {
    docker_table(Family::Ip).install(place)?;
    docker_table(Family::Ip6).install(place)
}

/// Sets the policy of `FORWARD` in table `filter`, as `iptables -P FORWARD …` does.
pub fn set_forward_policy(place: &Place, family: Family, policy: Policy) -> Result<()> {
    Table::new(family, "filter")
        .base("FORWARD", At::Forward, policy)
        .install(place)
}

/// firewalld's shape: `inet firewalld`, whose chains accept what is known and reject the rest.
pub fn firewalld(place: &Place) -> Result<()> {
    let table = Table::new(Family::Inet, "firewalld")
        .base("filter_INPUT", At::Input, Policy::Accept)
        .base("filter_FORWARD", At::Forward, Policy::Accept);
    known_input(table, Family::Inet, "filter_INPUT")
        .rule("filter_INPUT", &[], &Verdict::Reject)
        .rule("filter_FORWARD", &[Match::Established], &Verdict::Accept)
        .rule("filter_FORWARD", &[Match::In("lo")], &Verdict::Accept)
        .rule("filter_FORWARD", &[], &Verdict::Reject)
        .install(place)
}

/// The rules of some cloud images: `INPUT` and `FORWARD` accept, but end with a REJECT.
pub fn cloud_image(place: &Place) -> Result<()> {
    for family in [Family::Ip, Family::Ip6] {
        let table = Table::new(family, "filter")
            .base("INPUT", At::Input, Policy::Accept)
            .base("FORWARD", At::Forward, Policy::Accept)
            .base("OUTPUT", At::Output, Policy::Accept);
        known_input(table, family, "INPUT")
            .rule("INPUT", &[], &Verdict::Reject)
            .rule("FORWARD", &[], &Verdict::Reject)
            .install(place)?;
    }
    Ok(())
}

/// A hardened machine: `INPUT` drops everything but known connections, `lo` and SSH.
pub fn input_drop(place: &Place) -> Result<()> {
    for family in [Family::Ip, Family::Ip6] {
        let table = Table::new(family, "filter").base("INPUT", At::Input, Policy::Drop);
        known_input(table, family, "INPUT").install(place)?;
    }
    Ok(())
}

/// What every firewall lets in, since without it the machine itself has no network.
fn known_input(table: Table, family: Family, chain: &str) -> Table {
    const NEIGHBOUR_SOLICITATION: u8 = 135;
    const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    let table = table
        .rule(chain, &[Match::Established], &Verdict::Accept)
        .rule(chain, &[Match::In("lo")], &Verdict::Accept)
        .rule(chain, &[Match::TcpPort(22)], &Verdict::Accept);
    if family == Family::Ip {
        return table;
    }
    table
        .rule(
            chain,
            &[Match::Icmp6(NEIGHBOUR_SOLICITATION)],
            &Verdict::Accept,
        )
        .rule(
            chain,
            &[Match::Icmp6(NEIGHBOUR_ADVERTISEMENT)],
            &Verdict::Accept,
        )
}

fn docker_table(family: Family) -> Table {
    use Match::{Established, In, NotIn, NotOut, Out};
    const CHAINS: [&str; 7] = [
        "DOCKER",
        "DOCKER-BRIDGE",
        "DOCKER-CT",
        "DOCKER-FORWARD",
        "DOCKER-ISOLATION-STAGE-1",
        "DOCKER-ISOLATION-STAGE-2",
        "DOCKER-USER",
    ];
    let (bridge, stage) = ("docker0", "DOCKER-ISOLATION-STAGE-2".to_owned());
    Table::new(family, "filter")
        .base("INPUT", At::Input, Policy::Accept)
        .base("FORWARD", At::Forward, Policy::Drop)
        .base("OUTPUT", At::Output, Policy::Accept)
        .chains(&CHAINS)
        .jump("FORWARD", "DOCKER-USER")
        .jump("FORWARD", "DOCKER-FORWARD")
        .rule("DOCKER", &[NotIn(bridge), Out(bridge)], &Verdict::Drop)
        .rule(
            "DOCKER-BRIDGE",
            &[Out(bridge)],
            &Verdict::Jump("DOCKER".to_owned()),
        )
        .rule("DOCKER-CT", &[Out(bridge), Established], &Verdict::Accept)
        .jump("DOCKER-FORWARD", "DOCKER-CT")
        .jump("DOCKER-FORWARD", "DOCKER-ISOLATION-STAGE-1")
        .jump("DOCKER-FORWARD", "DOCKER-BRIDGE")
        .rule("DOCKER-FORWARD", &[In(bridge)], &Verdict::Accept)
        .rule(
            "DOCKER-ISOLATION-STAGE-1",
            &[In(bridge), NotOut(bridge)],
            &Verdict::Jump(stage),
        )
        .rule("DOCKER-ISOLATION-STAGE-2", &[Out(bridge)], &Verdict::Drop)
        .rule("DOCKER-USER", &[], &Verdict::Return)
}
