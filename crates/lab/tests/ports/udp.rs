//! Flows of UDP follow a host port at once, and nobody else's flow is broken.

use anyhow::{Result, ensure};
use lab::{Lab, Place};
use serde_json::json;

use super::{Kind, NO_ANSWER, SOON, Scene, Talk, echo};

fn follows(kind: Kind) -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, kind)?;
        let ports = json!([{"hostPort": 5300, "containerPort": 53, "protocol": "udp"}]);
        let at_node = "10.128.0.2:5300".parse()?;
        let first = scene.master.pod("first", &ports)?;
        let bystander = scene.master.pod("bystander", &json!([]))?;
        let far = scene.worker.pod("far", &json!([]))?;
        echo(&first.pod, 53, "first")?;
        echo(&scene.outside, 5300, "world")?;
        let peers: [&Place; 3] = [&scene.outside, &scene.master.node, &far.pod];
        let mut talks = Vec::new();
        for peer in peers {
            let talk = Talk::begin(peer, at_node)?;
            ensure!(talk.ask(SOON)?.starts_with("first"));
            talks.push(talk);
        }
        // The same number at another address. It is masqueraded with a random port: a flow that is forgotten gets another
        // one, so whoever flushes by number alone breaks it.
        let foreign = Talk::begin(&bystander.pod, "10.128.0.1:5300".parse()?)?;
        let source = foreign.ask(SOON)?;

        scene.master.del(&first.pod)?;
        // While nobody has the port, each question begins a flow that leads nowhere.
        for talk in &talks {
            ensure!(talk.ask(NO_ANSWER).is_err());
        }
        let second = scene.master.pod("second", &ports)?;
        echo(&second.pod, 53, "second")?;
        for talk in &talks {
            let answer = talk.ask(SOON)?;
            ensure!(answer.starts_with("second"), "{answer} answers");
        }
        let now = foreign.ask(SOON)?;
        ensure!(
            now == source,
            "the bystander's flow was {source} and is {now}"
        );
        Ok(())
    })
}

#[test]
fn a_flow_moves_to_the_routed_pod_that_gets_the_port() -> Result<()> {
    follows(Kind::Routed)
}

#[test]
fn a_flow_moves_to_the_pod_on_a_bridge_that_gets_the_port() -> Result<()> {
    follows(Kind::Bridge)
}
