//! The plugin is killed at each of its system calls, and the DEL that follows leaves no host port.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Node, Pod, programs};
use serde_json::{Value, json};

use super::{Kind, Side};
use crate::plugin::crash::walk::{self, Scene};

fn ports() -> Value {
    json!([{"hostPort": 8080, "containerPort": 80},
        {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "10.128.0.2"}])
}

struct Ports {
    side: Side,
    kind: Kind,
    verb: &'static str,
    pod: Pod,
    /// What stands there of another pod, and stays.
    kept: String,
}

impl Ports {
    fn others(&self) -> Result<Vec<String>> {
        let now = self.side.elements()?;
        Ok((now != self.kept).then_some(now).into_iter().collect())
    }
}

impl Scene for Ports {
    fn node(&self) -> &Node {
        &self.side.node
    }

    fn program(&self) -> Result<PathBuf> {
        Ok(programs()?.plugins.join(match self.kind {
            Kind::Bridge => "bash-cni",
            Kind::Routed => "podwire",
        }))
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = Attachment::of(&self.pod).environment();
        environment.push(("CNI_COMMAND", self.verb.to_owned()));
        environment
    }

    fn input(&self) -> String {
        self.side.conf.to_string()
    }

    fn prepare(&self) -> Result<()> {
        match self.verb {
            "ADD" => Ok(()),
            _ => self.side.add(&self.pod)?.ok().map(drop),
        }
    }

    fn remains(&self) -> Result<Vec<String>> {
        self.others()
    }

    fn follow(&self) -> Result<()> {
        self.side.del(&self.pod)
    }

    fn left(&self) -> Result<Vec<String>> {
        self.others()
    }

    fn clean(&self) -> Result<()> {
        anyhow::bail!("what is left of ports is not taken away by hand")
    }
}

fn killed_anywhere(kind: Kind, verb: &'static str) -> Result<()> {
    Lab::scenario(|lab| {
        let side = Side::alone(lab.node("one").start()?, kind, 0)?;
        let keeper = side.pod("keeper", &json!([{"hostPort": 9000, "containerPort": 80}]))?;
        let kept = side.elements()?;
        let scene = Ports {
            side: side.with(&ports()),
            kind,
            verb,
            pod: side.node.pod("a")?,
            kept,
        };
        let walked = walk::walk(&format!("{kind:?} {verb} with ports, then Del"), &scene)?;
        ensure!(walked.kills > 50 && walked.remains > 5, "{walked:?}");
        side.del(&keeper.pod)?;
        ensure!(side.elements()?.is_empty());
        Ok(())
    })
}

#[test]
fn a_routed_add_with_ports_that_is_killed_anywhere_leaves_none_after_a_del() -> Result<()> {
    killed_anywhere(Kind::Routed, "ADD")
}

#[test]
fn an_add_with_ports_to_a_bridge_that_is_killed_anywhere_leaves_none_after_a_del() -> Result<()> {
    killed_anywhere(Kind::Bridge, "ADD")
}

#[test]
fn a_del_of_ports_that_is_killed_anywhere_is_finished_by_the_next() -> Result<()> {
    killed_anywhere(Kind::Routed, "DEL")
}
