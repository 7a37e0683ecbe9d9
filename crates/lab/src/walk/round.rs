//! One round of probes: from the first pod of each node to the five targets, ICMP and TCP, all at once.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};

use super::site::Site;
use super::{Addresses, Family};
use crate::{Place, probe};

/// Where no answer is expected, so long is waited for one.
const NO_ANSWER: Duration = Duration::from_millis(300);
/// Where one is expected it comes at once; only a failure waits so long.
const SOON: Duration = Duration::from_secs(5);

/// What a pod should reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The node that it is on.
    OwnHost,
    /// The other node.
    OtherHost,
    /// Another pod on its node.
    SameHostPod,
    /// A pod on the other node.
    OtherHostPod,
    /// The host outside.
    Outside,
}

/// When the probes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The pods are wired by hand and nothing else is done.
    Before,
    /// Plugin and agent have done their work.
    After,
}

/// A pod, a target, and what came of it.
#[derive(Debug)]
pub struct Connection {
    /// Number of the node that the pod is on.
    pub from: usize,
    /// What it tries to reach.
    pub target: Target,
    /// In which family.
    pub family: Family,
    /// The pod's own address.
    pub own: IpAddr,
    /// The target's address.
    pub to: IpAddr,
    /// Whether an echo request was answered, or why not.
    pub icmp: Result<(), String>,
    /// The address that the target's listener saw, or why nothing came of it.
    pub tcp: Result<IpAddr, String>,
    /// The address that it should see.
    pub expected: IpAddr,
}

/// All probes of one moment.
#[derive(Debug)]
pub struct Round {
    moment: Moment,
    /// What came of each.
    pub connections: Vec<Connection>,
}

impl Moment {
    /// How long an answer is waited for.
    fn patience(self, target: Target) -> Duration {
        match self {
            Self::Before if target != Target::OwnHost => NO_ANSWER,
            Self::Before | Self::After => SOON,
        }
    }
}

impl Target {
    /// The five, in the demo's order.
    pub const ALL: [Self; 5] = [
        Self::OwnHost,
        Self::OtherHost,
        Self::SameHostPod,
        Self::OtherHostPod,
        Self::Outside,
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::OwnHost => "own host",
            Self::OtherHost => "other host",
            Self::SameHostPod => "pod on the same host",
            Self::OtherHostPod => "pod on the other host",
            Self::Outside => "outside",
        }
    }
}

impl Round {
    /// Probes everything.
    pub fn run(
        site: &Site,
        addresses: &Addresses,
        families: &[Family],
        moment: Moment,
    ) -> Result<Self> {
        let mut plans = Vec::new();
        for from in [0, 1] {
            for &family in families {
                for target in Target::ALL {
                    plans.push(plan(site, addresses, from, family, target)?);
                }
            }
        }
        let connections = std::thread::scope(|scope| {
            let running: Vec<_> = plans
                .into_iter()
                .map(|plan| scope.spawn(move || plan.probe(moment)))
                .collect();
            let joined = running.into_iter().map(|thread| match thread.join() {
                Ok(connection) => connection,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect()
        });
        Ok(Self {
            moment,
            connections,
        })
    }

    /// What came of one probe.
    pub fn find(&self, from: usize, family: Family, target: Target) -> Option<&Connection> {
        self.connections.iter().find(|connection| {
            (connection.from, connection.family, connection.target) == (from, family, target)
        })
    }

    /// Everything that is not as it must be.
    ///
    /// Afterwards everything is reached, and everybody sees the pod's own address, but for the host outside, which sees
    /// the node's. Before, only the own host must be reached, and what lies beyond the node must not: whether two pods on
    /// one node meet FORWARD depends on br_netfilter.
    pub fn faults(&self) -> Vec<String> {
        self.connections
            .iter()
            .filter_map(|connection| connection.fault(self.moment))
            .collect()
    }
}

impl Connection {
    /// In one or two words.
    pub fn word(&self) -> &'static str {
        word(&self.icmp, &self.tcp)
    }

    fn fault(&self, moment: Moment) -> Option<String> {
        let beyond = !matches!(self.target, Target::OwnHost | Target::SameHostPod);
        let expected = match moment {
            Moment::Before if self.target == Target::SameHostPod => return None,
            Moment::Before if beyond => "no answer",
            Moment::Before | Moment::After => "reached",
        };
        let what = format!(
            "{} from pod {} to {} at {}",
            self.family.name(),
            self.own,
            self.target.name(),
            self.to
        );
        if self.word() != expected {
            let found = self.found();
            return Some(format!("{what}: expected: {expected}; found: {found}"));
        }
        match &self.tcp {
            Ok(seen) if moment == Moment::After && *seen != self.expected => Some(format!(
                "{what}: expected: it sees {}; found: it sees {seen}",
                self.expected
            )),
            _ => None,
        }
    }

    fn found(&self) -> String {
        let icmp = match &self.icmp {
            Ok(()) => "answered",
            Err(why) => why,
        };
        let tcp = match &self.tcp {
            Ok(_) => "connected",
            Err(why) => why,
        };
        format!("ICMP: {icmp}; TCP: {tcp}")
    }
}

/// What came of a connection, in one or two words.
pub fn word<T>(icmp: &Result<(), T>, tcp: &Result<IpAddr, T>) -> &'static str {
    match (icmp, tcp) {
        (Ok(()), Ok(_)) => "reached",
        (Ok(()), Err(_)) => "ICMP only",
        (Err(_), Ok(_)) => "TCP only",
        (Err(_), Err(_)) => "no answer",
    }
}

/// A probe to be made.
struct Plan<'a> {
    place: &'a Place,
    connection: Connection,
}

impl Plan<'_> {
    fn probe(self, moment: Moment) -> Connection {
        let Self {
            place,
            mut connection,
        } = self;
        let to = connection.to;
        let within = moment.patience(connection.target);
        let (icmp, tcp) = std::thread::scope(|scope| {
            let icmp = scope.spawn(|| probe::ping(place, to, within));
            let tcp = probe::tcp(place, SocketAddr::new(to, Site::PORT), within);
            (icmp.join(), tcp)
        });
        connection.icmp = match icmp {
            Ok(icmp) => icmp.map(drop).map_err(|error| error.to_string()),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        connection.tcp = tcp.map_err(|error| error.root_cause().to_string());
        connection
    }
}

fn plan<'a>(
    site: &'a Site,
    addresses: &Addresses,
    from: usize,
    family: Family,
    target: Target,
) -> Result<Plan<'a>> {
    let side = &site.sides[from];
    let other = 1 - from;
    let of_node = |side: usize| {
        let addresses = site.sides[side].node.uplink_addresses();
        family.among(&addresses).context("the node has no address")
    };
    let to = match target {
        Target::OwnHost => of_node(from)?,
        Target::OtherHost => of_node(other)?,
        Target::SameHostPod => addresses.of(from, 1, family)?,
        Target::OtherHostPod => addresses.of(other, 0, family)?,
        Target::Outside => match family {
            Family::V4 => IpAddr::from([108, 177, 121, 113]),
            Family::V6 => "2001:db8:108::113".parse()?,
        },
    };
    let own = addresses.of(from, 0, family)?;
    let expected = if target == Target::Outside {
        of_node(from)?
    } else {
        own
    };
    Ok(Plan {
        place: &side.pods[0],
        connection: Connection {
            from,
            target,
            family,
            own,
            to,
            icmp: Err(String::new()),
            tcp: Err(String::new()),
            expected,
        },
    })
}
