//! Pods that are dead: everything goes, after the grace time and not before.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::Lab;
use lab::plugin::Attachment;
use serde_json::json;

use super::{FOLDER, SOON, Scene, findings, run, said};

#[test]
fn a_pod_that_ended_without_a_del_is_reclaimed_after_the_grace_time_with_its_ports() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let pod = scene.node().pod("web")?;
        let ports = json!([{"hostPort": 8080, "containerPort": 80},
            {"hostPort": 53, "containerPort": 53, "protocol": "udp"}]);
        scene.add(&Attachment::of(&pod), &ports)?;
        scene.pod("lives")?;
        ensure!(run(scene.node(), "nft list ruleset")?.contains("8080"));
        let mark = scene.agent.mark();
        let died = Instant::now();
        pod.destroy()?;
        scene.gone("web")?;
        ensure!(
            died.elapsed() >= Duration::from_secs(1),
            "{:?}",
            died.elapsed()
        );
        let told = "reclaimed podwire/k8s-master-web@eth0 of pod default/web, dead, with 10.244.0.2, fd00:10:244::2";
        scene.agent.process.wait_for_line_after(mark, told, SOON)?;
        let status = scene
            .agent
            .status(SOON, "the count of what was reclaimed", |status| {
                status["reclaimed"] == 1
            })?;
        ensure!(status["leaks"] == json!([]), "{status:#}");
        ensure!(scene.records()? == ["k8s-master-lives@eth0"]);
        ensure!(scene.leases()? == ["10.244.0.3", "fd00:10:244::3"]);
        let ruleset = run(scene.node(), "nft list ruleset")?;
        ensure!(!ruleset.contains("8080"), "{ruleset}");
        said(&scene.leaks(&[])?, 0, &["0 leaks\n"])
    })
}

#[test]
fn a_plain_file_in_the_place_of_a_namespace_is_no_pod() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        scene.pod("web")?.destroy()?;
        scene
            .node()
            .attempt(|| Ok(std::fs::write("/run/netns/web", "")?))?;
        scene.gone("web")
    })
}

#[test]
fn a_path_that_has_come_to_mean_another_namespace_is_no_pod() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let pod = scene.node().pod("web")?;
        scene.add(&Attachment::of(&pod), &json!([]))?;
        // While it is held, no other one gets its number.
        let other = scene.node().pod("other")?;
        pod.destroy()?;
        scene.node().attempt(|| {
            std::fs::write("/run/netns/web", "")?;
            Ok(rustix::mount::mount_bind(other.path(), "/run/netns/web")?)
        })?;
        scene.gone("web")
    })
}

/// The folder is in the way of whoever wants to lock a record of that name.
#[test]
fn what_cannot_be_looked_at_is_told_and_keeps_nothing_else_from_being_reclaimed() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let pods = ["x", "y"].map(|name| scene.pod(name));
        let folder = format!("{FOLDER}/attachments/aaa@eth0");
        scene.node().attempt(|| Ok(std::fs::create_dir(&folder)?))?;
        let mark = scene.agent.mark();
        for pod in pods {
            pod?.destroy()?;
        }
        for name in ["x", "y"] {
            scene.gone(name)?;
            let told = format!("reclaimed podwire/k8s-master-{name}@eth0");
            scene.agent.process.wait_for_line_after(mark, &told, SOON)?;
        }
        let what = "aaa@eth0: Is a directory";
        let status = scene.agent.status(SOON, what, |status| {
            findings(status).contains(what) && status["reclaimed"] == 2
        })?;
        ensure!(status["leaks"] == json!([]), "{status:#}");
        scene.node().attempt(|| Ok(std::fs::remove_dir(&folder)?))?;
        // Looked at again with the next event.
        scene.witness()?;
        scene
            .agent
            .status(SOON, "that nothing is wrong", |status| {
                !findings(status).contains(what)
            })?;
        Ok(())
    })
}

#[test]
fn what_died_while_no_agent_ran_is_reclaimed_by_the_next_one() -> Result<()> {
    Lab::scenario(|lab| {
        let mut scene = Scene::new(lab)?;
        scene.agent.process.kill(rustix::process::Signal::KILL)?;
        scene.agent.process.wait_within(SOON)?;
        scene.die(&scene.pod("web")?)?;
        let dead =
            "record podwire/k8s-master-web@eth0 of pod default/web holds 10.244.0.2 fd00:10:244::2";
        said(&scene.leaks(&[])?, 1, &[dead, "are gone", "\n1 leak\n"])?;
        let start = lab::walk::Agent::start_with;
        scene.agent = start(scene.site.master(), &scene.programs, &["--grace", "1"])?;
        scene.gone("web")?;
        said(&scene.leaks(&[])?, 0, &["0 leaks\n"])
    })
}

#[test]
fn a_hundred_pods_that_die_at_once_are_reclaimed_and_their_addresses_are_free() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let pods = (0..100).map(|number| scene.pod(&format!("p{number}")));
        let pods = pods.collect::<Result<Vec<_>>>()?;
        let lives = scene.pod("lives")?;
        for pod in &pods {
            pod.destroy()?;
        }
        scene
            .agent
            .status(SOON, "a hundred reclaimed records", |status| {
                status["reclaimed"] == 100
            })?;
        ensure!(scene.records()? == ["k8s-master-lives@eth0"]);
        ensure!(scene.leases()?.len() == 2, "{:?}", scene.leases()?);
        let again = scene.add(&Attachment::of(&lives), &json!([]))?;
        ensure!(again["ips"][0]["address"] == "10.244.0.102/32", "{again}");
        said(&scene.leaks(&[])?, 0, &["0 leaks\n"])
    })
}
