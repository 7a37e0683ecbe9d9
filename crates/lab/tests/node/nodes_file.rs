//! `nodes.toml` changes, and is wrong.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lab::walk::{Agent, Mode, NODES, NODES_FILE, Site};
use lab::{Lab, Node, Output, programs, watch};
use serde_json::json;

use super::{SOON, Scene, findings, kernel, put_nodes, routes, same};

const THIRD: &str = r#"
[[node]]
name = "k8s-third"
addresses = ["10.128.0.4", "fd00:10:128::4"]
ranges = ["10.244.2.0/24", "fd00:10:244:2::/64"]
"#;

const WRONG: &str = r#"network = "podwire"
prefixes = ["10.244.0.0/16"]
colour = "blue"

[[node]]
name = "k8s-master"
addresses = ["10.128.0.2"]
ranges = ["10.244.0.7/24"]

[[node]]
name = "k8s-worker"
addresses = ["ten"]
ranges = ["10.99.0.0/24"]
"#;

/// `podwired --dry-run` with such a file.
fn dry_run(node: &Node, nodes: &str) -> Result<Output> {
    const NEXT: &str = "/etc/podwire/next.toml";
    node.attempt(|| {
        std::fs::create_dir_all("/etc/podwire")?;
        std::fs::write(NEXT, nodes).context("write the next nodes.toml")
    })?;
    agent(node, &["--nodes", NEXT, "--node", node.name(), "--dry-run"])
}

fn agent(node: &Node, arguments: &[&str]) -> Result<Output> {
    let command = node.command(&programs()?.agent).args(arguments);
    command.output_within(SOON)
}

/// Tries the file dry, then puts it in place: exactly what was announced is done. Returns what was announced.
fn change(scene: &Scene, nodes: &str) -> Result<(Vec<String>, BTreeSet<String>, BTreeSet<String>)> {
    let master = scene.master();
    scene.settled()?;
    let before = (kernel(master)?, routes(master)?);
    let announced = dry_run(master, nodes)?.ok()?.stdout;
    same("a dry run changes something", &before.0, &kernel(master)?)?;
    let announced: Vec<String> = announced.lines().map(str::to_owned).collect();

    let agent = &scene.agents[0];
    let mark = agent.mark();
    put_nodes(master, nodes)?;
    let last = announced.last().context("nothing was announced")?;
    agent.process.wait_for_line_after(mark, last, SOON)?;
    scene.settled()?;
    let said = agent.process.stderr();
    for line in &announced {
        ensure!(said.contains(line), "not done: {line}\n{said}");
    }
    let after = routes(master)?;
    let again = dry_run(master, nodes)?.ok()?.stdout;
    ensure!(again == "nothing to do\n", "still to do: {again}");
    let new = after.difference(&before.1).cloned().collect();
    let gone = before.1.difference(&after).cloned().collect();
    Ok((announced, new, gone))
}

fn texts(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

const TO_THIRD: [&str; 2] = [
    "10.244.2.0/24 via 10.128.0.4 dev eth0 proto 112 src 10.244.0.1 onlink",
    "fd00:10:244:2::/64 via fd00:10:128::4 dev eth0 proto 112 src fd00:10:244::1 metric 1024 onlink pref medium",
];

#[test]
fn a_node_is_added_and_removed_and_exactly_the_difference_is_applied() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let with = format!("{NODES}{THIRD}");
        let (announced, new, gone) = change(&scene, &with)?;
        ensure!(
            (&new, &gone) == (&texts(&TO_THIRD), &texts(&[])),
            "new {new:?} gone {gone:?}"
        );
        let expected = [
            "replace route 10.244.2.0/24 via 10.128.0.4 dev eth0 src 10.244.0.1",
            "replace route fd00:10:244:2::/64 via fd00:10:128::4 dev eth0 src fd00:10:244::1",
            "add element nodes4 { 10.128.0.4/32 }",
            "add element nodes6 { fd00:10:128::4/128 }",
        ];
        ensure!(announced == expected, "{announced:#?}");

        let (announced, new, gone) = change(&scene, NODES)?;
        ensure!(
            (&new, &gone) == (&texts(&[]), &texts(&TO_THIRD)),
            "new {new:?} gone {gone:?}"
        );
        ensure!(
            announced.len() == 4 && announced.iter().all(|line| line.starts_with("delete ")),
            "{announced:#?}"
        );
        scene.everything_is_reached()
    })
}

/// What the kernel tells late of the start makes the agent look first; then the other change is tried, and so on.
#[test]
fn a_change_of_the_nodes_is_put_into_effect_before_the_kernel_is_looked_at_and_seen_afterwards()
-> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let agent = Agent::start_with(site.master(), &programs()?, &["--verbose"])?;
        agent.ready(SOON)?;
        let with = format!("{NODES}{THIRD}");
        let changes = [
            (with.as_str(), "replace route 10.244.2.0/24"),
            (NODES, "delete route 10.244.2.0/24"),
        ];
        let begun = Instant::now();
        for (nodes, route) in changes.into_iter().cycle() {
            let (mark, said) = (agent.mark(), agent.process.stderr().len());
            put_nodes(site.master(), nodes)?;
            agent.process.wait_for_line_after(mark, route, SOON)?;
            let all = agent.process.stderr();
            let new = all.get(said..).unwrap_or_default();
            let (before, _) = new.split_once(route).context("the route's line")?;
            if before.contains("reckoned: ") && !before.contains("look 1: ") {
                agent.process.wait_for_line_after(mark, "look 1: ", SOON)?;
                return Ok(());
            }
            ensure!(begun.elapsed() < SOON, "it always looks first:\n{new}");
        }
        Ok(())
    })
}

