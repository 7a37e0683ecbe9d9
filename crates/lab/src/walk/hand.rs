//! Pods wired by hand, step by step as the demo's script does it, and nothing else.
//!
//! A bridge with the gateway's address, and per pod a veth pair, an address and a default route. It is what the demo's
//! reader had when the first pings failed; made without any program under test, and taken away again.

use std::net::IpAddr;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use ipnet::IpNet;

use super::site::{Side, Site};
use super::{Addresses, Family};
use crate::pod::Pod;
use crate::wire::{self, Peer};

const BRIDGE: &str = "cni0";
const INSIDE: &str = "eth0";

/// The wiring of all four pods.
#[derive(Debug)]
#[must_use = "it stays until it is taken away"]
pub struct Wires<'a> {
    site: &'a Site,
    /// The pods' addresses.
    pub addresses: Addresses,
}

impl<'a> Wires<'a> {
    /// Wires all four pods.
    pub fn lay(site: &'a Site, families: &[Family]) -> Result<Self> {
        let mut addresses = Addresses(Default::default());
        for (side, given) in site.sides.iter().zip(&mut addresses.0) {
            lay(side, families, given).with_context(|| format!("wire {}", side.node.name()))?;
        }
        Ok(Self { site, addresses })
    }

    /// Takes it away: the pods are as they were.
    pub fn remove(self) -> Result<()> {
        for side in &self.site.sides {
            side.node.attempt(|| {
                for pod in &side.pods {
                    wire::delete_link(&port(pod))?;
                }
                wire::delete_link(BRIDGE)
            })?;
        }
        Ok(())
    }
}

fn lay(side: &Side, families: &[Family], given: &mut [Vec<IpAddr>; 2]) -> Result<()> {
    let ranges = families
        .iter()
        .map(|family| match family {
            Family::V4 => Ok(side.ranges[0].parse::<IpNet>()?),
            Family::V6 => Ok(side.ranges[1].parse::<IpNet>()?),
        })
        .collect::<Result<Vec<_>>>()?;
    side.node.attempt(|| {
        wire::add_bridge(BRIDGE, wire::mac_of(BRIDGE))?;
        for range in &ranges {
            wire::add_address(BRIDGE, nth(*range, 1)?)?;
        }
        wire::set_up(BRIDGE)
    })?;
    for ((number, pod), given) in (2..).zip(&side.pods).zip(given) {
        let network = pod.doors()?.network;
        let peer = Peer {
            name: INSIDE,
            mac: wire::mac_of(pod.name()),
            network: network.as_fd(),
        };
        side.node
            .attempt(|| wire::add_veth(&port(pod), Some(BRIDGE), peer))?;
        for range in &ranges {
            given.push(nth(*range, number)?.addr());
        }
        pod.attempt(|| {
            for range in &ranges {
                wire::add_address(INSIDE, nth(*range, number)?)?;
            }
            wire::set_up(INSIDE)?;
            for range in &ranges {
                let everything = match range {
                    IpNet::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
                    IpNet::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
                };
                wire::add_route(everything, nth(*range, 1)?.addr())?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn port(pod: &Pod) -> String {
    format!("veth{}", pod.pod_name())
}

/// The address with this number in a range, with the range's length.
fn nth(range: IpNet, number: u8) -> Result<IpNet> {
    let mut octets = match range.network() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    if let Some(last) = octets.last_mut() {
        *last |= number;
    }
    let address = match range {
        IpNet::V4(_) => IpAddr::from(<[u8; 4]>::try_from(&*octets)?),
        IpNet::V6(_) => IpAddr::from(<[u8; 16]>::try_from(&*octets)?),
    };
    Ok(IpNet::new(address, range.prefix_len())?)
}
