//! Kills a plugin at each of its system calls, one after another, and looks what is left when the runtime has gone on.
//!
//! `strace` kills it when it enters its N-th call of a name, for every name and N, until it survives; of the programs that it
//! starts each counts for itself. What is prepared, what follows and what may be left, the scene says.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Node, Output};

const SIGKILL: i32 = 9;
/// No call is repeated so often by one run.
const MOST: usize = 2000;
const SOON: Duration = Duration::from_secs(20);

/// Of all walks that this process has done.
static TOTAL: Mutex<(usize, usize)> = Mutex::new((0, 0));

/// A call that is killed, and what is around it.
pub(crate) trait Scene {
    fn node(&self) -> &Node;

    fn program(&self) -> Result<PathBuf>;

    /// The call's variables, `CNI_COMMAND` among them.
    fn environment(&self) -> Vec<(&'static str, String)>;

    /// The call's standard input.
    fn input(&self) -> String;

    /// Brings about the state that the call begins in.
    fn prepare(&self) -> Result<()>;

    /// What is there right after a kill.
    fn remains(&self) -> Result<Vec<String>>;

    /// What the runtime does then.
    fn follow(&self) -> Result<()>;

    /// What must not be there after that.
    fn left(&self) -> Result<Vec<String>>;

    /// Takes away what has leaked, so that the walk can go on.
    fn clean(&self) -> Result<()>;
}

/// What a walk came to.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    pub(crate) kills: usize,
    /// Kills that left something for the next call.
    pub(crate) remains: usize,
}

/// Walks, says what it came to, and fails if anything has leaked.
pub(crate) fn walk(what: &str, scene: &dyn Scene) -> Result<Walked> {
    let mut walked = Walked::default();
    let mut leaks = Vec::new();
    for name in names(scene)? {
        for number in 1..=MOST {
            scene.prepare()?;
            let traced = format!("--trace={name}");
            let inject = format!("--inject={name}:signal=SIGKILL:when={number}");
            // Not with --seccomp-bpf, where a stop at a call's entry delivers no signal.
            let output = run(scene, &["-o", "/run/kills", &traced, &inject])?;
            let killed = output.status.signal() == Some(SIGKILL)
                || (!output.status.success() && has_killed(scene)?);
            if killed {
                walked.kills += 1;
                let there = scene.remains();
                let there = there.with_context(|| format!("after {inject}"))?;
                walked.remains += usize::from(!there.is_empty());
            } else {
                output.ok().with_context(|| inject.clone())?;
            }
            scene.follow().with_context(|| format!("after {inject}"))?;
            let left = scene.left()?;
            if !left.is_empty() {
                leaks.push(format!("{inject}: {left:?}"));
                scene.clean()?;
            }
            if !killed {
                break;
            }
            ensure!(number < MOST, "{name} does not end");
        }
    }
    let (kills, leaked) = {
        let mut total = TOTAL.lock().map_err(|_| anyhow::anyhow!("a panic"))?;
        total.0 += walked.kills;
        total.1 += leaks.len();
        *total
    };
    println!(
        "{what}: kills {} (after {} something was there), leaks {}; in all so far: kills {kills}, leaks {leaked}",
        walked.kills,
        walked.remains,
        leaks.len()
    );
    ensure!(leaks.is_empty(), "{}", leaks.join("\n"));
    Ok(walked)
}

/// The names of the calls that one run makes, those of programs that it starts included.
fn names(scene: &dyn Scene) -> Result<BTreeSet<String>> {
    scene.prepare()?;
    run(scene, &["-o", "/run/trace"])?.ok()?;
    scene.follow()?;
    let trace = trace(scene, "/run/trace")?;
    let names = trace.lines().filter_map(|line| {
        let (name, _) = line.split_whitespace().nth(1)?.split_once('(')?;
        Some(name.to_owned())
    });
    // Nothing of it can be killed before it has begun.
    let names: BTreeSet<String> = names.filter(|name| name != "execve").collect();
    ensure!(names.contains("openat"), "{names:?}");
    Ok(names)
}

/// Whether a program was killed that the plugin has started: then its last call has no result.
fn has_killed(scene: &dyn Scene) -> Result<bool> {
    let trace = trace(scene, "/run/kills")?;
    Ok(trace.lines().any(|line| line.ends_with("= ?")))
}

fn trace(scene: &dyn Scene, path: &str) -> Result<String> {
    scene
        .node()
        .attempt(|| fs::read_to_string(path).with_context(|| path.to_owned()))
}

/// Runs the call under `strace` with these options.
fn run(scene: &dyn Scene, options: &[&str]) -> Result<Output> {
    let mut command = scene
        .node()
        .command("strace")
        .args(["-f", "-qq", "-e", "signal=none"])
        .args(options)
        .arg("--")
        .arg(scene.program()?);
    for (name, value) in scene.environment() {
        command = command.env(name, value);
    }
    command.stdin(scene.input()).output_within(SOON)
}
