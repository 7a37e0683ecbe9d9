//! The project's commands: `cargo xtask demo | test | check | bench | cluster | suites | dist | image`.
//!
//! One file a verb, and beside them what they share: `shell` runs a command and shows it, `install` fetches what a verb
//! lacks, `namespaces` finds out how to enter fresh ones, `workspace` knows where things are. Nothing of Podwire itself
//! is in here, and nothing in here is needed to build or run Podwire: every verb prints the plain commands that it runs.

mod bench;
mod check;
mod cluster;
mod demo;
mod dist;
mod image;
mod install;
mod machine;
mod namespaces;
mod shell;
mod suites;
mod test;
mod tidy;
mod workspace;

#[cfg(test)]
mod scratch;

use std::env;
use std::process::ExitCode;

use anyhow::Result;

use crate::shell::say;

struct Verb {
    name: &'static str,
    arguments: &'static str,
    does: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const VERBS: &[Verb] = &[
    Verb {
        name: "demo",
        arguments: "[--keep]",
        does: "two nodes of namespaces, their pods, and every ping before and after",
        run: demo::run,
    },
    Verb {
        name: "test",
        arguments: "[--pure] [NAME...] [cargo test flags]",
        does: "all tests, or those whose name contains NAME; --pure: only model and plan",
        run: test::run,
    },
    Verb {
        name: "check",
        arguments: "[STEP...]",
        does: "format, lints, edges and sizes, no_std, documentation, licences",
        run: check::run,
    },
    Verb {
        name: "bench",
        arguments: "[--quick] [--reference DIR] [--json FILE] [--check]",
        does: "ADD and DEL beside the kernel's floor, and beside the plugins in DIR; all figures into FILE; with --check budgets decide",
        run: bench::run,
    },
    Verb {
        name: "cluster",
        arguments: "VERB [ARGUMENTS]",
        does: "a real Kubernetes cluster on this machine; without a VERB it lists them",
        run: cluster::run,
    },
    Verb {
        name: "suites",
        arguments: "[NAME...]",
        does: "other projects' tests against the plugin under the reference plugins' names; all, or those whose name contains NAME",
        run: suites::run,
    },
    Verb {
        name: "dist",
        arguments: "[--target x86_64|aarch64]",
        does: "static release binaries in dist/bin, the plugin under all its names in dist/cni",
        run: dist::run,
    },
    Verb {
        name: "image",
        arguments: "[--target x86_64|aarch64]",
        does: "Podwire's container image as a file in dist, for podman, docker and containerd",
        run: image::run,
    },
];

/// The shell's convention for a command that was called wrongly.
const CALLED_WRONGLY: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let asked = arguments.first().map(String::as_str);
    if matches!(asked, Some("help" | "-h" | "--help")) {
        say(usage());
        return ExitCode::SUCCESS;
    }
    let Some(verb) = VERBS.iter().find(|verb| Some(verb.name) == asked) else {
        if let Some(unknown) = asked {
            say(format!("xtask: there is no verb {unknown:?}"));
        }
        say(usage());
        return ExitCode::from(CALLED_WRONGLY);
    };
    match (verb.run)(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format!("xtask {}: {error:#}", verb.name));
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask VERB [ARGUMENTS]\n");
    for verb in VERBS {
        let call = format!("{} {}", verb.name, verb.arguments);
        text.push_str(&format!("\n  {}\n      {}", call.trim_end(), verb.does));
    }
    text
}
