//! It is refused while Podwire is in use, and then changes nothing.

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::walk::Mode;
use serde_json::Value;

use super::super::{Scene, said, same};
use super::{end, network, tool};

#[test]
fn while_an_agent_runs_or_a_pod_lives_it_is_refused_and_nothing_changes() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        scene.settled()?;
        let before = network(scene.master())?;
        let pid = scene.agents[0].process.pid();
        for dry in [&["--dry-run"][..], &[]] {
            let refused = tool(scene.master(), dry)?;
            ensure!(refused.status.code() == Some(1), "{refused:?}");
            let named = "podwired";
            ensure!(refused.stderr.contains(named), "{refused:?}");
            let process = format!("process {pid}");
            ensure!(
                !dry.is_empty() || refused.stderr.contains(&process),
                "{refused:?}"
            );
        }
        end(&scene.agents[0])?;
        for dry in [&["--dry-run"][..], &[]] {
            let refused = tool(scene.master(), dry)?;
            ensure!(refused.status.code() == Some(1), "{refused:?}");
            for words in [
                "default/a 10.244.0.2 fd00:10:244::2",
                "default/b",
                "nothing was changed",
            ] {
                ensure!(refused.stderr.contains(words), "{words}: {refused:?}");
            }
            ensure!(refused.stdout.is_empty(), "{refused:?}");
        }
        // Neither does another name make a pod die,
        let links: Value =
            serde_json::from_str(&said(scene.master(), "ip -j link show type veth")?)?;
        let mut names = links.as_array().into_iter().flatten();
        let of_a = names.find(|link| link["ifalias"] == "default/a");
        let name = of_a
            .and_then(|link| link["ifname"].as_str())
            .context("a's link")?;
        said(scene.master(), &format!("ip link set {name} name renamed"))?;
        let refused = tool(scene.master(), &[])?;
        ensure!(refused.status.code() == Some(1), "{refused:?}");
        for words in ["default/a 10.244.0.2", "default/b"] {
            ensure!(refused.stderr.contains(words), "{words}: {refused:?}");
        }
        said(scene.master(), &format!("ip link set renamed name {name}"))?;
        // nor a hand in the state folder.
        said(scene.master(), "rm -r /run/podwire/podwire")?;
        let refused = tool(scene.master(), &[])?;
        ensure!(refused.status.code() == Some(1), "{refused:?}");
        ensure!(
            refused.stderr.contains("default/a (not recorded"),
            "{refused:?}"
        );
        same("a refusal", &before, &network(scene.master())?)?;
        scene.everything_is_reached()
    })
}
