//! `cargo xtask demo`: the hand-made demo, performed by the real programs on nodes made of namespaces.
//!
//! The walk is done twice: with the demo's own two `bash-cni` files, and with the conflist that `podwired` writes. Each time
//! every target is probed before and after. The report goes to standard output, progress to standard error; anything that
//! is not as it must be ends it with exit code 1. However it ends, Ctrl-C included, nothing of it stays.

mod perform;
mod report;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lab::{Lab, Programs};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What the bell rings when the work is done; a signal rings otherwise.
const DONE: u8 = b'.';
/// The shell's exit code for a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

struct Arguments {
    programs: Programs,
    keep: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            say(format!("demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments = arguments()?;
    let lab = Lab::new()?;
    let (mut ear, bell) = UnixStream::pair().context("make a pair of sockets")?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, bell.try_clone()?)
            .context("catch signals")?;
    }
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                perform::perform(&lab, &arguments.programs)
            }));
            ring(&bell);
            outcome
        });
        if hear(&mut ear)? != DONE {
            lab.close();
            // It ends soon: whatever it does next in a place that is gone is an error.
            drop(worker.join());
            say("demo: interrupted; nothing is left behind");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let walks = match worker.join().and_then(|outcome| outcome) {
            Ok(outcome) => {
                outcome.inspect_err(|_| drop(writeln!(std::io::stderr(), "{}", lab.explain())))?
            }
            Err(panic) => std::panic::resume_unwind(panic),
        };
        if arguments.keep {
            report::print(&report::doors(&walks))?;
            hear(&mut ear)?;
            lab.close();
            say("demo: nothing is left behind");
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn arguments() -> Result<Arguments> {
    let (mut bin, mut cni, mut keep) = (None, None, false);
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--bin") => bin = words.next().map(PathBuf::from),
            Some("--cni") => cni = words.next().map(PathBuf::from),
            Some("--keep") => keep = true,
            _ => bail!(
                "unknown argument {}; type: cargo xtask demo [--keep]",
                word.display()
            ),
        }
    }
    let programs = match (bin, cni) {
        (Some(bin), Some(cni)) => Programs::in_folders(&bin, &cni)?,
        _ => lab::programs()?,
    };
    Ok(Arguments { programs, keep })
}

fn ring(mut bell: &UnixStream) {
    // The other end lives as long as this program.
    drop(bell.write_all(&[DONE]));
}

fn hear(ear: &mut UnixStream) -> Result<u8> {
    let mut sound = [0];
    ear.read_exact(&mut sound).context("wait for a signal")?;
    Ok(sound[0])
}

/// A line of progress.
fn say(text: impl std::fmt::Display) {
    // Standard error may be closed; the exit code still tells.
    drop(writeln!(std::io::stderr(), "{text}"));
}
