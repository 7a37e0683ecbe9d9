//! `podwire`, the operator's tool: shows what a node's agent and plugin have done, and what is wrong.
//!
//! It reads and changes nothing, but for `uninstall`. Exit code 0: all is well; 1: something is wrong, or could not be read or
//! done; 2: wrong usage. What could not be read is 2 for `leaks`, whose 1 means that there are some.

mod leaks;
mod status;
mod uninstall;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Podwire, a Kubernetes pod network: look at this node
#[derive(Debug, Parser)]
#[command(version, name = "podwire")]
struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the node: its agent, ranges, pods, ways to other nodes, and what is wrong
    Status {
        /// One JSON object, see docs/status.md
        #[arg(long)]
        json: bool,

        /// Folder of Podwire's state
        #[arg(long, value_name = "DIR", default_value = host::store::ROOT)]
        run_dir: PathBuf,
    },
    /// Take Podwire off this node, when its agent and its pods are gone; see docs/install.md
    Uninstall(uninstall::Options),

    /// Show what pods that have ended have left, and remove nothing. Exit code 0: nothing; 1: something; 2: it cannot be
    /// seen
    Leaks {
        /// One JSON object, see docs/leaks.md
        #[arg(long)]
        json: bool,

        /// Folder of Podwire's state
        #[arg(long, value_name = "DIR", default_value = host::store::ROOT)]
        run_dir: PathBuf,
    },
}

/// `podwire leaks` could not look.
const BLIND: u8 = 2;

fn main() -> ExitCode {
    let (done, failed) = match Args::parse().verb {
        None => {
            let help = Args::command().render_help().to_string();
            (print(&help).map(|()| ExitCode::SUCCESS), ExitCode::FAILURE)
        }
        Some(Verb::Status { json, run_dir }) => (show(json, &run_dir), ExitCode::FAILURE),
        Some(Verb::Leaks { json, run_dir }) => (leaks(json, &run_dir), BLIND.into()),
        Some(Verb::Uninstall(options)) => (uninstall::uninstall(&options), ExitCode::FAILURE),
    };
    done.unwrap_or_else(|error| {
        // Where stderr is closed, too, the exit code still tells.
        drop(writeln!(io::stderr(), "podwire: {error:#}"));
        failed
    })
}

fn show(json: bool, run: &std::path::Path) -> Result<ExitCode> {
    let status = status::gather(run).context("the node's state could not be read")?;
    let text = if json {
        status::json(&status)
    } else {
        status::human(&status)
    };
    print(&text)?;
    // A node without Podwire is well; a folder that somebody named and that is not there is a mistake.
    let mistaken = status.absent.is_some() && run != std::path::Path::new(host::store::ROOT);
    Ok(if status.findings.is_empty() && !mistaken {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn leaks(json: bool, run: &std::path::Path) -> Result<ExitCode> {
    let view = leaks::gather(run).context("what is left could not be looked for")?;
    let text = if json {
        leaks::json(&view)
    } else {
        leaks::human(&view)
    };
    print(&text)?;
    let mistaken = view.absent.is_some() && run != std::path::Path::new(host::store::ROOT);
    Ok(if !view.leaks.is_empty() {
        ExitCode::FAILURE
    } else if view.is_blind() || mistaken {
        BLIND.into()
    } else {
        ExitCode::SUCCESS
    })
}

/// Writes to stdout. A reader that has seen enough is no error.
fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("write to stdout"),
    }
}
