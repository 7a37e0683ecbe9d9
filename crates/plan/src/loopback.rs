//! Type `loopback`: what a runtime is told of a container's own loopback.
//!
//! The kernel gives `lo` its addresses when it is set up; nothing here chooses one. The answer is that of the reference
//! plugin: the interface with no MAC, and the first loopback address of each family. An address of another kind on `lo`,
//! such as that of a load balancer, is not told, and is no error.

use alloc::vec;
use alloc::vec::Vec;
use ipnet::IpNet;
use model::addr::Family;
use model::cni::{CniResult, Dns, Interface, IpConfig};
use model::name::IfName;

/// What ADD answers for the network namespace `netns`, in which `lo` has these addresses.
#[must_use]
pub fn answer<'a>(
    netns: &str,
    addresses: impl IntoIterator<Item = &'a IpNet> + Clone,
) -> CniResult {
    let first = |family| {
        let mut all = addresses.clone().into_iter();
        all.find(|net| net.addr().is_loopback() && Family::of(net.addr()) == family)
    };
    let ips: Vec<IpConfig> = [Family::V4, Family::V6]
        .into_iter()
        .filter_map(first)
        .map(|net| IpConfig {
            address: *net,
            gateway: None,
            interface: Some(0),
        })
        .collect();
    CniResult {
        interfaces: vec![Interface {
            name: IfName::lo(),
            mac: "00:00:00:00:00:00".into(),
            mtu: None,
            sandbox: Some(netns.into()),
        }],
        ips,
        routes: Vec::new(),
        dns: Dns::default(),
    }
}
