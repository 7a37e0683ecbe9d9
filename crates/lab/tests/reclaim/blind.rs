//! An agent or a tool that cannot see: it says so and reclaims nothing.

use anyhow::{Result, ensure};
use lab::walk::Agent;
use lab::{Lab, Process};
use rustix::process::Signal;

use super::{GRACE, SOON, Scene, findings, run, said};

const NODES_FILE: &str = lab::walk::NODES_FILE;

/// Ends the scene's agent and starts one in mounts of its own.
fn apart(scene: &Scene, propagation: &str) -> Result<Process> {
    scene.agent.process.kill(Signal::KILL)?;
    scene.agent.process.wait_within(SOON)?;
    let command = scene.node().command("unshare");
    let command = command.args(["--mount", "--propagation", propagation]);
    let command = command.arg(&scene.programs.agent);
    let command = command.args(["--nodes", NODES_FILE, "--node", "k8s-master"]);
    let agent = command.args(["--grace", GRACE]).spawn()?;
    agent.wait_for_line("ready: ", SOON)?;
    Ok(agent)
}

#[test]
fn an_agent_without_the_nodes_mounts_reclaims_nothing_and_says_so() -> Result<()> {
    Lab::scenario(|lab| {
        let mut scene = Scene::new(lab)?;
        let blind = apart(&scene, "private")?;
        let lives = scene.pod("lives")?;
        scene.die(&scene.pod("dead")?)?;
        let told = "the node's mounts below /run/netns do not come here";
        blind.wait_for_line(told, SOON)?;
        let file = "/run/podwire/status.json";
        lab::watch::until(scene.node(), told, &[file], SOON, || {
            let status = serde_json::from_str(&std::fs::read_to_string(file)?)?;
            let told = findings(&status);
            let both =
                told.contains("k8s-master-dead@eth0") && told.contains("k8s-master-lives@eth0");
            Ok(both.then_some(()))
        })?;
        // The same from the tool; on the node itself it sees.
        let inside = scene.node().command("unshare");
        let inside = inside.args(["--mount", "--propagation", "private"]);
        let inside = inside.arg(&scene.programs.tool).arg("leaks");
        said(&inside.output_within(SOON)?, 2, &[told, "0 leaks\n"])?;
        said(&scene.leaks(&[])?, 1, &["default/dead", "1 leak\n"])?;
        ensure!(scene.records()?.len() == 2, "{:?}", scene.records()?);
        blind.kill(Signal::KILL)?;
        blind.wait_within(SOON)?;
        scene.agent = Agent::start_with(scene.site.master(), &scene.programs, &["--grace", GRACE])?;
        scene.gone("dead")?;
        ensure!(scene.records()? == ["k8s-master-lives@eth0"]);
        drop(lives);
        Ok(())
    })
}

#[test]
fn an_agent_to_which_the_nodes_mounts_come_sees_pods_that_are_younger_than_itself() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        run(scene.node(), "mount --make-shared /run")?;
        let agent = apart(&scene, "slave")?;
        let _lives = scene.pod("lives")?;
        scene.pod("dead")?.destroy()?;
        agent.wait_for_line("reclaimed podwire/k8s-master-dead@eth0", SOON)?;
        ensure!(scene.records()? == ["k8s-master-lives@eth0"]);
        Ok(())
    })
}

#[test]
fn from_another_network_namespace_nothing_is_called_a_leak() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let _lives = scene.pod("lives")?;
        scene.agent.process.kill(Signal::STOP)?;
        scene.die(&scene.pod("dead")?)?;
        let outside = scene.node().command("unshare").arg("--net");
        let outside = outside.arg(&scene.programs.tool).args(["leaks", "--json"]);
        let output = outside.output_within(SOON)?;
        said(&output, 2, &["\"leaks\": []", "\"cause\": \"network\""])?;
        let all = output.stdout.matches("\"cause\"").count();
        // The live pod's namespace is seen at its path from everywhere.
        ensure!(
            all == 1 && output.stdout.contains("dead@eth0"),
            "{output:?}"
        );
        Ok(())
    })
}
