//! docs/metrics.md and the metrics are the same list.

use super::*;
use crate::vitals::Used;
use host::usage::Usage;
use model::addr::PodRange;
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");

/// Every metric once, each with its labels.
fn everything() -> String {
    let metrics = Metrics::new(true);
    metrics.round(Round {
        outcome: Outcome::Changed,
        took: Duration::from_millis(2),
        settled: false,
        repair: true,
    });
    metrics.woken(Cause::Kernel);
    metrics.change("add_route", true);
    metrics.change("add_route", false);
    let counts = ["node", "source", "leaks", "strife", "listener"].map(|about| (about, 1));
    metrics.findings(counts);
    metrics.leaks(&[], 1);
    metrics.cluster(2, &[]);
    metrics.api.listed();
    metrics.api.failed("silent");
    metrics.api.condition(true);
    let moment = Moment {
        ready: true,
        since_round: Duration::ZERO,
        up: Duration::from_secs(1),
        networks: vec![Used {
            network: "podwire".into(),
            attachments: 2,
            ranges: vec![(PodRange::parse("10.244.0.0/24").unwrap(), 2)],
        }],
        usage: Some(Usage {
            resident: 5 << 20,
            threads: 2,
            descriptors: 20,
            most_descriptors: Some(1024),
            cpu: Duration::from_millis(30),
        }),
        with_api: true,
    };
    metrics.text(&moment)
}

/// The rows of the document's table, as the metrics would have them.
fn rows(text: &str) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for help in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, what) = help.split_once(' ').unwrap();
        let of = |prefix: &str| {
            let start = format!("# {prefix} {name} ");
            text.lines()
                .find_map(|line| line.strip_prefix(&start).map(str::to_owned))
        };
        let kind = of("TYPE").unwrap();
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let start = format!("{name}{suffix}{{");
        let labels: Vec<&str> = text
            .lines()
            .find_map(|line| line.strip_prefix(&start)?.split_once('}'))
            .map(|(labels, _)| {
                labels
                    .split(',')
                    .filter_map(|pair| pair.split('=').next())
                    .collect()
            })
            .unwrap_or_default();
        let what = what.trim_end_matches('.');
        rows.insert(format!(
            "| `{name}{suffix}` | {kind} | {} | {what} |",
            labels.join(", ")
        ));
    }
    rows
}

#[test]
fn the_document_lists_every_metric_as_it_is() {
    let text = everything();
    let rows = rows(&text);
    let (_, table) = DOCUMENT.split_once("## Metrics").unwrap();
    let documented: BTreeSet<String> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(str::to_owned)
        .collect();
    let all: Vec<&str> = rows.iter().map(String::as_str).collect();
    assert!(
        rows == documented,
        "docs/metrics.md must have these rows:\n{}",
        all.join("\n")
    );
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn where_there_is_no_api_server_nothing_is_said_of_one() {
    let moment = Moment {
        ready: false,
        since_round: Duration::ZERO,
        up: Duration::ZERO,
        networks: Vec::new(),
        usage: None,
        with_api: false,
    };
    let text = Metrics::new(false).text(&moment);
    assert!(
        !text.contains("podwire_api_") && text.contains("podwire_ready 0.0"),
        "{text}"
    );
}
