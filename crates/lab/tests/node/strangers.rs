//! Processes of other users: what of ours they cannot reach.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Attachment, Plugin};
use lab::walk::{Agent, Site};
use lab::{Lab, Node, programs};
use serde_json::json;

use super::{SOON, said};

const FOLDER: &str = "/run/podwire";
const LOCK: &str = "/run/podwire/agent.lock";
/// `nobody`, where users have numbers at all.
const STRANGER: u32 = 65534;

/// Whether the test's user namespace has that user; the one that a plain user makes has nobody but root.
fn has_strangers() -> Result<bool> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    for line in map.lines() {
        let numbers = line.split_whitespace().map(str::parse);
        let numbers = numbers.collect::<Result<Vec<u64>, _>>()?;
        let [first, _, count] = numbers[..] else {
            continue;
        };
        if (first..first + count).contains(&u64::from(STRANGER)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// No bit for anybody but the owner; and where there is anybody else, he is refused.
fn closed(node: &Node) -> Result<()> {
    for path in [FOLDER, LOCK] {
        let found = node.attempt(|| fs::metadata(path).context(path))?;
        let bits = found.mode() & 0o077;
        ensure!(bits == 0 && found.uid() == 0, "{path}: {:o}", found.mode());
    }
    if !has_strangers()? {
        return Ok(());
    }
    let user = format!("--reuid={STRANGER}");
    let group = format!("--regid={STRANGER}");
    let stranger = |words: &[&str]| {
        let options = [user.as_str(), group.as_str(), "--clear-groups"];
        let command = node.command("setpriv").args(options).args(words);
        command.output_within(SOON)
    };
    // He is there and can look around.
    stranger(&["ls", "/run"])?.ok()?;
    for words in [
        &["ls", FOLDER][..],
        &["cat", LOCK],
        &["flock", "--nonblock", "--shared", LOCK, "true"],
        &["tee", "--append", LOCK],
    ] {
        let refused = stranger(words)?;
        ensure!(
            !refused.status.success() && refused.stderr.contains("Permission denied"),
            "{words:?}: {refused:?}"
        );
    }
    Ok(())
}

/// Whoever could lock it would be taken for the agent, and could keep the agent from starting.
#[test]
fn nobody_else_can_take_the_agents_lock_whoever_of_us_came_first() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let programs = programs()?;
        let plugin = Plugin::new(programs.plugins.join("podwire"));
        let conf = json!({
            "cniVersion": "1.1.0", "name": "podwire", "type": "podwire",
            "ranges": ["10.244.0.0/24"], "network": ["10.244.0.0/16"],
        });
        for (side, plugin_first) in site.sides.iter().zip([true, false]) {
            let add = || -> Result<()> {
                let attachment = Attachment::of(&side.pods[0]);
                plugin.add(&side.node, &attachment, &conf)?.ok().map(drop)
            };
            if plugin_first {
                add()?;
            }
            let agent = Agent::start(&side.node, &programs)?;
            agent.ready(SOON)?;
            if !plugin_first {
                add()?;
            }
            let first = if plugin_first { "plugin" } else { "agent" };
            closed(&side.node).with_context(|| format!("the {first} came first"))?;
            // Root sees all of it.
            let listed = said(&side.node, &format!("ls {FOLDER}"))?;
            ensure!(listed.contains("agent.lock"), "{listed}");
        }
        Ok(())
    })
}
