//! Decisions as text: a cluster and a node in, the changes one a line out.
//!
//! A snapshot is agreed to by editing it here; nothing is written by a run, and one that differs or is missing fails. The
//! version of our table is a hash of its rules: it is shown as `CURRENT`, except where the table itself is listed.

mod change;
mod firewall;
mod node;
mod order;
mod pod;
mod ports;
mod sysctl;
mod table;
mod uninstall;

use crate::given::name;
use crate::kernel::apply;
use model::change::Change;
use model::cluster::Cluster;
use model::state::HostState;
use plan::node::Plan;
use std::fmt::Write as _;

/// A network of two nodes, and node `a` of it as it was found after boot.
const PODS: &str = "10.244.0.0/16";
const TWO: &str = "
    a: 10.128.0.2 / 10.244.0.0/24
    b: 10.128.0.3 / 10.244.1.0/24";
const FRESH: &str = "
    sysctl ipv4/ip_forward 0
    sysctl ipv6/conf/all/forwarding 0
    sysctl ipv4/conf/all/rp_filter 0
    sysctl ipv4/conf/eth0/rp_filter 0
    sysctl ipv6/conf/eth0/accept_ra 0
    link eth0 mtu 1460
    address 10.128.0.2/24 dev eth0
    lookup 10.128.0.3 dev eth0";

/// What node `a` of the cluster needs.
fn plan(cluster: &Cluster, have: &HostState) -> Plan {
    plan::node::plan(cluster, &name("a"), have)
}

/// The same node after it was brought in order.
fn settled(cluster: &Cluster, have: &HostState) -> HostState {
    let plan = plan(cluster, have);
    let mut have = have.clone();
    apply(&plan.changes, &mut have);
    apply(plan.conflist.as_slice(), &mut have);
    have
}

/// The changes one a line, the conflist if it is to be written, the peers, the findings.
fn show(plan: &Plan) -> String {
    let mut text = changes(&plan.changes);
    if let Some(change) = &plan.conflist {
        writeln!(text, "{change}").expect("memory");
    }
    for peer in &plan.peers {
        for way in &peer.ways {
            writeln!(text, "peer {}: {} {}", peer.name, way.range, way.path).expect("memory");
        }
    }
    for finding in &plan.findings {
        writeln!(text, "finding: {finding}").expect("memory");
    }
    text
}

fn changes(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "nothing to do\n".into();
    }
    let version = plan::masquerade::table(model::firewall::Elements::new()).version;
    let lines = changes.iter().map(|change| format!("{change}\n"));
    lines.collect::<String>().replace(&version, "CURRENT")
}
