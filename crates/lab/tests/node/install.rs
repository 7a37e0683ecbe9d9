//! `--install-plugin`: the plugin's file and the loopback's, put in place and renewed, and what others put there.

use std::fs;

use anyhow::{Context, Result, ensure};
use lab::walk::{Agent, Site};
use lab::{Lab, Node, Programs, programs};
use rustix::process::Signal;

use super::SOON;

/// In a folder of the node's own.
const PLUGINS: &str = "/var/lib/cni/bin";

/// An agent that has been ready and is ended.
fn installed(node: &Node, programs: &Programs) -> Result<()> {
    let agent = Agent::start_with(node, programs, &["--install-plugin", PLUGINS])?;
    agent.ready(SOON)?;
    agent.process.kill(Signal::TERM)?;
    agent.process.wait_within(SOON).map(drop)
}

/// What lies there, by name.
fn there(node: &Node) -> Result<Vec<(String, Vec<u8>)>> {
    node.attempt(|| {
        let mut files = Vec::new();
        for entry in fs::read_dir(PLUGINS).context(PLUGINS)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            files.push((name.into_owned(), fs::read(&path)?));
        }
        files.sort();
        Ok(files)
    })
}

fn put(node: &Node, name: &str, bytes: &[u8]) -> Result<()> {
    node.attempt(|| fs::write(format!("{PLUGINS}/{name}"), bytes).context("put a file there"))
}

#[test]
fn the_plugin_and_a_loopback_are_put_where_runtimes_look_and_renewed() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let programs = programs()?;
        let plugin = fs::read(&programs.plugin)?;
        let both = [
            ("loopback".to_owned(), plugin.clone()),
            ("podwire".to_owned(), plugin.clone()),
        ];
        installed(site.master(), &programs)?;
        ensure!(there(site.master())? == both, "at first");
        // Another version has the mark as well.
        let older = [plugin.as_slice(), b"older"].concat();
        for name in ["podwire", "loopback"] {
            put(site.master(), name, &older)?;
        }
        installed(site.master(), &programs)?;
        ensure!(there(site.master())? == both, "an older version is left");
        Ok(())
    })
}

#[test]
fn a_loopback_of_somebody_else_is_left_alone() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let programs = programs()?;
        site.master()
            .attempt(|| fs::create_dir_all(PLUGINS).context(PLUGINS))?;
        put(site.master(), "loopback", b"theirs")?;
        installed(site.master(), &programs)?;
        let names: Vec<_> = there(site.master())?;
        ensure!(names.len() == 2, "{} files", names.len());
        ensure!(names[0] == ("loopback".to_owned(), b"theirs".to_vec()));
        Ok(())
    })
}
