//! The addresses of a cluster: of its machines on the LAN, and the ranges of pods and Services.
//!
//! All are private ones and exist in the cluster's own network namespaces only. An address is written here once; every
//! flag and file is made of what stands here. Lists have the cluster's first family first, as Kubernetes reads them.

use std::net::IpAddr;

use anyhow::{Context, Result};

use crate::shape::{Family, MASTER, WORKER};

/// The control plane, which is no node: an outside host on the LAN, and the nodes' way to everywhere.
pub const CONTROL: &str = "control";
/// Where the API server listens.
pub(crate) const API_PORT: u16 = 6443;

const PODS: [&str; 2] = ["10.244.0.0/16", "fd00:10:244::/56"];
const SERVICES: [&str; 2] = ["10.96.0.0/16", "fd00:10:96::/112"];
const API_SERVICE: [&str; 2] = ["10.96.0.1", "fd00:10:96::1"];
const DNS: [&str; 2] = ["10.96.0.10", "fd00:10:96::a"];
/// Far away: only the nodes' default route leads there.
const OUTSIDE: [&str; 2] = ["108.177.121.113", "2001:db8:108::113"];
const LAN: [(&str, u8); 2] = [("192.168.77.", 24), ("fd00:192:168:77::", 64)];

/// The nodes come after this number.
const BEFORE_NODES: u8 = 11;

/// The prefixes that hold all pods.
pub fn pods(family: Family) -> Vec<&'static str> {
    family.pick(PODS[0], PODS[1])
}

/// The prefixes that hold all Services.
pub fn services(family: Family) -> Vec<&'static str> {
    family.pick(SERVICES[0], SERVICES[1])
}

/// Where the cluster's DNS is.
pub fn dns(family: Family) -> Vec<&'static str> {
    family.pick(DNS[0], DNS[1])
}

/// Addresses outside of the LAN, pods and Services: the control plane's machine stands there for the rest of the world.
///
/// # Errors
/// Never: these are addresses.
pub fn outside(family: Family) -> Result<Vec<IpAddr>> {
    let texts = family.pick(OUTSIDE[0], OUTSIDE[1]);
    texts
        .into_iter()
        .map(|text| text.parse().with_context(|| format!("address {text}")))
        .collect()
}

/// The one of these addresses that is of the same family as another.
///
/// # Errors
/// When there is none.
pub fn like(addresses: &[IpAddr], other: IpAddr) -> Result<IpAddr> {
    let same = |address: &&IpAddr| address.is_ipv4() == other.is_ipv4();
    let found = addresses.iter().find(same).copied();
    found.with_context(|| format!("no address like {other} among {addresses:?}"))
}

/// What a certificate of the API server must name.
pub(crate) fn api_names(family: Family) -> Result<Vec<IpAddr>> {
    let mut names = addresses(CONTROL, family)?;
    for service in family.pick(API_SERVICE[0], API_SERVICE[1]) {
        names.push(service.parse().context("an address of a Service")?);
    }
    Ok(names)
}

/// The API server as `host:port`, an IPv6 host in brackets.
///
/// # Errors
/// Never: the control plane has an address.
pub fn api_server(family: Family) -> Result<String> {
    let first = addresses(CONTROL, family)?;
    Ok(
        match first.first().context("the control plane's address")? {
            IpAddr::V4(host) => format!("{host}:{API_PORT}"),
            IpAddr::V6(host) => format!("[{host}]:{API_PORT}"),
        },
    )
}

/// A machine's addresses on the LAN.
///
/// # Errors
/// When no machine has such a name.
pub fn addresses(machine: &str, family: Family) -> Result<Vec<IpAddr>> {
    let number = number(machine)?;
    let [(ipv4, _), (ipv6, _)] = LAN;
    let texts = family.pick(format!("{ipv4}{number}"), format!("{ipv6}{number}"));
    texts
        .iter()
        .map(|text| text.parse().with_context(|| format!("address {text}")))
        .collect()
}

/// The line for `ip -batch` that puts a LAN address on a link.
pub(crate) fn address_line(address: IpAddr, link: &str) -> String {
    let [(_, ipv4), (_, ipv6)] = LAN;
    match address {
        IpAddr::V4(_) => format!("address add {address}/{ipv4} dev {link}\n"),
        // Nobody else is on the LAN, and a daemon must be able to bind the address at once.
        IpAddr::V6(_) => format!("address add {address}/{ipv6} dev {link} nodad\n"),
    }
}

fn number(machine: &str) -> Result<u8> {
    let worker = |name: &str| name.strip_prefix(WORKER)?.parse::<u8>().ok();
    match machine {
        CONTROL => Ok(1),
        MASTER => Ok(BEFORE_NODES),
        name => worker(name)
            .and_then(|number| number.checked_add(BEFORE_NODES))
            .with_context(|| format!("there is no machine {name:?}; machines are {CONTROL}, {MASTER}, {WORKER}1 and so on")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_family_comes_first() {
        assert_eq!(pods(Family::Dual6), [PODS[1], PODS[0]]);
        assert_eq!(api_server(Family::Dual).unwrap(), "192.168.77.1:6443");
        assert_eq!(
            api_server(Family::Ipv6).unwrap(),
            "[fd00:192:168:77::1]:6443"
        );
    }

    #[test]
    fn machines_have_different_addresses() {
        let address = |name| addresses(name, Family::Ipv4).unwrap()[0].to_string();
        assert_eq!(address(MASTER), "192.168.77.11");
        assert_eq!(address("worker2"), "192.168.77.13");
        assert!(addresses("node1", Family::Ipv4).is_err());
    }
}
