//! docs/contract.md names tests; each of them must exist.
//!
//! A name is what stands in backticks in a row of a table, is written like a function, and is as long as a sentence. Whether
//! the test shows what the row says is for a reader to judge.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::sources::collect;

const PAGE: &str = "docs/contract.md";

/// So many words make a sentence.
const WORDS: usize = 4;

/// A sentence for each test that the page names and nobody wrote.
pub(super) fn findings(root: &Path) -> Result<Vec<String>> {
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("read {PAGE}"))?;
    let mut files = Vec::new();
    collect(&root.join("crates"), &mut files)?;
    let mut written = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        written.extend(tests(&text));
    }
    let missing = named(&page).filter(|name| !written.contains(*name));
    Ok(missing
        .map(|name| format!("{PAGE}: names the test {name}, which does not exist"))
        .collect())
}

fn named(page: &str) -> impl Iterator<Item = &str> {
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    quoted.filter(|name| {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.chars().all(is_name) && name.split('_').count() >= WORDS
    })
}

/// The functions that stand right behind the mark of a test.
fn tests(text: &str) -> impl Iterator<Item = String> {
    text.split("#[test]").skip(1).filter_map(|behind| {
        let (_, name) = behind.split_once("fn ")?;
        Some(name.split_once('(')?.0.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn found(name: &str, row: &str) -> Vec<String> {
        let scratch = Scratch::new(name);
        scratch.write(
            PAGE,
            &format!("`a_name_in_the_prose`\n| W1 | `ns` | {row} |\n"),
        );
        let test = "#[test]\nfn w1_a_pod_is_attached() {}\nfn a_pod_of_a_helper() {}\n";
        scratch.write("crates/lab/tests/pods.rs", test);
        findings(scratch.path()).unwrap()
    }

    #[test]
    fn a_row_whose_tests_exist_is_fine() {
        assert_eq!(found("contract-fine", "`w1_a_pod_is_attached`"), [""; 0]);
    }

    #[test]
    fn a_test_that_nobody_wrote_is_named_and_a_function_that_is_no_test_does_not_count() {
        for name in ["a_pod_is_detached_too", "a_pod_of_a_helper"] {
            let row = format!("`w1_a_pod_is_attached`, `{name}`");
            let wanted = format!("{PAGE}: names the test {name}, which does not exist");
            assert_eq!(found("contract-missing", &row), [wanted]);
        }
    }
}
