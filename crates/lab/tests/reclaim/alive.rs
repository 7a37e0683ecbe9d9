//! Pods that live, whatever somebody did to them: their records stay while others' go.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::plugin::Attachment;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;
use serde_json::json;

use super::{FOLDER, SOON, Scene, findings, link, run, said};

/// A `/proc` of other processes; the node's boot id lies in it and must stay.
const ELSEWHERE: &str = "cat /proc/sys/kernel/random/boot_id > /run/id && mount -t proc proc /proc && \
    mount --bind /run/id /proc/sys/kernel/random/boot_id && exec $0 leaks";

#[test]
fn live_pods_keep_their_records_with_their_link_renamed_gone_or_down() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let pods = ["whole", "renamed", "cut", "down"].map(|name| scene.pod(name));
        let _alive = pods.into_iter().collect::<Result<Vec<_>>>()?;
        let names = [link(scene.node(), "renamed")?, link(scene.node(), "cut")?];
        let down = link(scene.node(), "down")?;
        run(scene.node(), &format!("ip link set {} down", names[0]))?;
        run(scene.node(), &format!("ip link set {} name web", names[0]))?;
        run(scene.node(), &format!("ip link del {}", names[1]))?;
        run(scene.node(), &format!("ip link set {down} down"))?;
        let before = scene.records()?;
        ensure!(before.len() == 4, "{before:?}");
        scene.witness()?;
        ensure!(scene.records()? == before, "{:?}", scene.records()?);
        ensure!(scene.leases()?.len() == 8, "{:?}", scene.leases()?);
        said(&scene.leaks(&[])?, 0, &["0 leaks\n"])
    })
}

#[test]
fn a_namespace_that_only_a_process_holds_is_told_and_not_reclaimed_before_the_process_ends()
-> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let pod = scene.pod("held")?;
        let _seen = scene.pod("seen")?;
        let process = pod.command("sleep").arg("infinity").spawn()?;
        scene.node().attempt(|| {
            unmount(pod.path(), UnmountFlags::DETACH)?;
            Ok(std::fs::remove_file(pod.path())?)
        })?;
        scene.witness()?;
        ensure!(scene.records()?.len() == 2, "{:?}", scene.records()?);
        let told = "pods are gone, but their links stand: default/held";
        scene.agent.status(SOON, told, |status| {
            findings(status).contains(told) && status["leaks"][0]["kind"] == "stranded"
        })?;
        let stands = format!("link {} stands", link(scene.node(), "held")?);
        said(
            &scene.leaks(&[])?,
            1,
            &["default/held", &stands, "(for ", "1 leak\n"],
        )?;
        process.kill(Signal::KILL)?;
        process.wait_within(SOON)?;
        // The laboratory holds it as well, and its path is gone already.
        ensure!(pod.destroy().is_err());
        scene.gone("held")
    })
}

#[test]
fn a_pod_whose_namespace_is_named_by_a_process_lives_as_long_as_the_process() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let pod = scene.node().pod("proc")?;
        let process = pod.command("sleep").arg("infinity").spawn()?;
        let mut attachment = Attachment::of(&pod);
        attachment.netns = format!("/proc/{}/ns/net", process.pid());
        scene.add(&attachment, &json!([]))?;
        scene.witness()?;
        ensure!(scene.records()?.len() == 1, "{:?}", scene.records()?);
        // From where processes have other numbers, a dead one cannot be told from a live one.
        let elsewhere = || {
            let command = scene.node().command("unshare");
            let command = command.args(["--pid", "--fork", "--mount", "sh", "-c", ELSEWHERE]);
            let command = command.arg(&scene.programs.tool);
            command.output_within(SOON)
        };
        said(&elsewhere()?, 0, &["0 leaks\n"])?;
        scene.agent.process.kill(Signal::STOP)?;
        process.kill(Signal::KILL)?;
        process.wait_within(SOON)?;
        scene.die(&pod)?;
        said(&elsewhere()?, 2, &["name processes", "0 leaks\n"])?;
        said(&scene.leaks(&[])?, 1, &["default/proc", "1 leak\n"])?;
        scene.agent.process.kill(Signal::CONT)?;
        scene.gone("proc")
    })
}

#[test]
fn a_record_that_somebody_works_on_stays() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let pod = scene.pod("busy")?;
        let path = format!("{FOLDER}/attachments/k8s-master-busy@eth0");
        let record = scene
            .node()
            .attempt(|| File::open(&path).context("record"))?;
        record.lock()?;
        pod.destroy()?;
        scene.witness()?;
        ensure!(scene.records()? == ["k8s-master-busy@eth0"]);
        said(&scene.leaks(&[])?, 0, &["0 leaks\n"])?;
        record.unlock()?;
        scene.witness()?;
        scene.gone("busy")
    })
}

/// It stops where its record is there and nothing else of it: at the first message to the kernel after that.
#[test]
fn a_pod_that_is_just_being_added_stays() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let pod = scene.node().pod("slow")?;
        let mut command = scene.node().command("strace").args([
            "-f",
            "-qq",
            "-o",
            "/run/trace",
            "-e",
            "trace=linkat",
            "-e",
            "inject=linkat:signal=STOP:when=1",
            "--",
        ]);
        command = command.arg(scene.programs.plugins.join("podwire"));
        command = command.env("CNI_COMMAND", "ADD");
        for (name, value) in Attachment::of(&pod).environment() {
            command = command.env(name, value);
        }
        let adding = command.stdin(scene.conf.to_string()).spawn()?;
        let record = format!("{FOLDER}/attachments/k8s-master-slow@eth0");
        lab::watch::until(scene.node(), "the record", &[&record], SOON, || {
            Ok(std::fs::exists(&record)?.then_some(()))
        })?;
        scene.witness()?;
        ensure!(scene.records()? == ["k8s-master-slow@eth0"]);
        said(&scene.leaks(&[])?, 0, &["0 leaks\n"])?;
        adding.kill(Signal::KILL)?;
        Ok(())
    })
}
