//! Peak memory of a plugin, as the kernel counted it (`VmHWM` in proc_pid_status(5)).
//!
//! The figure that wait4(2) gives would not do: it begins with the parent's. So the plugin's standard output is a pipe that
//! is full: when the plugin comes to write its answer, all its work is done and it has to wait, and there it is looked at.

use std::fs;
use std::io::{PipeWriter, Read as _, Write as _, pipe};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lab::Pod;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::contender::{Contender, Verb, connect};

/// How long an ADD may take to come to its answer.
const WITHIN: Duration = Duration::from_secs(5);

/// Peak memory of one ADD in bytes. To be run inside the node.
pub(crate) fn peak(contender: &Contender, pod: &Pod) -> Result<u64> {
    let (mut command, input) = contender.command(Verb::Add, pod, 0);
    drop(connect(&mut command, &input)?);
    let (mut answer, full) = pipe().context("make a pipe")?;
    fill(&full)?;
    command.stdout(full);
    let mut child = command.spawn().context("start a plugin")?;
    drop(command);
    let seen = wait_for_answer(&child).and_then(|()| high_water(child.id()));
    answer
        .read_to_end(&mut Vec::new())
        .context("read an answer")?;
    let status = child.wait().context("wait for a plugin")?;
    if !status.success() {
        bail!("{}: {status}", contender.name);
    }
    contender.call(Verb::Del, pod, 0)?;
    seen
}

fn fill(mut pipe: &PipeWriter) -> Result<()> {
    let flags = fcntl_getfl(pipe)?;
    fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
    while pipe.write(&[b' '; 4096]).is_ok() {}
    Ok(fcntl_setfl(pipe, flags)?)
}

fn wait_for_answer(child: &Child) -> Result<()> {
    let path = format!("/proc/{}/wchan", child.id());
    let deadline = Instant::now() + WITHIN;
    while Instant::now() < deadline {
        let place = fs::read_to_string(&path).unwrap_or_default();
        if place.contains("pipe_write") {
            return Ok(());
        }
        std::thread::yield_now();
    }
    bail!("it never came to its answer, or the kernel does not tell ({path})")
}

fn high_water(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let figure = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(figure.with_context(|| format!("no VmHWM in {path}"))? * 1024)
}
