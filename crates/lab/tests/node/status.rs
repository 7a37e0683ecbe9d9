//! What `podwire status` says, with an agent, after its end, and where there never was one.

use anyhow::{Context, Result, ensure};
use lab::walk::{Mode, NODES, Site};
use lab::{Lab, Node, Output, programs};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{SOON, Scene, findings, put_nodes, said};

fn tool(node: &Node, arguments: &[&str]) -> Result<Output> {
    let command = node
        .command(&programs()?.tool)
        .arg("status")
        .args(arguments);
    command.output_within(SOON)
}

/// Exit code and object of `podwire status --json`.
fn as_json(node: &Node) -> Result<(Option<i32>, Value)> {
    let output = tool(node, &["--json"])?;
    let object = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    Ok((output.status.code(), object))
}

#[test]
fn status_tells_ranges_attachments_and_peers_with_their_paths() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let (code, status) = as_json(scene.master())?;
        ensure!(
            code == Some(0) && status["agent_running"] == true,
            "{code:?} {status:#}"
        );
        ensure!(status["findings"] == json!([]), "{status:#}");
        let agent = &status["agent"];
        ensure!(
            agent["node"] == "k8s-master" && agent["pid"] == scene.agents[0].process.pid(),
            "{agent:#}"
        );
        let peers = json!([{ "name": "k8s-worker", "ways": [
            { "range": "10.244.1.0/24", "path": { "direct": { "via": "10.128.0.3", "dev": "eth0" } } },
            { "range": "fd00:10:244:1::/64", "path": { "direct": { "via": "fd00:10:128::3", "dev": "eth0" } } },
        ] }]);
        ensure!(agent["peers"] == peers, "{agent:#}");
        let network = &status["networks"][0];
        ensure!(network["name"] == "podwire", "{network:#}");
        let range = json!({ "range": "10.244.0.0/24", "used": 2, "total": 253 });
        ensure!(
            network["ranges"][0] == range && network["ranges"][1]["used"] == 2,
            "{network:#}"
        );
        let attachments = network["attachments"].as_array().context("attachments")?;
        let told: Vec<_> = attachments
            .iter()
            .map(|it| (&it["pod"]["name"], &it["addresses"]))
            .collect();
        let expected = [
            (&json!("a"), &json!(["10.244.0.2", "fd00:10:244::2"])),
            (&json!("b"), &json!(["10.244.0.3", "fd00:10:244::3"])),
        ];
        ensure!(told == expected, "{network:#}");

        let text = tool(scene.master(), &[])?.ok()?.stdout;
        for part in [
            "k8s-master",
            "10.244.0.0/24",
            "2 of 253 used",
            "direct via 10.128.0.3 dev eth0",
            "default/a",
            "nothing is wrong",
        ] {
            ensure!(text.contains(part), "no \"{part}\" in\n{text}");
        }
        Ok(())
    })
}

#[test]
fn status_says_that_the_agent_is_dead_and_still_tells_the_pods() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        scene.agents[0].process.kill(Signal::KILL)?;
        scene.agents[0].process.wait_within(SOON)?;
        let (code, status) = as_json(scene.master())?;
        ensure!(
            code == Some(1) && status["agent_running"] == false,
            "{code:?} {status:#}"
        );
        ensure!(
            findings(&status).contains("the agent is not running"),
            "{status:#}"
        );
        let attachments = status["networks"][0]["attachments"].as_array();
        ensure!(
            attachments.is_some_and(|list| list.len() == 2),
            "{status:#}"
        );
        let text = tool(scene.master(), &[])?;
        ensure!(
            text.status.code() == Some(1) && text.stdout.contains("default/b"),
            "{text:?}"
        );
        Ok(())
    })
}

#[test]
fn status_works_where_no_agent_ever_ran() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let (code, empty) = as_json(site.master())?;
        ensure!(
            code == Some(0) && empty["agent"] == Value::Null,
            "{code:?} {empty:#}"
        );
        let side = &site.sides[0];
        side.write_bash_cni()?;
        side.attach(&programs()?, Mode::Bridge, &side.pods[0])?;
        let (code, status) = as_json(site.master())?;
        ensure!(
            code == Some(0) && status["networks"][0]["name"] == "mynet",
            "{code:?} {status:#}"
        );
        let text = tool(site.master(), &[])?.ok()?.stdout;
        ensure!(
            text.contains("10.244.0.2") && text.contains("1 of 253 used"),
            "{text}"
        );
        let nowhere = tool(site.master(), &["--run-dir", "/nowhere"])?;
        ensure!(
            nowhere.status.code() == Some(1)
                && nowhere
                    .stdout
                    .ends_with("nothing is known: there is no /nowhere\n"),
            "{nowhere:?}"
        );
        let wrong = tool(site.master(), &["--jsn"])?;
        ensure!(wrong.status.code() == Some(2), "{wrong:?}");
        Ok(())
    })
}

#[test]
fn a_peer_behind_a_gateway_is_named() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let far = "\n[[node]]\nname = \"far\"\naddresses = [\"198.51.100.9\"]\nranges = [\"10.244.9.0/24\"]\n";
        put_nodes(scene.master(), &format!("{NODES}{far}"))?;
        scene.agents[0].status(SOON, "the far node is named", |status| {
            let told = findings(status);
            told.contains("far") && told.contains("10.128.0.1")
        })?;
        let text = tool(scene.master(), &[])?;
        ensure!(text.status.code() == Some(1), "{text:?}");
        ensure!(
            text.stdout
                .contains("node far at 198.51.100.9 is behind gateway 10.128.0.1"),
            "{text:?}"
        );
        // What concerns nobody but the far node stands.
        scene.everything_is_reached()
    })
}

#[test]
fn status_names_a_pod_whose_link_is_down_gone_or_without_its_route() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let node = scene.master();
        let (_, status) = as_json(node)?;
        let link = |number: usize| {
            let pod = &status["networks"][0]["attachments"][number];
            pod["host_interface"].as_str().context("host interface")
        };
        let (first, second) = (link(0)?, link(1)?);
        said(node, "ip route del 10.244.0.3")?;
        let lacks = "pod default/b: the node lacks route 10.244.0.3/32";
        told(node, &[lacks])?;
        said(node, &format!("ip link set {first} down"))?;
        let down = format!("pod default/a: link {first} is down on the node");
        told(node, &[&down, lacks])?;
        said(node, &format!("ip link del {second}"))?;
        let gone = format!("pod default/b: link {second} is gone from the node");
        told(node, &[&down, &gone])
    })
}

/// Both forms say these things and nothing else, each with what to do, and the exit code is 1.
fn told(node: &Node, expected: &[&str]) -> Result<()> {
    let (code, status) = as_json(node)?;
    let found = status["findings"].as_array().context("findings")?;
    ensure!(
        code == Some(1) && found.len() == expected.len(),
        "{code:?} {status:#}"
    );
    for (finding, start) in found.iter().zip(expected) {
        let part = |key: &str| finding[key].as_str().unwrap_or_default();
        ensure!(
            part("what").starts_with(start) && part("hint").starts_with("delete the pod"),
            "not \"{start}\": {finding:#}"
        );
    }
    let text = tool(node, &[])?;
    ensure!(text.status.code() == Some(1), "{text:?}");
    for start in expected {
        let line = format!("\nwrong: {start}");
        ensure!(text.stdout.contains(&line), "no \"{line}\" in {text:?}");
    }
    let wrong = text.stdout.matches("wrong: ").count();
    ensure!(wrong == expected.len(), "{text:?}");
    Ok(())
}
