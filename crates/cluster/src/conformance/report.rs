//! Ginkgo's report of a run: each case with what became of it.
//!
//! Read are only the names' parts, the state and the message of a failure; a skip has a message as well, which says why.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// A case of the suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) state: State,
    /// What it said of its failure, or of why it skipped itself.
    pub(super) said: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Passed,
    Failed,
    /// Or not asked for.
    Skipped,
}

pub(super) fn read(file: &Path) -> Result<Vec<Case>> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    parse(&text).with_context(|| format!("read {}", file.display()))
}

fn parse(text: &str) -> Result<Vec<Case>> {
    let suites: Value = serde_json::from_str(text).context("no JSON")?;
    let specs = suites[0]["SpecReports"].as_array();
    let specs = specs.context("a report has specs")?.iter();
    // Others are what runs before and after all cases.
    let cases = specs.filter(|spec| spec["LeafNodeType"] == "It");
    Ok(cases.map(case).collect())
}

fn case(spec: &Value) -> Case {
    let hierarchy = spec["ContainerHierarchyTexts"].as_array();
    let texts = hierarchy.into_iter().flatten();
    let texts = texts.chain([&spec["LeafNodeText"]]);
    let texts: Vec<_> = texts.filter_map(Value::as_str).collect();
    let said = spec["Failure"]["Message"].as_str().unwrap_or_default();
    Case {
        name: texts.join(" "),
        state: match spec["State"].as_str() {
            Some("passed") => State::Passed,
            Some("skipped" | "pending") => State::Skipped,
            _ => State::Failed,
        },
        said: said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_has_the_names_of_all_that_it_stands_in() {
        let cases = parse(
            r#"[{"SpecReports": [
                {"LeafNodeType": "BeforeSuite", "State": "passed"},
                {"LeafNodeType": "It", "ContainerHierarchyTexts": ["[sig] Services", "a b"], "LeafNodeText": "works",
                 "State": "passed"},
                {"LeafNodeType": "It", "ContainerHierarchyTexts": null, "LeafNodeText": "else", "State": "timedout",
                 "Failure": {"Message": "too late"}}
            ]}]"#,
        );
        let cases = cases.unwrap();
        assert_eq!(cases[0].name, "[sig] Services a b works");
        assert_eq!(cases[0].state, State::Passed);
        assert_eq!(
            (cases[1].state, cases[1].said.as_str()),
            (State::Failed, "too late")
        );
        assert_eq!(cases.len(), 2);
    }
}
