//! `cluster VERB`: what `cargo xtask cluster` delegates to.
//!
//! It only reads arguments and reports errors; what a verb does stands in the library, one module a verb.

use std::env;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use cluster::{Place, build, image};

struct Verb {
    name: &'static str,
    arguments: &'static str,
    does: &'static str,
    run: fn(&Place, &[String]) -> Result<()>,
}

const VERBS: &[Verb] = &[Verb {
    name: "build",
    arguments: "[PART...]",
    does: "the programs from their Go modules, and the images",
    run: |place, parts| {
        build::build(place, parts)?;
        image::others(place)
    },
}];

/// The shell's convention for a command that was called wrongly.
const CALLED_WRONGLY: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let asked = arguments.first().map(String::as_str);
    let Some(verb) = VERBS.iter().find(|verb| Some(verb.name) == asked) else {
        say(usage());
        return ExitCode::from(CALLED_WRONGLY);
    };
    match Place::find().and_then(|place| (verb.run)(&place, &arguments[1..])) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format!("cluster {}: {error:#}", verb.name));
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let mut text = String::from("usage: cluster VERB [ARGUMENTS]\n");
    for verb in VERBS {
        let call = format!("{} {}", verb.name, verb.arguments);
        text.push_str(&format!("\n  {}\n      {}", call.trim_end(), verb.does));
    }
    text
}

/// A line of progress.
fn say(text: impl std::fmt::Display) {
    // Standard error may be closed; the exit code still tells.
    drop(writeln!(std::io::stderr(), "{text}"));
}
