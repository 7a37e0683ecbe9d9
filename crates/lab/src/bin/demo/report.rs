//! What the demo prints.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context, Result};
use lab::Place;
use lab::walk::{Family, Mode, Target, columns};

use crate::perform::Walk;

/// What both walks have in common.
pub(crate) const HEAD: &str = "
Two nodes, two pods on each, one host outside; all of them namespaces on this machine.
before: the pods are wired by hand as the demo's script does it (bridge, veth pair, address, default route) on nodes
        as the demo found them: FORWARD drops, nothing is forwarded, no route to the other node's pods, no masquerade
after:  the same pods attached by podwire-cni, called as a runtime calls it, with podwired running on each node
";

/// Everything about one walk.
pub(crate) fn section(walk: &Walk) -> String {
    let mut text = String::new();
    heading(&mut text, walk);
    for &family in walk.mode.families() {
        reached(&mut text, walk, family);
    }
    sources(&mut text, walk);
    addresses(&mut text, walk);
    text
}

/// What `podwire status` says.
pub(crate) fn status(walk: &Walk) -> String {
    format!(
        "\n$ podwire status    (walk {}, on k8s-master)\n{}",
        walk.number, walk.status.stdout
    )
}

/// How to enter each node and pod.
pub(crate) fn doors(walks: &[Walk]) -> String {
    let mut text = String::from(
        "\nEverything stays up until Ctrl-C. To enter a place, type in another terminal, as the same user:\n",
    );
    for walk in walks {
        let _ = writeln!(text, "\nwalk {}", walk.number);
        let mut places: Vec<&Place> = Vec::new();
        for side in &walk.site.sides {
            places.extend([&*side.node, &*side.pods[0], &*side.pods[1]]);
        }
        places.push(&walk.site.outside);
        let rows: Vec<_> = places
            .into_iter()
            .map(|place| {
                vec![
                    place.name().to_owned(),
                    place.enter_line().unwrap_or_default(),
                ]
            })
            .collect();
        text.push_str(&columns(&rows));
    }
    text
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    written
        .and_then(|()| stdout.flush())
        .context("write the report")
}

fn heading(text: &mut String, walk: &Walk) {
    let what = match walk.mode {
        Mode::Bridge => "the demo's own two bash-cni files: a bridge, IPv4",
        Mode::Routed => "the conflist that podwired writes: type podwire, routed, both families",
    };
    let _ = writeln!(text, "\nWalk {}, {what}", walk.number);
}

fn reached(text: &mut String, walk: &Walk, family: Family) {
    let names = walk.site.sides.each_ref().map(|side| side.node.name());
    let from = |side: usize| format!("from {}", names[side]);
    let mut rows = vec![
        vec![
            String::new(),
            from(0),
            String::new(),
            from(1),
            String::new(),
        ],
        ["", "before", "after", "before", "after"]
            .map(str::to_owned)
            .into(),
    ];
    rows[1][0] = format!("{}, ICMP and TCP to", family.name());
    for target in Target::ALL {
        let mut row = vec![target.name().to_owned()];
        for side in 0..names.len() {
            for round in [&walk.before, &walk.after] {
                let found = round.find(side, family, target);
                row.push(found.map_or("-", |connection| connection.word()).to_owned());
            }
        }
        rows.push(row);
    }
    let _ = write!(text, "\n{}", columns(&rows));
}

/// Whose packets they were, and whose the other end took them for.
fn sources(text: &mut String, walk: &Walk) {
    let mut rows = vec![
        ["who was asked", "by the pod", "saw it as", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    for &family in walk.mode.families() {
        for target in [Target::Outside, Target::OtherHostPod] {
            for from in 0..walk.site.sides.len() {
                let Some(connection) = walk.after.find(from, family, target) else {
                    continue;
                };
                let (seen, whose) = match &connection.tcp {
                    Ok(seen) if *seen == connection.own => (seen.to_string(), "the pod itself"),
                    Ok(seen) if *seen == connection.expected => (seen.to_string(), "its node"),
                    Ok(seen) => (seen.to_string(), "somebody else"),
                    Err(_) => ("-".to_owned(), "no answer"),
                };
                rows.push(vec![
                    format!("{} {}", target.name(), connection.to),
                    connection.own.to_string(),
                    seen,
                    whose.to_owned(),
                ]);
            }
        }
    }
    let _ = write!(text, "\n{}", columns(&rows));
}

fn addresses(text: &mut String, walk: &Walk) {
    let mut rows = vec![vec!["place".to_owned(), "addresses".to_owned()]];
    for (side, given) in walk.site.sides.iter().zip(&walk.addresses.0) {
        let uplink = side.node.uplink_addresses();
        let listed = |addresses: &[std::net::IpAddr]| {
            let listed = addresses.iter().map(ToString::to_string);
            listed.collect::<Vec<_>>().join("  ")
        };
        rows.push(vec![format!("node {}", side.node.name()), listed(&uplink)]);
        for (pod, addresses) in side.pods.iter().zip(given) {
            rows.push(vec![format!("pod {}", pod.name()), listed(addresses)]);
        }
    }
    let _ = write!(text, "\n{}", columns(&rows));
}
