//! Other things that are left, and how `podwire leaks` is called.

use std::fs;

use anyhow::{Result, ensure};
use lab::Lab;
use lab::walk::Site;
use rustix::process::Signal;
use serde_json::Value;

use super::{FOLDER, SOON, Scene, findings, leaks, link, said};

#[test]
fn on_a_node_without_podwire_nothing_is_left_and_wrong_calls_are_told() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        said(&leaks(site.master(), &[])?, 0, &["0 leaks\n"])?;
        said(&leaks(site.master(), &["--jsn"])?, 2, &[])?;
        let nowhere = leaks(site.master(), &["--run-dir", "/nowhere"])?;
        said(&nowhere, 2, &["there is no /nowhere"])?;
        let file = leaks(site.master(), &["--run-dir", "/etc/passwd"])?;
        said(&file, 2, &[])?;
        ensure!(file.stderr.contains("look as root"), "{file:?}");
        let object: Value = serde_json::from_str(&leaks(site.master(), &["--json"])?.stdout)?;
        ensure!(object["leaks"] == Value::Array(Vec::new()), "{object}");
        Ok(())
    })
}

#[test]
fn leases_links_and_ports_whose_record_somebody_removed_are_told() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        let pod = scene.node().pod("web")?;
        let attachment = lab::plugin::Attachment::of(&pod);
        scene.add(
            &attachment,
            &serde_json::json!([{"hostPort": 8080, "containerPort": 80}]),
        )?;
        let link = link(scene.node(), "web")?;
        scene.agent.process.kill(Signal::STOP)?;
        let record = format!("{FOLDER}/attachments/k8s-master-web@eth0");
        scene.node().attempt(|| Ok(fs::remove_file(&record)?))?;
        let expected = [
            "lease podwire/10.244.0.2: there is no record",
            "lease podwire/fd00:10:244::2: there is no record",
            &format!("link {link}: {link} says that it is of default/web"),
            "host ports of podwire/k8s-master-web/eth0: there is no record",
            "4 leaks\n",
        ];
        said(&scene.leaks(&[])?, 1, &expected)?;
        // The agent removes what is provably dead; a link may be a pod's.
        scene.agent.process.kill(Signal::CONT)?;
        let told = format!("links of pods have no record: {link}");
        scene.agent.status(SOON, &told, |status| {
            findings(status).contains(&told) && status["reclaimed"] == 2
        })?;
        ensure!(scene.leases()?.is_empty(), "{:?}", scene.leases()?);
        said(
            &scene.leaks(&[])?,
            1,
            &[&format!("link {link}"), "\n1 leak\n"],
        )
    })
}

#[test]
fn a_record_that_cannot_be_read_is_told_and_stays() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab)?;
        scene.pod("web")?.destroy()?;
        let record = format!("{FOLDER}/attachments/k8s-master-web@eth0");
        scene.node().attempt(|| Ok(fs::write(&record, "{")?))?;
        let told = "records cannot be read: podwire/k8s-master-web@eth0";
        scene
            .agent
            .status(SOON, told, |status| findings(status).contains(told))?;
        said(&scene.leaks(&[])?, 1, &["k8s-master-web@eth0", "1 leak\n"])?;
        ensure!(scene.records()?.len() == 1 && scene.leases()?.len() == 2);
        Ok(())
    })
}
