//! What became of each case, out of what ginkgo reports or what Go's own test programs print.

use anyhow::{Context, Result};
use serde_json::Value;

/// One case that ran.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) passed: bool,
    /// The first line of what was wrong.
    pub(super) why: String,
}

/// Cases of a report of ginkgo's; those that it skipped did not run.
pub(super) fn of_ginkgo(text: &str) -> Result<Vec<Case>> {
    let report: Value = serde_json::from_str(text).context("the report is no JSON")?;
    let suites = report.as_array().into_iter().flatten();
    let cases = suites.flat_map(|suite| suite["SpecReports"].as_array().into_iter().flatten());
    Ok(cases.filter_map(case).collect())
}

fn case(spec: &Value) -> Option<Case> {
    let state = spec["State"].as_str()?;
    if spec["LeafNodeType"] != "It" || matches!(state, "skipped" | "pending") {
        return None;
    }
    let texts = spec["ContainerHierarchyTexts"]
        .as_array()
        .into_iter()
        .flatten();
    let mut words: Vec<&str> = texts.filter_map(Value::as_str).collect();
    words.extend(spec["LeafNodeText"].as_str());
    let why = spec["Failure"]["Message"].as_str().unwrap_or(state);
    let why: Vec<&str> = why.split_whitespace().collect();
    Some(Case {
        name: words.join(" "),
        passed: state == "passed",
        why: why.join(" ").chars().take(300).collect(),
    })
}

/// Cases of `-test.v`: `--- PASS: TestName (0.01s)`.
pub(super) fn of_go(text: &str) -> Vec<Case> {
    let lines = text.lines().map(str::trim);
    let case = |line: &str| {
        let (state, rest) = line.strip_prefix("--- ")?.split_once(": ")?;
        let name = rest.split_whitespace().next()?;
        (state != "SKIP").then(|| Case {
            name: name.to_owned(),
            passed: state == "PASS",
            why: "see the log".to_owned(),
        })
    };
    let all: Vec<Case> = lines.filter_map(case).collect();
    // A test that has parts is what its parts are.
    let has_parts = |name: &str| {
        let beginning = format!("{name}/");
        all.iter().any(|other| other.name.starts_with(&beginning))
    };
    let leaves: Vec<bool> = all.iter().map(|case| !has_parts(&case.name)).collect();
    let kept = all.into_iter().zip(leaves);
    kept.filter_map(|(case, is_leaf)| is_leaf.then_some(case))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_that_ran_are_read_with_what_was_wrong() {
        let text = r#"[{"SpecReports":[
            {"LeafNodeType":"It","ContainerHierarchyTexts":["a","b"],"LeafNodeText":"c","State":"passed"},
            {"LeafNodeType":"It","LeafNodeText":"d","State":"failed","Failure":{"Message":"no\n  such thing"}},
            {"LeafNodeType":"It","LeafNodeText":"e","State":"skipped"},
            {"LeafNodeType":"BeforeSuite","LeafNodeText":"","State":"passed"}]}]"#;
        let cases = of_ginkgo(text).unwrap();
        assert_eq!(cases.len(), 2);
        assert_eq!((cases[0].name.as_str(), cases[0].passed), ("a b c", true));
        assert_eq!(
            (cases[1].why.as_str(), cases[1].passed),
            ("no such thing", false)
        );
        assert!(of_ginkgo("PASS").is_err());
    }

    #[test]
    fn lines_of_gos_own_tests_are_read_and_others_are_not() {
        let cases = of_go(
            "=== RUN TestA\n--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/b (0.1s)\n--- SKIP: TestC (0s)\n--- PASS: TestD (0s)\nok",
        );
        assert_eq!(cases.len(), 2);
        assert_eq!(
            (cases[0].name.as_str(), cases[0].passed),
            ("TestA/b", false)
        );
    }
}
