//! The budgets, and whether this run has kept them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::field::{BASH_CNI, BRIDGE, BRIDGE_MASQ, DUAL, Row, V4};
use crate::report::{Report, ratio};

/// ADD against the kernel floor.
const FLOOR: f64 = 1.3;
/// Many DELs at once against the kernel's removal of as many links, one by one.
const ALONE: f64 = 1.0;
/// The reference bridge with host-local against ADD, without and with masquerading.
const REFERENCE: f64 = 6.0;
const REFERENCE_MASQ: f64 = 15.0;
/// Bytes.
const SIZE: f64 = 1_600_000.0;
const MEMORY: f64 = 4.0 * 1024.0 * 1024.0;

/// One figure and its limit.
#[derive(Debug)]
pub(crate) struct Budget {
    what: String,
    limit: f64,
    figure: f64,
    /// Whether the figure must be at least the limit, not at most.
    least: bool,
    unit: &'static str,
}

impl Budget {
    pub(crate) fn reached(&self) -> bool {
        if self.least {
            self.figure >= self.limit
        } else {
            self.figure <= self.limit
        }
    }
}

/// All budgets that this run has figures for.
pub(crate) fn all(report: &Report) -> Vec<Budget> {
    let find = |rows: &'_ [Row], name: &str| rows.iter().position(|row| row.name == name);
    let mut budgets = Vec::new();
    let mut against = |what: String, (rows, name): (&[Row], &str), of, limit| {
        let row = find(rows, name).map(|place| &rows[place]);
        let figure = row.and_then(|row| ratio(rows, row, of));
        budgets.push(Budget {
            what,
            limit,
            figure: figure.unwrap_or(f64::NAN),
            least: false,
            unit: "x floor",
        });
    };
    for name in [DUAL, V4, BASH_CNI] {
        let row = (&*report.single, name);
        against(format!("ADD, {name}"), row, |row| &row.add, FLOOR);
    }
    for name in [DUAL, BASH_CNI] {
        let row = (&*report.burst, name);
        against(format!("128 ADDs, {name}"), row, |row| &row.add, FLOOR);
        against(format!("128 DELs, {name}"), row, |row| &row.del, ALONE);
    }
    let median = |name| {
        let place = find(&report.single, name)?;
        Some(report.single[place].add.median())
    };
    for (name, limit) in [(BRIDGE, REFERENCE), (BRIDGE_MASQ, REFERENCE_MASQ)] {
        if let (Some(theirs), Some(ours)) = (median(name), median(BASH_CNI)) {
            budgets.push(Budget {
                what: format!("ADD, {name}"),
                limit,
                figure: theirs / ours,
                least: true,
                unit: "x bash-cni",
            });
        }
    }
    let sizes = report.memory.iter().map(|(name, bytes)| {
        // Far below 2^53.
        (format!("peak memory, {name}"), MEMORY, *bytes as f64)
    });
    let binary = ("plugin binary".to_owned(), SIZE, report.size as f64);
    for (what, limit, figure) in sizes.chain([binary]) {
        budgets.push(Budget {
            what,
            limit,
            figure,
            least: false,
            unit: "bytes",
        });
    }
    budgets
}

/// A line for each.
pub(crate) fn text(budgets: &[Budget]) -> String {
    let mut text = "budgets\n".to_owned();
    for budget in budgets {
        let Budget {
            what,
            limit,
            figure,
            least,
            unit,
        } = budget;
        let word = if *least { ">=" } else { "<=" };
        let digits = if *unit == "bytes" { 0 } else { 2 };
        let verdict = if budget.reached() {
            "reached".to_owned()
        } else {
            format!("NOT REACHED, {:+.0} %", (figure / limit - 1.0) * 100.0)
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{what:52}{word} {limit:>9.digits$} {unit:11}{figure:>10.digits$}  {verdict}"
        );
    }
    text.push_str("no address was given twice\n");
    text
}

pub(crate) fn json(budgets: &[Budget]) -> Value {
    let budget = |budget: &Budget| {
        json!({
            "what": budget.what,
            "limit": budget.limit,
            "figure": budget.figure,
            "unit": budget.unit,
            "reached": budget.reached(),
        })
    };
    budgets.iter().map(budget).collect()
}
