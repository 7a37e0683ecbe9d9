//! Small trees with one thing wrong each.

use super::{LINES, findings, judge};
use crate::scratch::Scratch;
use std::path::Path;

const HEAD: &str = "//! What it is for.\n";

fn found(path: &str, body: &str) -> Vec<String> {
    judge(Path::new(path), &format!("{HEAD}{body}"))
}

fn assert_only(found: &[String], says: &str) {
    assert!(
        matches!(found, [only] if only.contains(says)),
        "{says}: {found:?}"
    );
}

#[test]
fn a_tree_is_searched_to_its_leaves_and_each_finding_names_its_file() {
    let scratch = Scratch::new("sources");
    scratch.write("crates/host/src/lib.rs", HEAD);
    scratch.write("crates/host/src/nft/rule.rs", "fn headless() {}\n");
    scratch.write("crates/lab/tests/common/mod.rs", HEAD);
    scratch.write("crates/lab/tests/skipped.rs", "#[ignore]\nfn fine() {}\n");
    scratch.write("crates/lab/target/made.rs", "fn made_by_cargo() {}\n");
    scratch.write("xtask/src/main.rs", HEAD);
    let found = findings(scratch.path()).unwrap();
    let files: Vec<&str> = found
        .iter()
        .filter_map(|finding| finding.split(": ").next())
        .collect();
    assert_eq!(
        files,
        [
            "crates/host/src/nft/rule.rs",
            "crates/lab/tests/common/mod.rs",
            "crates/lab/tests/skipped.rs:1"
        ]
    );
}

#[test]
fn a_module_without_a_head_is_found_and_a_scenario_needs_none() {
    assert_only(
        &judge(Path::new("crates/host/src/link.rs"), "use std::fs;\n"),
        "no head",
    );
    assert_only(
        &judge(Path::new("crates/host/src/link.rs"), "\n//! Too late.\n"),
        "no head",
    );
    assert!(judge(Path::new("crates/lab/tests/ports.rs"), "use std::fs;\n").is_empty());
}

#[test]
fn a_file_is_too_long_by_its_lines_before_the_tests() {
    let path = "crates/host/src/link.rs";
    assert!(found(path, &"\n".repeat(LINES - 1)).is_empty());
    assert_only(
        &found(path, &"\n".repeat(LINES)),
        "401 lines before its tests",
    );
    let tests = format!("    #[cfg(test)]\n{}", "\n".repeat(LINES));
    assert!(found(path, &tests).is_empty());
}

#[test]
fn files_of_tests_may_be_long() {
    let body = "\n".repeat(2 * LINES);
    assert!(found("crates/host/src/link/tests.rs", &body).is_empty());
    assert!(found("crates/lab/tests/ports.rs", &body).is_empty());
}

#[test]
fn names_that_say_nothing_are_found_as_files_directories_and_modules() {
    assert_only(
        &found("crates/host/src/utils.rs", ""),
        "\"utils\" says nothing",
    );
    assert_only(
        &found("crates/host/src/misc/link.rs", ""),
        "\"misc\" says nothing",
    );
    assert_only(
        &found("crates/host/src/link.rs", "mod helpers { }\n"),
        ":2: module \"helpers\"",
    );
    assert!(found("crates/host/src/link.rs", "mod common_prefix;\n").is_empty());
}

#[test]
fn work_that_is_left_undone_is_found_in_comments_and_not_in_literals() {
    let path = "crates/host/src/link.rs";
    assert_only(&found(path, "// TODO: later\n"), ":2: TODO");
    assert_only(&found(path, "/* so\n FIXME */\n"), ":3: FIXME");
    assert!(found(path, "const MARK: &str = \"TODO\";\n").is_empty());
}

#[test]
fn unsafe_is_found_as_code_and_allowed_as_a_word() {
    let path = "crates/host/src/link.rs";
    assert_only(
        &found(path, "#[cfg(never)]\nunsafe fn hidden() {}\n"),
        ":3: unsafe code",
    );
    assert!(
        found(
            path,
            "// no unsafe here\nconst LINT: &str = \"unsafe\";\n#![forbid(unsafe_code)]\n"
        )
        .is_empty()
    );
}

#[test]
fn skipped_tests_and_test_names_that_are_no_sentences_are_found() {
    let path = "crates/host/src/link.rs";
    assert_only(&found(path, "#[ignore = \"slow\"]\n"), "a skipped test");
    assert_only(
        &found(path, "fn test_link() {}\n"),
        "test_link: say as a sentence",
    );
}

#[test]
fn model_and_plan_must_declare_that_they_need_no_std() {
    assert_only(
        &found("crates/plan/src/lib.rs", "// #![no_std]\n"),
        "no `#![no_std]`",
    );
    assert!(found("crates/plan/src/lib.rs", "#![no_std]\n").is_empty());
    assert!(found("crates/host/src/lib.rs", "").is_empty());
}
