//! The file by which a runtime learns of the network: only when the node can serve, and valid.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lab::walk::{Agent, CONF_FOLDER, Mode, NODES, Site, conflist};
use lab::{Lab, Node, programs, watch};
use serde_json::Value;

use super::{REPAIRED, SOON, Scene, findings, put_nodes, said};

fn read(node: &Node) -> Result<Value> {
    node.attempt(|| {
        let path = conflist(Path::new(CONF_FOLDER)).context("no conflist")?;
        Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
    })
}

#[test]
fn the_conflist_is_one_that_a_runtime_takes() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let list = read(scene.master())?;
        ensure!(list["name"] == "podwire", "{list:#}");
        let versions: Vec<_> = list["cniVersions"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        ensure!(
            list["cniVersion"].is_string() && versions.contains(&&list["cniVersion"]),
            "{list:#}"
        );
        let plugins = list["plugins"].as_array().context("plugins")?;
        ensure!(
            plugins.len() == 1 && plugins[0]["type"] == "podwire",
            "{list:#}"
        );
        // A runtime asks each plugin of the list whether it knows the version.
        let plugin = lab::plugin::Plugin::new(scene.programs.plugins.join("podwire"));
        let config = scene.site.sides[0].config(Mode::Routed)?;
        let answer = plugin
            .call_network(scene.master(), "VERSION", &config)?
            .ok()?;
        let known = answer["supportedVersions"]
            .as_array()
            .context("supportedVersions")?;
        ensure!(
            versions.iter().all(|version| known.contains(version)),
            "{answer:#} {list:#}"
        );
        // Nothing unfinished lies beside it: a runtime would read that as well.
        let files = said(scene.master(), &format!("ls -A {CONF_FOLDER}"))?;
        ensure!(files.lines().count() == 1, "{files}");
        Ok(())
    })
}

#[test]
fn the_conflist_comes_after_everything_else() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let master = site.master();
        let _agent = Agent::start(master, &programs()?)?;
        let file = format!("{CONF_FOLDER}/any");
        watch::until(master, "the conflist", &[&file], SOON, || {
            Ok(conflist(Path::new(CONF_FOLDER)))
        })?;
        // At the moment at which it is there everything else is, too.
        let table = said(master, "nft list table inet podwire")?;
        ensure!(table.contains("masquerade"), "{table}");
        let routes = said(master, "ip route show proto 112")?;
        ensure!(routes.contains("10.244.1.0/24 via 10.128.0.3"), "{routes}");
        let forward =
            master.attempt(|| Ok(fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?))?;
        ensure!(forward.trim() == "1", "{forward}");
        Ok(())
    })
}

#[test]
fn the_conflist_does_not_come_while_the_node_cannot_serve() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let master = site.master();
        // As in a container: the kernel's parameters can be read and not written.
        for words in [
            "mkdir /run/parameters",
            "mount --bind /proc/sys/net /run/parameters",
            "mount -o remount,bind,ro /run/parameters",
        ] {
            said(master, words)?;
        }
        let arguments = ["--proc-sys-net", "/run/parameters"];
        let agent = Agent::start_with(master, &programs()?, &arguments)?;
        let status = agent.status(SOON, "status names what cannot be done", |status| {
            findings(status).contains("ip_forward")
        })?;
        ensure!(findings(&status).contains("writable"), "{status:#}");
        let there = master.run(|| conflist(Path::new(CONF_FOLDER)));
        ensure!(
            there.is_none(),
            "{there:?} is there although nothing is forwarded"
        );

        said(master, "mount -o remount,bind,rw /run/parameters")?;
        agent.ready(SOON)?;
        Ok(())
    })
}

#[test]
fn another_own_range_makes_another_conflist_and_pods_of_the_old_one_talk_on() -> Result<()> {
    Lab::scenario(|lab| {
        let mut scene = Scene::new(lab, Mode::Routed)?;
        let moved = NODES.replace("10.244.0.0/24", "10.244.50.0/24");
        for side in &scene.site.sides {
            put_nodes(&side.node, &moved)?;
        }
        let file = format!("{CONF_FOLDER}/any");
        watch::until(
            scene.master(),
            "the conflist has the new range",
            &[&file],
            SOON,
            || {
                let path = conflist(Path::new(CONF_FOLDER)).context("no conflist")?;
                Ok(fs::read_to_string(path)?
                    .contains("10.244.50.0/24")
                    .then_some(()))
            },
        )?;
        let side = &scene.site.sides[0];
        side.detach(&scene.programs, scene.mode, &side.pods[1])?;
        let given = side.attach(&scene.programs, scene.mode, &side.pods[1])?;
        let new = "10.244.50.2".parse::<std::net::IpAddr>()?;
        ensure!(given.contains(&new), "{given:?}");
        scene.addresses.0[0][1] = given;
        // The old pod reaches the new one, its node and the outside; the other node no longer knows the old range.
        let mut faults = scene.round()?.faults();
        let old = "IPv4 from pod 10.244.0.2 to";
        faults.retain(|fault| {
            !fault.contains("other host")
                && !fault.contains("to pod on the other host at 10.244.0.2")
        });
        ensure!(faults.is_empty(), "{old}: {}", faults.join("\n"));
        scene.agents[0].status(SOON, "status names the old range", |status| {
            findings(status).contains("pods have addresses of 10.244.0.0/24, which")
        })?;
        let side = &scene.site.sides[0];
        side.detach(&scene.programs, scene.mode, &side.pods[0])?;
        scene.agents[0].status(SOON, "nobody is cut off", |status| {
            findings(status).is_empty()
        })?;
        Ok(())
    })
}

