//! Clocks that jump: a machine that is resumed or moved has others than when its records were written.
//!
//! What counts the time since the boot is shifted by a time namespace, see time_namespaces(7). The wall clock has none; it is a
//! lint (clippy.toml) that keeps it out of what podwired decides.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use lab::plugin::{Attachment, Plugin};
use lab::{Command, Lab, stream};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{GRACE, SOON, Scene, said};

/// Ten days, in seconds.
const LATER: &str = "864000";
/// Then all that is done here seems to be done in the future. Much more would be before the boot, which no clock can be.
const EARLIER: &str = "-30";
const RATE: u32 = 1000;

#[test]
fn an_agent_whose_clocks_have_jumped_keeps_live_pods_and_reclaims_dead_ones() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let [from, to] = [scene.pod("from")?, scene.pod("to")?];
        let target: SocketAddr = "10.244.0.3:7000".parse()?;
        let stream = stream::start(&from, &to, target, RATE)?;
        scene.agent.process.kill(Signal::TERM)?;
        scene.agent.process.wait_within(SOON)?;
        for offset in [LATER, EARLIER] {
            let agent = shifted(&scene, offset, &scene.programs.agent.display().to_string())
                .args([
                    "--nodes",
                    lab::walk::NODES_FILE,
                    "--node",
                    scene.node().name(),
                ])
                .args(["--grace", GRACE])
                .spawn()?;
            agent.wait_for_line("ready: ", SOON)?;
            // Reclaimed by this agent, hence it has looked at the live ones as well, under its clocks.
            scene.witness()?;
            ensure!(scene.records()?.len() == 2, "{:?}", scene.records()?);
            said(&scene.leaks(&[])?, 0, &["0 leaks\n"])?;
            agent.kill(Signal::KILL)?;
            agent.wait_within(SOON)?;
        }
        let tally = stream.finish()?;
        ensure!(tally.sent > 0 && tally.lost() == 0, "{tally:?}");
        Ok(())
    })
}

#[test]
fn a_pod_that_was_attached_in_the_future_has_no_age_and_goes_as_every_other() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let pods = ["detached", "dead", "lives"].map(|name| scene.node().pod(name));
        let pods = pods.into_iter().collect::<Result<Vec<_>>>()?;
        for pod in &pods {
            attach_in_the_future(&scene, &Attachment::of(pod))?;
        }
        let tool = scene.node().command(&scene.programs.tool);
        let output = tool.args(["status", "--json"]).output_within(SOON)?;
        let status: Value = serde_json::from_str(&output.stdout)?;
        let told = status["networks"][0]["attachments"].as_array();
        let ages: Vec<_> = told
            .into_iter()
            .flatten()
            .map(|pod| &pod["age_seconds"])
            .collect();
        ensure!(ages == [&json!(0); 3], "{ages:?}");
        said(&scene.leaks(&[])?, 0, &["0 leaks\n"])?;

        let plugin = Plugin::new(scene.programs.plugins.join("podwire"));
        let [detached, dead, _] = &pods[..] else {
            bail!("three pods");
        };
        plugin
            .del(scene.node(), &Attachment::of(detached), &scene.conf)?
            .ok()?;
        scene.gone("detached")?;
        // Until the agent has reclaimed it, it is a leak, and for a time that people believe.
        scene.agent.process.kill(Signal::STOP)?;
        scene.die(dead)?;
        let output = scene.leaks(&["--json"])?;
        said(
            &output,
            1,
            &["k8s-master-dead@eth0", "\"for_seconds\": null"],
        )?;
        scene.agent.process.kill(Signal::CONT)?;
        scene.gone("dead")?;
        scene.witness()?;
        ensure!(
            scene.records()? == ["k8s-master-lives@eth0"],
            "{:?}",
            scene.records()?
        );
        said(&scene.leaks(&[])?, 0, &["0 leaks\n"])
    })
}

fn attach_in_the_future(scene: &Scene, attachment: &Attachment) -> Result<()> {
    let plugins = &scene.programs.plugins;
    let plugin = plugins.join("podwire").display().to_string();
    let mut command = shifted(scene, LATER, &plugin)
        .env("CNI_COMMAND", "ADD")
        .env("CNI_PATH", plugins)
        .stdin(scene.conf.to_string());
    for (name, value) in attachment.environment() {
        command = command.env(name, value);
    }
    let output = command.output_within(SOON)?.ok()?;
    let result: Value = serde_json::from_str(&output.stdout)?;
    ensure!(result["ips"][0]["address"].is_string(), "{result}");
    Ok(())
}

/// A program whose clocks since the boot are ahead by so many seconds, or behind.
fn shifted<'a>(scene: &'a Scene, seconds: &str, program: &str) -> Command<'a> {
    let command = scene.node().command("unshare");
    command.args(["--time", "--fork", "--kill-child"]).args([
        "--monotonic",
        seconds,
        "--boottime",
        seconds,
        "--",
        program,
    ])
}
