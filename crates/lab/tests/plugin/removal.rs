//! DELs at the same time go together: links that are to go wait in one group and are removed with one request.
//!
//! Somebody's turn to remove is played by the test, which holds the lock until all that it wants to see are waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;

use anyhow::{Context, Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Pod, Process, watch};
use rustix::fs::FlockOperation;
use rustix::process::Signal;

use super::{Kind, Rig, SOON, said};

/// The turn, held by somebody else than a DEL.
struct Turn(File);

impl Turn {
    fn take(rig: &Rig) -> Result<Self> {
        let path = format!("/run/podwire/{}/removal", rig.network());
        rig.node.attempt(|| {
            let mut options = File::options();
            let file = options
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
            // Where there is no number yet, each of two that come at once may choose one.
            if file.metadata()?.len() == 0 {
                (&file).write_all(b"4711")?;
            }
            Ok(Self(file))
        })
    }

    fn give_up(self) {
        drop(self.0);
    }
}

/// Begins a DEL of each.
fn begin(rig: &Rig, pods: &[Pod]) -> Result<Vec<Process>> {
    let del = |pod| {
        let mut command = rig
            .node
            .command(rig.kind.path()?)
            .env("CNI_COMMAND", "DEL")
            .stdin(rig.conf.to_string());
        for (name, value) in Attachment::of(pod).environment() {
            command = command.env(name, value);
        }
        command.spawn()
    };
    pods.iter().map(del).collect()
}

/// Waits until each has succeeded.
fn end(dels: &[Process]) -> Result<()> {
    for del in dels {
        let output = del.finish_within(SOON)?.ok()?;
        ensure!(output.stdout.is_empty(), "{}", output.stdout);
    }
    Ok(())
}

fn kill(del: &Process) -> Result<()> {
    del.kill(Signal::KILL)?;
    del.wait_within(SOON).map(drop)
}

/// The groups of the links of pods, by the links' names.
fn groups(rig: &Rig) -> Result<Vec<(String, String)>> {
    let text = said(&rig.node, "ip -j link show")?;
    let links: serde_json::Value = serde_json::from_str(&text)?;
    let links = links.as_array().context("a list of links")?;
    let of = |link: &serde_json::Value| {
        let name = link["ifname"].as_str()?.to_owned();
        let group = link["group"].as_str()?.to_owned();
        name.starts_with("pw").then_some((name, group))
    };
    Ok(links.iter().filter_map(of).collect())
}

/// Waits until so many links of pods have been seen in a group, and says in which ones. On a slow machine the first may have
/// gone alone before the last one comes.
fn waiting(rig: &Rig, count: usize) -> Result<BTreeSet<String>> {
    let what = format!("{count} links in a group");
    let mut seen = BTreeMap::new();
    watch::until(&rig.node, &what, &[], SOON, || {
        let grouped = groups(rig)?.into_iter();
        seen.extend(grouped.filter(|(_, group)| group != "default"));
        Ok((seen.len() == count).then(|| seen.values().cloned().collect()))
    })
}

fn pods(rig: &Rig, count: usize) -> Result<Vec<Pod>> {
    (0..count)
        .map(|number| Ok(rig.pod(&format!("p{number}"))?.0))
        .collect()
}

#[test]
fn dels_at_once_wait_in_one_group_and_take_nobody_elses_link_along() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pods = pods(&rig, 8)?;
            let (stays, _) = rig.pod("stays")?;
            said(&rig.node, "ip link add mine type bridge")?;
            said(&rig.node, "ip link add yours group 7 type bridge")?;
            let turn = Turn::take(&rig)?;
            let dels = begin(&rig, &pods)?;
            let groups = waiting(&rig, pods.len())?;
            ensure!(groups.len() == 1, "one group: {groups:?}");
            turn.give_up();
            end(&dels)?;
            ensure!(rig.records()?.len() == 1, "{:?}", rig.records()?);
            for link in ["mine", "yours"] {
                said(&rig.node, &format!("ip link show {link}"))?;
            }
            rig.del(&stays)?;
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_next_storm_has_another_group() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let mut seen = BTreeSet::new();
        let pods = pods(&rig, 2)?;
        for _ in 0..3 {
            rig.add(&pods[0])?;
            rig.add(&pods[1])?;
            let turn = Turn::take(&rig)?;
            let dels = begin(&rig, &pods)?;
            seen.extend(waiting(&rig, 2)?);
            turn.give_up();
            end(&dels)?;
        }
        ensure!(seen.len() == 3 && !seen.contains("default"), "{seen:?}");
        Ok(())
    })
}

#[test]
fn who_is_killed_while_waiting_hinders_nobody_and_his_del_comes_again() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let pods = pods(&rig, 4)?;
        let turn = Turn::take(&rig)?;
        let dels = begin(&rig, &pods)?;
        waiting(&rig, pods.len())?;
        kill(&dels[0])?;
        turn.give_up();
        end(&dels[1..])?;
        ensure!(rig.records()?.len() == 1, "{:?}", rig.records()?);
        rig.del(&pods[0])?;
        ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
        Ok(())
    })
}

#[test]
fn somebody_who_is_stopped_at_his_turn_hinders_nobody() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let pods = pods(&rig, 3)?;
        let _turn = Turn::take(&rig)?;
        let dels = begin(&rig, &pods)?;
        end(&dels)?;
        ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
        Ok(())
    })
}

#[test]
fn a_pod_that_is_added_again_after_a_killed_del_is_not_taken_along_by_anothers() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let pods = pods(&rig, 3)?;
        let turn = Turn::take(&rig)?;
        let killed = begin(&rig, &pods[..1])?;
        waiting(&rig, 1)?;
        kill(&killed[0])?;
        turn.give_up();
        let result = rig.add(&pods[0])?;
        let turn = Turn::take(&rig)?;
        let dels = begin(&rig, &pods[1..])?;
        waiting(&rig, 2)?;
        turn.give_up();
        end(&dels)?;
        rig.check(&Attachment::of(&pods[0]), &result)?.ok()?;
        rig.del(&pods[0])?;
        ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
        Ok(())
    })
}

#[test]
fn a_number_that_makes_no_sense_is_replaced() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let pods = pods(&rig, 1)?;
        for text in ["0", "default", "4294967296", "-1", "\u{1f980}"] {
            rig.node
                .attempt(|| Ok(fs::write("/run/podwire/podwire/removal", text)?))?;
            let turn = Turn::take(&rig)?;
            let dels = begin(&rig, &pods)?;
            let groups = waiting(&rig, 1)?;
            ensure!(!groups.contains("default") && !groups.contains(text));
            turn.give_up();
            end(&dels)?;
            rig.add(&pods[0])?;
        }
        Ok(())
    })
}
