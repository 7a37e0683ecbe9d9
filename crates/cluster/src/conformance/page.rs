//! docs/conformance.md: what is left out, case by case, between two marks that no reader sees.
//!
//! The part between them is made of the table and of the suite's names; a run of the suite compares it with the suite, and
//! a test that needs none compares it with the table.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::OURS;
use super::left_out::{self, GROUPS};

const BEGIN: &str = "<!-- cargo xtask cluster conformance --left-out -->\n";
const END: &str = "<!-- until here -->\n";

/// The part between the marks, for these cases.
pub(super) fn render(cases: &[String]) -> String {
    let mut text = String::new();
    for group in GROUPS {
        let is_in =
            |case: &&String| left_out::why(case).is_some_and(|own| own.title == group.title);
        let names: BTreeSet<_> = cases.iter().filter(is_in).collect();
        text.push_str(&format!(
            "### {}\n\n{} {} left out:\n\n",
            group.title,
            group.reason,
            match names.len() {
                1 => "One case is".to_owned(),
                count => format!("{count} cases are"),
            }
        ));
        for name in names {
            let name = name.trim_start_matches(OURS).trim_start();
            text.push_str(&format!("- {name}\n"));
        }
        text.push('\n');
    }
    text
}

/// No error if the page says what the suite has.
pub(super) fn check(cases: &[String]) -> Result<()> {
    let on_page = part()?;
    if on_page == render(cases) {
        return Ok(());
    }
    bail!(
        "{} does not say what is left out of this suite; between its marks belongs what this prints: \
         cargo xtask cluster conformance --left-out",
        path().display()
    )
}

fn part() -> Result<String> {
    let path = path();
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let inner = text
        .split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(END));
    let (inner, _) = inner.with_context(|| format!("{} has lost its marks", path.display()))?;
    ensure!(
        !inner.contains(BEGIN),
        "{} has a mark twice",
        path.display()
    );
    Ok(inner.to_owned())
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_reasons_of_the_table_and_no_case_in_the_wrong_place() {
        let on_page = part().unwrap();
        let cases = on_page.lines().filter_map(|line| line.strip_prefix("- "));
        let cases: Vec<_> = cases.map(|name| format!("{OURS} {name}")).collect();
        assert_eq!(on_page, render(&cases));
        assert!(!cases.iter().any(|case| case.contains("[Conformance]")));
    }
}
