//! Where in the file something stands, so that what is wrong between nodes can be told with its line.

use super::{List, Value};
use model::addr::PodRange;
use model::cluster::Fault;
use model::name::NodeName;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Offsets of the lines' ends.
pub(super) struct Lines {
    ends: Vec<usize>,
}

impl Lines {
    pub(super) fn new(text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { ends }
    }

    /// The line of a byte, counted from one.
    pub(super) fn at(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| *end < offset) + 1
    }

    /// The line in which a value begins.
    pub(super) fn of(&self, value: &Value<'_>) -> usize {
        self.at(value.span().start)
    }
}

/// The lines of nodes, addresses and ranges.
#[derive(Default)]
pub(super) struct Places {
    nodes: BTreeMap<NodeName, Place>,
}

struct Place {
    line: usize,
    addresses: Vec<(usize, IpAddr)>,
    ranges: Vec<(usize, PodRange)>,
    /// Whether all of its addresses, and all of its ranges, could be read.
    whole: (bool, bool),
}

impl Places {
    pub(super) fn enter(
        &mut self,
        name: &NodeName,
        line: usize,
        addresses: &List<IpAddr>,
        ranges: &List<PodRange>,
    ) {
        let place = Place {
            line,
            addresses: addresses.items.clone(),
            ranges: ranges.items.clone(),
            whole: (addresses.whole, ranges.whole),
        };
        self.nodes.insert(name.clone(), place);
    }

    pub(super) fn line_of_node(&self, name: &NodeName) -> Option<usize> {
        self.nodes.get(name).map(|place| place.line)
    }

    /// The line of a fault; none if it only follows from something that could not be read.
    pub(super) fn line_of(&self, fault: &Fault) -> Option<usize> {
        let place = self.nodes.get(fault.node())?;
        let found = match fault {
            Fault::NoRange(_) => return place.whole.1.then_some(place.line),
            Fault::NoAddress(_) => return place.whole.0.then_some(place.line),
            Fault::Overlap(_, _, range, _) | Fault::Outside(range, _) => line(&place.ranges, range),
            Fault::SharedAddress(ip, ..) | Fault::AddressInRange(ip, ..) => {
                line(&place.addresses, ip)
            }
        };
        Some(found.unwrap_or(place.line))
    }
}

/// The last line that holds the item: of two the later one is in the wrong.
fn line<T: PartialEq>(items: &[(usize, T)], item: &T) -> Option<usize> {
    let held = items.iter().rev().find(|(_, held)| held == item);
    held.map(|(line, _)| *line)
}
