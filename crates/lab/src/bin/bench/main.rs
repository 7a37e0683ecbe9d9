//! The benchmark: what ADD and DEL cost, beside what the kernel itself needs for the same objects in the same run.
//!
//! Measures wall time from before the start of a program until its end is known, as a runtime sees it. All contenders take
//! turns, forwards and backwards, so that drift of the machine hits all alike; figures of one run compare only with each
//! other. Each kind of network has a node of its own, because one's ruleset is another's change. The nodes are in order
//! before the first call that counts. What is budgeted is said at the end; `--check` makes it the exit code.

mod arguments;
mod budget;
mod contender;
mod field;
mod memory;
mod report;
mod sample;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use lab::Lab;

use arguments::Arguments;
use field::Field;
use report::Report;

fn main() -> Result<ExitCode> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let lab = Lab::new()?;
    let field = Field::set_up(&lab, &arguments)?;
    let report = Report {
        machine: report::Machine::here()?,
        single: field.one_by_one(arguments.rounds)?,
        burst: field.at_once(arguments.bursts)?,
        memory: field.memory()?,
        size: std::fs::metadata(arguments.bin.join("podwire-cni"))
            .context("look at podwire-cni")?
            .len(),
    };
    let budgets = budget::all(&report);
    let mut out = std::io::stdout().lock();
    out.write_all(report.text().as_bytes())?;
    out.write_all(budget::text(&budgets).as_bytes())?;
    if let Some(path) = &arguments.json {
        let mut json = report.json();
        json["budgets"] = budget::json(&budgets);
        std::fs::write(path, format!("{json:#}\n"))
            .with_context(|| format!("write {}", path.display()))?;
    }
    let missed = budgets.iter().any(|budget| !budget.reached());
    Ok(if missed && arguments.check {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
