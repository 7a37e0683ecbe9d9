//! Builds the cluster's programs from their Go modules, as they are published.
//!
//! Parts are built one after the other, each by one call of `go` so that no package is compiled twice; while one is compiled,
//! the modules of the next are fetched. What is there already is left alone: see `stamp`. Programs of the machine (a C
//! compiler, pkg-config) are used and not installed.

mod go;
mod keep;
mod module;
mod part;
mod stamp;

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::Place;
use crate::progress::say;
use go::Go;
use part::{Part, Step, Verb};

pub(crate) use keep::{IMAGES, share};
pub(crate) use part::{COREDNS, E2E, HELM, KUBERNETES, REGRESSION};

/// Built only when they are named: most who have a cluster need neither Kubernetes' own tests nor Helm.
const SPECIAL: [&str; 2] = [E2E, HELM];

/// Builds the named parts, or all but the special ones, unless they are there in this version.
///
/// # Errors
/// When a part does not build, with the command that failed, or when Go is missing or too old.
pub fn build(place: &Place, names: &[String]) -> Result<()> {
    let parts = chosen(names)?;
    let (there, lacking): (Vec<_>, Vec<_>) = parts
        .into_iter()
        .partition(|part| stamp::holds(place, part));
    if !there.is_empty() {
        let names: Vec<&str> = there.iter().map(|part| part.name).collect();
        say(format!("there already: {}", names.join(" ")));
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let (go, begin) = (Go::find(place)?, Instant::now());
    in_turn(place, &go, &lacking)?;
    say(format!("all in {} s", begin.elapsed().as_secs()));
    Ok(())
}

/// Whether the named part is there as a whole, as this version has it; a file of it may be left from another.
pub(crate) fn holds(place: &Place, name: &str) -> bool {
    let mut parts = part::parts().into_iter();
    parts.any(|part| part.name == name && stamp::holds(place, &part))
}

/// Two hands: one fetches and goes ahead, one compiles.
fn in_turn(place: &Place, go: &Go, parts: &[Part]) -> Result<()> {
    thread::scope(|scope| {
        let (done, fetched) = mpsc::channel();
        scope.spawn(move || {
            // An error ends it, and so does a compiling hand that takes nothing any more.
            parts.iter().all(|part| {
                let outcome = fetch(place, go, part);
                let goes_on = outcome.is_ok();
                done.send((part, outcome)).is_ok() && goes_on
            })
        });
        for (part, outcome) in fetched {
            outcome.with_context(|| format!("fetch the modules of {}", part.name))?;
            make(place, go, part).with_context(|| format!("build {}", part.name))?;
        }
        Ok(())
    })
}

fn chosen(names: &[String]) -> Result<Vec<Part>> {
    let mut parts = part::parts();
    let known: Vec<&str> = parts.iter().map(|part| part.name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!(
            "there is no part {unknown:?}; there are: {}",
            known.join(" ")
        );
    }
    parts.retain(|part| {
        let is_named = names.iter().any(|name| name == part.name);
        is_named || names.is_empty() && !SPECIAL.contains(&part.name)
    });
    Ok(parts)
}

/// Brings all modules that the part's packages need into Go's cache.
fn fetch(place: &Place, go: &Go, part: &Part) -> Result<()> {
    module::write(place, go, part)?;
    for step in &part.steps {
        let mut arguments = vec![
            "list",
            "-mod=mod",
            "-deps",
            "-f",
            "{{with .Error}}{{.}}{{end}}",
        ];
        arguments.extend(["-tags", step.tags]);
        if step.verb == Verb::Tests {
            arguments.push("-test");
        }
        arguments.extend(step.packages.iter().map(String::as_str));
        go.ask(&module::folder(place, part), &arguments)?;
    }
    Ok(())
}

fn make(place: &Place, go: &Go, part: &Part) -> Result<()> {
    let begin = Instant::now();
    let (bin, folder) = (place.bin(), module::folder(place, part));
    stamp::lift(place, part)?;
    for step in &part.steps {
        let into = bin.join(step.into);
        let parent = if step.into.contains('/') || step.into.is_empty() {
            &into
        } else {
            &bin
        };
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        let mut arguments = words(step);
        let packages = arguments.len() - step.packages.len();
        let output = ["-o".to_owned(), into.to_string_lossy().into_owned()];
        arguments.splice(packages..packages, output);
        go.run(&folder, &arguments, step.c)?;
    }
    if !part.kept.is_empty() {
        keep::keep(place, &go::module_folder(go, &folder, part.module)?)?;
    }
    stamp::set(place, part)?;
    say(format!(
        "built {} in {} s",
        part.name,
        begin.elapsed().as_secs()
    ));
    Ok(())
}

/// What `go` is told, but where to put the result.
fn words(step: &Step) -> Vec<String> {
    let verb: &[&str] = match step.verb {
        Verb::Build => &["build"],
        Verb::Tests => &["test", "-c", "-vet=off"],
    };
    // Nobody debugs these: without DWARF, a tenth of the time and a fifth of the cache are saved.
    let flags = [
        "-mod=mod",
        "-trimpath",
        "-buildvcs=false",
        "-gcflags=all=-dwarf=false",
    ];
    let mut words: Vec<String> = verb.iter().chain(&flags).map(ToString::to_string).collect();
    if !step.tags.is_empty() {
        words.push(format!("-tags={}", step.tags));
    }
    words.push(format!(
        "-ldflags={}",
        format!("-s -w {}", step.link).trim_end()
    ));
    words.extend(step.packages.iter().cloned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_which_only_a_file_is_left_is_not_there() {
        let root = std::env::temp_dir().join(format!("cluster-left-{}", std::process::id()));
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/e2e.test"), "").unwrap();
        let there = holds(&Place::at(&root), E2E);
        fs::remove_dir_all(&root).unwrap();
        assert!(!there);
    }

    fn names(asked: &[&str]) -> Vec<&'static str> {
        let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
        let parts = chosen(&asked).unwrap();
        parts.iter().map(|part| part.name).collect()
    }

    #[test]
    fn kubernetes_own_tests_and_helm_are_built_only_when_they_are_named() {
        for special in SPECIAL {
            assert!(!names(&[]).contains(&special));
            assert_eq!(names(&[special]), [special]);
        }
    }

    #[test]
    fn a_part_that_does_not_exist_is_answered_with_those_that_do() {
        let error = chosen(&["kubelet".to_owned()]).err().unwrap().to_string();
        assert!(
            error.contains("\"kubelet\"") && error.contains("kubernetes"),
            "{error}"
        );
    }

    #[test]
    fn a_step_with_a_c_compiler_and_tags_says_so_to_go() {
        let parts = chosen(&["runc".to_owned()]).unwrap();
        assert!(parts[0].steps[0].c);
        let words = words(&parts[0].steps[0]);
        assert!(words.contains(&"-tags=seccomp".to_owned()), "{words:?}");
        assert_eq!(words.last().unwrap(), parts[0].module);
    }
}
