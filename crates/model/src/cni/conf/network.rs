//! What an ADD needs of a configuration, whatever its type.
//!
//! How each type's keys are read stands in files beside; what is asked for one attachment alone is `Asked`.

use super::Ipam;
use crate::addr::{Family, PodRange};
use crate::attachment::{Bridged, Mode};
use crate::ports::PortMap;
use crate::span::Span;
use alloc::vec::Vec;
use ipnet::IpNet;

/// What an ADD needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConf {
    /// How pods are wired.
    pub mode: Mode,
    /// Where addresses come from; one is taken for each family.
    pub ranges: Vec<PodRange>,
    /// Which addresses of the ranges are given away; the first span that has one left gives it.
    pub spans: Vec<Span>,
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
    /// Puts spans in the place of those of the same family.
    pub(super) fn narrow(&mut self, spans: Vec<Span>) {
        for family in [Family::V4, Family::V6] {
            let of_family = || spans.iter().filter(|span| span.family() == family);
            if of_family().next().is_none() {
                continue;
            }
            self.spans.retain(|span| span.family() != family);
            self.ranges.retain(|range| range.family() != family);
            for span in of_family() {
                self.spans.push(*span);
                if !self.ranges.contains(&span.range()) {
                    self.ranges.push(span.range());
                }
            }
        }
    }
}