#[test]
fn another_nodes_range_changes_and_exactly_its_routes_are_replaced() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let moved = format!("{NODES}{THIRD}");
        change(&scene, &moved)?;
        let (announced, new, gone) =
            change(&scene, &moved.replace("10.244.2.0/24", "10.244.7.0/24"))?;
        let expected_new = texts(&[&TO_THIRD[0].replace("10.244.2.0", "10.244.7.0")]);
        ensure!(
            (&new, &gone) == (&expected_new, &texts(&TO_THIRD[..1])),
            "new {new:?} gone {gone:?}"
        );
        ensure!(announced.len() == 2, "{announced:#?}");
        scene.everything_is_reached()
    })
}

#[test]
fn a_wrong_file_is_named_line_by_line_and_the_node_stays_as_it_is() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let (master, agent) = (scene.master(), &scene.agents[0]);
        scene.settled()?;
        let before = kernel(master)?;
        put_nodes(master, WRONG)?;
        let status = agent.status(SOON, "status names the wrong file", |status| {
            findings(status).contains("nodes.toml:3")
        })?;
        for line in [
            "nodes.toml:3: unknown key \"colour\"",
            "nodes.toml:8: range",
            "nodes.toml:12: address",
            "nodes.toml:13: range",
        ] {
            ensure!(
                findings(&status).replace("\\\"", "\"").contains(line),
                "status lacks {line}: {}",
                findings(&status)
            );
            agent.process.wait_for_line(line, SOON)?;
        }
        same("a wrong file changes something", &before, &kernel(master)?)?;
        scene.everything_is_reached()?;
        let tool = master
            .command(&scene.programs.tool)
            .arg("status")
            .output_within(SOON)?;
        ensure!(
            tool.status.code() == Some(1) && tool.stdout.contains("nodes.toml:3"),
            "{tool:?}"
        );

        put_nodes(master, NODES)?;
        agent.status(SOON, "nothing is wrong any more", |status| {
            status["findings"] == json!([])
        })?;
        same("a correction changes something", &before, &kernel(master)?)?;
        Ok(())
    })
}

#[test]
fn a_file_that_vanishes_changes_nothing_and_is_named() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let (master, agent) = (scene.master(), &scene.agents[0]);
        scene.settled()?;
        let before = kernel(master)?;
        master.attempt(|| std::fs::remove_file(NODES_FILE).context("remove nodes.toml"))?;
        agent.status(SOON, "status names the missing file", |status| {
            findings(status).contains("there is no such file")
        })?;
        same(
            "a missing file changes something",
            &before,
            &kernel(master)?,
        )?;
        put_nodes(master, NODES)?;
        agent.status(SOON, "nothing is wrong any more", |status| {
            status["findings"] == json!([])
        })?;
        Ok(())
    })
}

#[test]
fn a_wrong_start_touches_nothing_and_says_everything() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let master = site.master();
        let before = kernel(master)?;
        master.attempt(|| {
            std::fs::create_dir_all("/etc/podwire")?;
            std::fs::write(NODES_FILE, WRONG)?;
            Ok(std::fs::write("/etc/podwire/right.toml", NODES)?)
        })?;
        let wrong = agent(master, &["--nodes", NODES_FILE, "--node", "k8s-master"])?;
        ensure!(wrong.status.code() == Some(1), "{wrong:?}");
        for line in [":3:", ":8:", ":12:", ":13:"] {
            ensure!(
                wrong.stderr.contains(&format!("{NODES_FILE}{line}")),
                "{wrong:?}"
            );
        }
        let unknown = agent(
            master,
            &["--nodes", "/etc/podwire/right.toml", "--node", "k8s-nobody"],
        )?;
        ensure!(unknown.status.code() == Some(1), "{unknown:?}");
        ensure!(
            unknown.stderr.contains("k8s-nobody")
                && unknown.stderr.contains("k8s-master, k8s-worker"),
            "{unknown:?}"
        );
        let missing = agent(
            master,
            &["--nodes", "/etc/podwire/none.toml", "--node", "k8s-master"],
        )?;
        ensure!(
            missing.status.code() == Some(1) && missing.stderr.contains("no such file"),
            "{missing:?}"
        );
        same("something was touched", &before, &kernel(master)?)?;
        ensure!(
            !master.run(|| std::fs::exists("/run/podwire"))?,
            "/run/podwire was made"
        );
        Ok(())
    })
}

#[test]
fn a_dry_run_on_a_fresh_node_announces_what_then_is_done_and_changes_nothing() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let master = site.master();
        let before = kernel(master)?;
        let announced = dry_run(master, NODES)?.ok()?.stdout;
        same("a dry run changes something", &before, &kernel(master)?)?;
        ensure!(
            !master.run(|| std::fs::exists("/run/podwire"))?,
            "a dry run makes /run/podwire"
        );
        let agent = Agent::start_with(master, &programs()?, &["--listen", "none"])?;
        agent.ready(SOON)?;
        let said = agent.process.stderr();
        let done: Vec<&str> = said
            .lines()
            .filter_map(|line| Some(line.split_once(" INFO ")?.1))
            .collect();
        let announced: Vec<&str> = announced.lines().collect();
        ensure!(
            done[..done.len() - 1] == announced,
            "announced {announced:#?}\ndone {done:#?}"
        );
        watch::until(
            master,
            "the last dry run has nothing to say",
            &[],
            SOON,
            || {
                let text = dry_run(master, NODES)?.ok()?.stdout;
                Ok((text == "nothing to do\n").then_some(()))
            },
        )
    })
}
