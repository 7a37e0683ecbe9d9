//! The node for a person: aligned, most important first, what is wrong last, where the eye ends.

use super::{Network, SILENT, View};
use model::addr::{Family, PodRange};
use model::attachment::Attachment;
use std::fmt::Write as _;

/// Width of the first column.
const LABEL: usize = 12;

/// The text, with its last line's end.
pub(crate) fn human(view: &View) -> String {
    let mut lines = Vec::new();
    if let Some(agent) = &view.agent {
        lines.push(labelled("node", agent.node.as_str()));
    }
    lines.push(labelled("agent", &agent(view)));
    if let Some(agent) = &view.agent {
        let version = agent.table.as_deref().unwrap_or("not in the kernel");
        let generation = agent.generation;
        let old = old(view).map_or_else(String::new, |since| format!(", {since}"));
        lines.push(labelled(
            "table",
            &format!("{version}, ruleset generation {generation}{old}"),
        ));
        lines.extend(peers(view));
    }
    if view.networks.is_empty() {
        lines.push(labelled("network", "none: no pod has been attached here"));
    }
    for network in &view.networks {
        lines.extend(of_network(network));
    }
    lines.push(String::new());
    for finding in &view.findings {
        lines.push(format!("wrong: {}", finding.what));
        lines.push(format!("       {}", finding.hint));
    }
    match &view.absent {
        Some(run) => lines.push(format!("nothing is known: there is no {}", run.display())),
        None if view.findings.is_empty() => lines.push("nothing is wrong".into()),
        None => {}
    }
    lines.join("\n") + "\n"
}

fn agent(view: &View) -> String {
    match &view.agent {
        Some(agent) if view.running => format!("running, process {}", agent.pid),
        Some(_) => format!("not running; it reported {} ago", age(view.silent)),
        None if view.running => "running; it has not reported yet".into(),
        None => "none has run here".into(),
    }
}

fn peers(view: &View) -> Vec<String> {
    let peers = view.agent.iter().flat_map(|agent| &agent.peers);
    let ways = peers.flat_map(|peer| {
        let way = |way: &model::status::Way| {
            [
                peer.name.to_string(),
                way.range.to_string(),
                way.path.to_string(),
            ]
        };
        peer.ways.iter().map(way)
    });
    let rows: Vec<[String; 3]> = ways.collect();
    let mut lines = aligned(&rows);
    if lines.is_empty() {
        lines.push("none".into());
    }
    if let Some(since) = old(view) {
        lines.insert(0, since);
    }
    let label = |(i, line): (usize, &String)| labelled(if i == 0 { "peers" } else { "" }, line);
    lines.iter().enumerate().map(label).collect()
}

/// How old the report is, if nobody is there who would renew it.
fn old(view: &View) -> Option<String> {
    (!view.running || view.silent > SILENT).then(|| format!("as of {} ago", age(view.silent)))
}

fn of_network(network: &Network) -> Vec<String> {
    let mut lines = vec![String::new(), labelled("network", network.name.as_str())];
    let ranges: Vec<[String; 2]> = network
        .ranges
        .iter()
        .map(|(range, used)| {
            [
                range.to_string(),
                format!("{used} of {} used", total(range)),
            ]
        })
        .collect();
    for (i, line) in aligned(&ranges).iter().enumerate() {
        lines.push(labelled(if i == 0 { "ranges" } else { "" }, line));
    }
    let count = network.attachments.len();
    lines.push(labelled("attachments", &count.to_string()));
    if count > 0 {
        let head = ["POD", "INTERFACE", "ADDRESSES", "HOST INTERFACE", "AGE"].map(String::from);
        let rows = network.attachments.iter().map(|(a, age)| row(a, *age));
        let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
        lines.extend(aligned(&rows).into_iter().map(|line| format!("  {line}")));
    }
    lines
}

fn row(attachment: &Attachment, seconds: u64) -> [String; 5] {
    let key = &attachment.key;
    let addresses: Vec<String> = attachment
        .addresses
        .iter()
        .map(|address| address.ip.to_string())
        .collect();
    [
        whose(attachment),
        key.ifname.to_string(),
        addresses.join(" "),
        key.host_interface(),
        age(seconds),
    ]
}

/// The pod, or without one the container's id, cut where people cut it.
pub(super) fn whose(attachment: &Attachment) -> String {
    match &attachment.pod {
        Some(pod) => format!("{}/{}", pod.namespace, pod.name),
        None => attachment.key.container.as_str().chars().take(20).collect(),
    }
}

/// How many pods have place; IPv6's as a power, because nobody reads the digits.
fn total(range: &PodRange) -> String {
    match range.family() {
        Family::V4 => range.capacity().to_string(),
        Family::V6 => format!("2^{}-2", Family::V6.bits() - range.net().prefix_len()),
    }
}

/// The two largest units.
pub(crate) fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{}s", seconds % 60),
        3600..86400 => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

fn labelled(label: &str, text: &str) -> String {
    format!("{label:LABEL$} {text}")
}

/// The rows with columns as wide as their widest cell.
fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String does not fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
