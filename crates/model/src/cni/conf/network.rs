//! What an ADD needs of a configuration, whatever its type.
//!
//! How each type's keys are read stands in files beside; what is asked for one attachment alone is `Asked`.

use super::Ipam;
use crate::addr::PodRange;
use crate::attachment::{Bridged, Mode};
use crate::ports::PortMap;
use alloc::vec::Vec;
use ipnet::IpNet;

/// What an ADD needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConf {
    /// How pods are wired.
    pub mode: Mode,
    /// Where addresses come from: one is taken for each family, from the first range that has one left.
    pub ranges: Vec<PodRange>,
    /// The whole cluster's pod addresses; they are never masqueraded.
    pub prefixes: Vec<IpNet>,
    /// MTU of the pod's interface in bytes; the kernel's default if absent.
    pub mtu: Option<u32>,
    /// Whether the plugin itself puts the node in order, because no agent does.
    pub alone: bool,
    /// Ports of the node that lead to the pod.
    pub ports: Vec<PortMap>,
    /// What type `bridge` says.
    pub bridged: Option<Bridged>,
    /// Where addresses come from, if that is said as for type `host-local`.
    pub ipam: Option<Ipam>,
}

impl NetConf {
    /// Puts ranges in the place of those of the same family.
    pub(super) fn narrow(&mut self, ranges: Vec<PodRange>) {
        let is_kept = |own: &PodRange| !ranges.iter().any(|range| range.family() == own.family());
        self.ranges.retain(is_kept);
        self.ranges.extend(ranges);
    }
}
