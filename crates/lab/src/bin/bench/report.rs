//! The figures as a table for people and as JSON for programs.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::field::{AT_ONCE, BURST, Row};
use crate::sample::Samples;

/// Everything that was measured in one run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) single: Vec<Row>,
    pub(crate) burst: Vec<Row>,
    /// Peak memory in bytes.
    pub(crate) memory: Vec<(&'static str, u64)>,
    /// Size of the plugin in bytes.
    pub(crate) size: u64,
}

/// Where it was measured.
#[derive(Debug)]
pub(crate) struct Machine {
    cores: usize,
    kernel: String,
    processor: String,
}

impl Machine {
    pub(crate) fn here() -> Result<Self> {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .context("ask for the kernel's name")?;
        let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = about
            .lines()
            .find(|line| line.starts_with("model name"))
            .and_then(|line| line.split_once(": "));
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            kernel: kernel.trim().to_owned(),
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
        })
    }
}

/// How often the floor's median goes into another one; none without a floor of its own.
pub(crate) fn ratio(rows: &[Row], row: &Row, of: fn(&Row) -> &Samples) -> Option<f64> {
    let floor = rows.iter().find(|other| Some(other.name) == row.floor)?;
    let ratio = of(row).median() / of(floor).median();
    (ratio.is_finite()).then_some(ratio)
}

impl Report {
    /// The tables.
    pub(crate) fn text(&self) -> String {
        let Machine {
            cores,
            kernel,
            processor,
        } = &self.machine;
        let calls = self.single.first().map_or(0, |row| row.add.len());
        let mut text = format!("machine: {cores} cores, Linux {kernel}, {processor}\n\n");
        let title = format!("one after another, {calls} calls");
        table(&mut text, &title, &self.single, "us", "p99", 1.0, 0);
        let title = format!("{BURST} calls, {AT_ONCE} at a time");
        table(&mut text, &title, &self.burst, "ms", "worst", 1e3, 1);
        for (name, bytes) in &self.memory {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "peak memory of ADD, {name}: {} KiB", bytes / 1024);
        }
        let _ = writeln!(text, "plugin binary: {} bytes\n", self.size);
        text
    }

    /// All figures: times in microseconds, sizes in bytes.
    pub(crate) fn json(&self) -> Value {
        let Machine {
            cores,
            kernel,
            processor,
        } = &self.machine;
        let memory: serde_json::Map<_, _> = self
            .memory
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), json!(bytes)))
            .collect();
        json!({
            "machine": {"cores": cores, "kernel": kernel, "processor": processor},
            "one_by_one": rows(&self.single),
            "at_once": rows(&self.burst),
            "memory": memory,
            "size": self.size,
        })
    }
}

fn table(
    text: &mut String,
    title: &str,
    rows: &[Row],
    unit: &str,
    last: &str,
    scale: f64,
    digits: usize,
) {
    let heads = ["p50", last, "x floor", "p50", last, "x floor"];
    let width = 40;
    let _ = writeln!(text, "{title}, {unit}");
    let _ = write!(
        text,
        "{:width$}{:>9}{:18}{:>9}\n{:width$}",
        "", "ADD", "", "DEL", ""
    );
    for head in heads {
        let _ = write!(text, "{head:>9}");
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "{:width$}", row.name);
        for of in [|row: &Row| &row.add, |row: &Row| &row.del] as [fn(&Row) -> &Samples; 2] {
            if of(row).len() == 0 {
                continue;
            }
            for percent in [50, 99] {
                let figure = of(row).percentile(percent) / scale;
                let _ = write!(text, "{figure:>9.digits$}");
            }
            match ratio(rows, row, of) {
                Some(ratio) => {
                    let _ = write!(text, "{ratio:>9.2}");
                }
                None => text.push_str("         "),
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text.push('\n');
}

fn rows(rows: &[Row]) -> Value {
    let figures = |row: &Row, of: fn(&Row) -> &Samples| {
        json!({
            "calls": of(row).len(),
            "p50": of(row).median(),
            "p99": of(row).percentile(99),
            "to_floor": ratio(rows, row, of),
        })
    };
    rows.iter()
        .map(|row| {
            json!({
                "name": row.name,
                "add": figures(row, |row| &row.add),
                "del": figures(row, |row| &row.del),
            })
        })
        .collect()
}
