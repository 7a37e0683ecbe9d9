//! Process 1 of a machine: makes the machine out of its namespaces, then keeps its daemons and reaps.
//!
//! It is started in fresh namespaces by `start`, tells its number on standard output, and waits on standard input for the
//! cable to the LAN. From then on it takes no orders: it ends when somebody pulls the plug.

mod control;
mod daemon;
mod node;
mod root;

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, Write};

use anyhow::{Context, Result, ensure};

use crate::machine::Machine;
use crate::{Place, cluster, lan};

pub(crate) use node::METRICS;

/// Is process 1 of a machine.
///
/// # Errors
/// When the machine cannot be made; otherwise it never ends.
pub fn init(place: &Place, name: &str) -> Result<Infallible> {
    ensure!(
        std::process::id() == 1,
        "this is for the cluster itself; to start one, type: cargo xtask cluster up"
    );
    let shape = cluster::shape(place)?;
    let machine = Machine::new(place, name);
    if name == lan::CONTROL {
        return control::run(place, &machine, shape);
    }
    node::run(place, &machine, shape)
}

/// Tells our number in the caller's pid namespace, whose /proc is still mounted, and waits for the cable.
fn handshake() -> Result<()> {
    let number = fs::read_link("/proc/self").context("read /proc/self")?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", number.display()).context("tell our number")?;
    stdout.flush().context("tell our number")?;
    let heard = std::io::stdin().lock().read_line(&mut String::new());
    ensure!(
        heard.context("wait for the cable")? > 0,
        "nobody has laid the cable"
    );
    Ok(())
}

/// Sets a sysctl, by its path below /proc/sys.
fn sysctl(key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{key}");
    fs::write(&path, value).with_context(|| format!("write {value} to {path}"))
}

/// Writes a file that the machine is configured by.
fn configure(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {path}"))
}

/// Things with a comma between them.
fn list<T: ToString>(things: &[T]) -> String {
    let texts: Vec<_> = things.iter().map(ToString::to_string).collect();
    texts.join(",")
}
