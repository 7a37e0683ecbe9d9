//! What a Rust file must look like.
//!
//! A head that says what it is for, a size that one reads in one go, a name that says what is inside, nothing left undone,
//! nothing skipped, no unsafe code even where the compiler does not look. How the code itself is written is the business
//! of rustfmt and clippy. Tests are exempt from the size, and from nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::views::{self, Views};

#[cfg(test)]
mod tests;

/// Lines of a file before its tests.
const LINES: usize = 400;

/// Names that say nothing about what is inside, so that anything ends up there.
const EMPTY_NAMES: [&str; 6] = ["common", "helpers", "manager", "misc", "util", "utils"];

/// Marks of work that is not done; it belongs into an issue.
const UNDONE: [&str; 3] = ["FIXME", "TODO", "XXX"];

/// Packages that must build without an operating system.
const WITHOUT_STD: [&str; 2] = ["crates/model/src/lib.rs", "crates/plan/src/lib.rs"];

/// Where sources are.
const DIRECTORIES: [&str; 2] = ["crates", "xtask"];

/// Everything that is wrong with the sources of the workspace in `root`.
pub(super) fn findings(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for directory in DIRECTORIES {
        collect(&root.join(directory), &mut files)?;
    }
    files.sort();
    let mut findings = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let path = file.strip_prefix(root).unwrap_or(&file);
        let about = |finding: String| format!("{}{finding}", path.display());
        findings.extend(judge(path, &text).into_iter().map(about));
    }
    Ok(findings)
}

/// All Rust files below a directory.
pub(super) fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("read {}", directory.display()))?
            .path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// What is wrong with one file; each finding goes on behind its path.
fn judge(path: &Path, text: &str) -> Vec<String> {
    let views = views::split(text);
    let mut findings = Vec::new();
    findings.extend(head(path, text));
    findings.extend(size(path, text));
    findings.extend(name(path));
    findings.extend(without_std(path, &views));
    let lines = views.code.lines().zip(views.comments.lines());
    for (number, (code, comment)) in (1..).zip(lines) {
        let found = code_line(code).into_iter().chain(undone(code, comment));
        findings.extend(found.map(|finding| format!(":{number}: {finding}")));
    }
    findings
}

fn head(path: &Path, text: &str) -> Option<String> {
    let is_module = path.components().any(|part| part.as_os_str() == "src");
    let has_head = text.starts_with("//!");
    (is_module && !has_head)
        .then(|| ": no head; begin it with `//!`: what it is for, what it does not do, which document it follows".to_owned())
}

fn size(path: &Path, text: &str) -> Option<String> {
    let is_test = path
        .components()
        .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
    let lines = text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count();
    (lines > LINES && !is_test)
        .then(|| format!(": {lines} lines before its tests, {LINES} are allowed; split it by what its parts are about"))
}

fn name(path: &Path) -> Option<String> {
    let parts = path
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    let mut names = parts.map(|part| part.trim_end_matches(".rs").to_owned());
    let empty = names.find(|name| EMPTY_NAMES.contains(&name.as_str()))?;
    Some(format!(
        ": {empty:?} says nothing; name it after what is inside"
    ))
}

fn without_std(path: &Path, views: &Views) -> Option<String> {
    let must = WITHOUT_STD.iter().any(|file| path == Path::new(file));
    let is = views.code.lines().any(|line| line.trim() == "#![no_std]");
    (must && !is).then(|| ": no `#![no_std]`; what is pure needs no operating system".to_owned())
}

fn code_line(line: &str) -> Option<String> {
    let words: Vec<&str> = views::words(line).collect();
    if words.contains(&"unsafe") {
        return Some("unsafe code; rustix and netlink-sys have it safely".to_owned());
    }
    if line.contains("#[ignore") {
        return Some("a skipped test; let it fail and name what it needs, or delete it".to_owned());
    }
    words.windows(2).find_map(|pair| match pair {
        ["mod", name] if EMPTY_NAMES.contains(name) => Some(format!(
            "module {name:?} says nothing; name it after what is inside"
        )),
        ["fn", name] if name.starts_with("test_") => Some(format!(
            "{name}: say as a sentence what holds, without `test_`"
        )),
        _ => None,
    })
}

fn undone(code: &str, comment: &str) -> Option<String> {
    let mut words = views::words(code).chain(views::words(comment));
    let mark = words.find(|word| UNDONE.contains(word))?;
    Some(format!(
        "{mark}; do it now, or file an issue and drop the mark"
    ))
}
