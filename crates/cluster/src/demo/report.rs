//! What the demo prints: kubectl's own words, then the tables of `cargo xtask demo`.

use std::fmt;
use std::net::IpAddr;

use lab::walk::{Target, columns};

use super::round::Connection;
use super::{Ranges, TAINT, Walk};
use crate::pod::Pod;

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n$ kubectl get node\n{}", self.nodes)?;
        let ranges = self
            .ranges
            .iter()
            .map(|Ranges { node, ranges }| vec![node.clone(), ranges.join("  ")]);
        write!(f, "\n{}", table(["node", "pod ranges"], ranges))?;
        writeln!(f, "\n$ kubectl taint node master {TAINT}")?;
        f.write_str(&pods(&self.tainted))?;
        writeln!(f, "\n$ kubectl taint node master {TAINT}-")?;
        f.write_str(&pods(&self.untainted))?;
        for is_ipv4 in [true, false] {
            f.write_str(&self.reached(is_ipv4))?;
        }
        f.write_str(&self.sources())
    }
}

impl Walk {
    /// The five targets from each node, in one family.
    fn reached(&self, is_ipv4: bool) -> String {
        let of_family = |connection: &&Connection| connection.to.is_ipv4() == is_ipv4;
        let found: Vec<_> = self.connections.iter().filter(of_family).collect();
        if found.is_empty() {
            return String::new();
        }
        let family = if is_ipv4 { "IPv4" } else { "IPv6" };
        let mut rows = vec![vec![format!("{family}, ICMP and TCP to")]];
        rows[0].extend(self.ranges.iter().map(|one| format!("from {}", one.node)));
        for target in Target::ALL {
            let mut row = vec![target.name().to_owned()];
            row.extend(self.ranges.iter().map(|Ranges { node, .. }| {
                let cell = found
                    .iter()
                    .find(|connection| connection.from == *node && connection.target == target);
                cell.map_or("-", |connection| connection.word()).to_owned()
            }));
            rows.push(row);
        }
        format!("\n{}", columns(&rows))
    }

    /// Whose packets they were, and whose the other end took them for.
    fn sources(&self) -> String {
        let told = |connection: &&Connection| {
            matches!(connection.target, Target::Outside | Target::OtherHostPod)
        };
        let rows = self.connections.iter().filter(told).map(|connection| {
            let (seen, whose) = match &connection.tcp {
                Ok(seen) if *seen == connection.own => (seen.to_string(), "the pod itself"),
                Ok(seen) if *seen == connection.expected => (seen.to_string(), "its node"),
                Ok(seen) => (seen.to_string(), "somebody else"),
                Err(_) => ("-".to_owned(), "no answer"),
            };
            vec![
                format!("{} {}", connection.target.name(), connection.to),
                connection.own.to_string(),
                seen,
                whose.to_owned(),
            ]
        });
        let head = ["who was asked", "by the pod", "saw it as", ""];
        format!("\n{}", table(head, rows))
    }
}

fn pods(pods: &[Pod]) -> String {
    let mut rows: Vec<_> = pods
        .iter()
        .map(|pod| {
            let addresses = pod.addresses.iter().map(IpAddr::to_string);
            vec![
                pod.name.clone(),
                pod.node.clone(),
                addresses.collect::<Vec<_>>().join("  "),
            ]
        })
        .collect();
    rows.sort_by(|one, other| (&one[1], &one[0]).cmp(&(&other[1], &other[0])));
    table(["pod", "node", "addresses"], rows)
}

fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head = head.map(str::to_owned).to_vec();
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    columns(&rows)
}