#[test]
fn a_conflist_that_somebody_deletes_comes_back() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let before = read(scene.master())?;
        let file = format!("{CONF_FOLDER}/any");
        // More than once: the first time the agent may be about to look around anyway.
        for _ in 0..3 {
            said(
                scene.master(),
                &format!("rm {CONF_FOLDER}/10-podwire.conflist"),
            )?;
            watch::until(scene.master(), "the conflist", &[&file], REPAIRED, || {
                Ok(conflist(Path::new(CONF_FOLDER)))
            })?;
            let after = read(scene.master())?;
            ensure!(after == before, "{after:#}");
        }
        Ok(())
    })
}

/// As a service mesh does that finds the file and watches it.
#[test]
fn a_plugin_that_somebody_has_chained_to_ours_stays() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let node = scene.master();
        let path = format!("{CONF_FOLDER}/10-podwire.conflist");
        let mut list = read(node)?;
        let before = list["plugins"][0].clone();
        let mesh = serde_json::json!({"type": "mesh-cni", "log_level": "info"});
        list["plugins"]
            .as_array_mut()
            .context("plugins")?
            .push(mesh.clone());
        list["disableCheck"] = true.into();
        let put = |list: &Value| {
            node.attempt(|| {
                let other = format!("{CONF_FOLDER}/.new");
                fs::write(&other, list.to_string())?;
                Ok(fs::rename(other, &path)?)
            })
        };
        let written = list.to_string();
        put(&list)?;
        // Nothing of ours differs: the agent looks, and leaves the file as it was written.
        scene.settled()?;
        let text = node.attempt(|| Ok(fs::read_to_string(&path)?))?;
        ensure!(text == written, "{text}");
        list["plugins"][0]["mtu"] = 1300.into();
        let mark = scene.agents[0].mark();
        put(&list)?;
        let process = &scene.agents[0].process;
        process.wait_for_line_after(mark, "write conflist", SOON)?;
        let list = read(node)?;
        let plugins = [before, mesh];
        ensure!(list["plugins"] == Value::from(plugins.to_vec()), "{list:#}");
        ensure!(list["disableCheck"] == true, "{list:#}");
        Ok(())
    })
}

/// Pods of this node still start and talk to each other; who is cut off is told why.
#[test]
fn the_conflist_stays_while_the_uplink_is_away_and_status_says_so() -> Result<()> {
    Lab::scenario(|lab| {
        let scene = Scene::new(lab, Mode::Routed)?;
        let (master, agent) = (scene.master(), &scene.agents[0]);
        let file = || {
            said(
                master,
                &format!("stat -c %i-%y {CONF_FOLDER}/10-podwire.conflist"),
            )
        };
        let before = file()?;
        let said_so = |status: &Value| {
            findings(status).contains("none of this node's addresses is on a link")
        };
        let run = |lines: &[&str]| {
            lines
                .iter()
                .try_for_each(|words| said(master, words).map(drop))
        };
        let away: [&[&str]; 2] = [
            &["ip addr flush dev eth0", "ip link set eth0 down"],
            &["ip link del eth0"],
        ];
        for lost in away {
            run(lost)?;
            agent.status(SOON, "status names the lost uplink", said_so)?;
            ensure!(file()? == before, "{lost:?}: {} was {before}", file()?);
            let side = &scene.site.sides[0];
            side.detach(&scene.programs, scene.mode, &side.pods[1])?;
            side.attach(&scene.programs, scene.mode, &side.pods[1])?;
            if lost.len() == 1 {
                break;
            }
            run(&[
                "ip link set eth0 up",
                "ip addr add 10.128.0.2/24 dev eth0",
                "ip addr add fd00:10:128::2/64 dev eth0 nodad",
                "ip route add default via 10.128.0.1",
                "ip -6 route add default via fd00:10:128::1",
            ])?;
            agent.status(SOON, "nothing is wrong", |status| {
                findings(status).is_empty()
            })?;
            ensure!(file()? == before, "{} was {before}", file()?);
        }
        Ok(())
    })
}
