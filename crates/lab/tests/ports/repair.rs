//! A lost table comes back with the host ports in it.

use std::time::Instant;

use anyhow::{Result, ensure};
use lab::{Lab, probe};
use serde_json::json;

use super::{Kind, SOON, Scene, Side, Talk, echo, said};

#[test]
fn an_agent_puts_a_flushed_table_back_with_the_ports() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Kind::Routed)?;
        let ports = json!([{"hostPort": 8080, "containerPort": 80}, {"hostPort": 53, "containerPort": 53, "protocol": "udp"}]);
        let web = scene.master.pod("web", &ports)?;
        let _listener = probe::listen(&web.pod, 80)?;
        echo(&web.pod, 53, "web")?;
        let before = scene.master.elements()?;
        ensure!(before.lines().count() == 6, "{before}");
        said(&scene.master.node, "nft flush ruleset")?;
        let deadline = Instant::now() + SOON;
        while scene.master.elements().ok().as_ref() != Some(&before) {
            ensure!(Instant::now() < deadline, "the ports do not come back");
        }
        probe::tcp(&scene.outside, "10.128.0.2:8080".parse()?, SOON)?;
        // Also a flow that began while there was no table.
        let talk = Talk::begin(&scene.outside, "10.128.0.2:53".parse()?)?;
        ensure!(talk.ask(SOON)?.starts_with("web"));
        said(&scene.master.node, "nft flush ruleset")?;
        ensure!(talk.ask(SOON)?.starts_with("web"));
        // What nobody has is taken away.
        let deadline = Instant::now() + SOON;
        while scene.master.elements().ok().as_ref() != Some(&before) {
            ensure!(
                Instant::now() < deadline,
                "the ports do not come back again"
            );
        }
        let stray = "add element inet podwire ports4 { tcp . 1 comment \"n/c/e\" : 10.9.9.9 . 1 }";
        super::nft(&scene.master.node, stray)?;
        while scene.master.elements()? != before {
            ensure!(Instant::now() < deadline, "{}", scene.master.elements()?);
        }
        Ok(())
    })
}

#[test]
fn an_add_with_ports_does_not_wait_for_an_agent_that_has_not_put_the_table_back() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Kind::Routed)?;
        let web = scene
            .master
            .pod("web", &json!([{"hostPort": 8080, "containerPort": 80}]))?;
        let agent = &scene.agents[0];
        agent.kill(rustix::process::Signal::STOP)?;
        said(&scene.master.node, "nft flush ruleset")?;
        let second = scene
            .master
            .pod("second", &json!([{"hostPort": 81, "containerPort": 80}]))?;
        let elements = scene.master.elements()?;
        ensure!(
            elements.contains("8080") && elements.contains("tcp . 81 "),
            "{elements}"
        );
        agent.kill(rustix::process::Signal::CONT)?;
        for (pod, to) in [(&web, "10.128.0.2:8080"), (&second, "10.128.0.2:81")] {
            let _listener = probe::listen(&pod.pod, 80)?;
            probe::tcp(&scene.outside, to.parse()?, SOON)?;
        }
        Ok(())
    })
}

/// Pods with ports come and go, eight at a time, while somebody flushes the ruleset again and again.
fn churn(side: &Side) -> Result<()> {
    let life = |worker: u16| -> Result<()> {
        for round in 0..6 {
            let port = 9000 + worker * 10 + round;
            let ports = json!([{"hostPort": port, "containerPort": 80}, {"hostPort": port, "containerPort": 53, "protocol": "udp"}]);
            let pod = side.pod(&format!("w{worker}-{round}"), &ports)?;
            side.del(&pod.pod)?;
            pod.pod.destroy()?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let life = &life;
        let lives: Vec<_> = (0..8)
            .map(|worker| scope.spawn(move || life(worker)))
            .collect();
        while lives.iter().any(|life| !life.is_finished()) {
            said(&side.node, "nft flush ruleset")?;
        }
        for life in lives {
            life.join()
                .map_err(|_| anyhow::anyhow!("a life panicked"))??;
        }
        Ok(())
    })
}

#[test]
fn flushes_under_pods_that_come_and_go_leave_nobodys_port_behind() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Kind::Routed)?;
        let keeps = scene
            .master
            .pod("keeps", &json!([{"hostPort": 8080, "containerPort": 80}]))?;
        let kept = scene.master.elements()?;
        churn(&scene.master)?;
        let deadline = Instant::now() + SOON;
        while scene.master.elements().ok().as_ref() != Some(&kept) {
            ensure!(Instant::now() < deadline, "{}", scene.master.elements()?);
        }
        scene.master.check(&keeps)?.ok().map(drop)
    })?;
    Lab::scenario(|lab| {
        // Nobody repairs what was flushed last; but nobody's port is put back after its DEL.
        let side = Side::alone(lab.node("one").start()?, Kind::Routed, 0)?;
        churn(&side)?;
        side.pod("last", &json!([{"hostPort": 8080, "containerPort": 80}]))?;
        let elements = side.elements()?;
        let foreign = elements.lines().find(|line| !line.contains("one-last"));
        ensure!(foreign.is_none(), "{elements}");
        Ok(())
    })
}

#[test]
fn without_an_agent_the_next_add_puts_everybodys_ports_back() -> Result<()> {
    for kind in [Kind::Bridge, Kind::Routed] {
        Lab::scenario(|lab| {
            let side = Side::alone(lab.node("one").start()?, kind, 0)?;
            let web = side.pod("web", &json!([{"hostPort": 8080, "containerPort": 80}]))?;
            let before = side.elements()?;
            let listing = said(&side.node, "nft list ruleset")?;
            said(&side.node, "nft flush ruleset")?;
            side.pod("other", &json!([]))?;
            ensure!(side.elements()? == before, "{}", side.elements()?);
            let _listener = probe::listen(&web.pod, 80)?;
            probe::tcp(&side.node, "127.0.0.1:8080".parse()?, SOON)?;
            // What nft lists of it, nft loads: an administrator's save and restore loses nothing.
            said(&side.node, "nft flush ruleset")?;
            super::nft(&side.node, &listing)?;
            ensure!(side.elements()? == before, "{}", side.elements()?);
            side.del(&web.pod)?;
            ensure!(side.elements()?.is_empty(), "{}", side.elements()?);
            Ok(())
        })?;
    }
    Ok(())
}
