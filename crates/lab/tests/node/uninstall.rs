//! `podwire uninstall`: the node is as it was before, and what is not Podwire's stays.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Attachment, Plugin};
use lab::walk::{Agent, Mode, Site};
use lab::{Lab, Node, Output, Programs, probe, programs, wire};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{SOON, said, same, timeless, traces};

mod refusal;

/// Where this node's runtime looks for plugins.
const PLUGINS: &str = "/var/lib/cni/bin";
/// What nothing of Podwire is left in afterwards, files with their content.
const FOLDERS: [&str; 4] = ["/run", "/etc/cni", "/var/lib/cni", "/var/log"];
const NETWORK: [&str; 8] = [
    "ip -j link",
    "ip -j addr",
    "ip -j route show table all",
    "ip -j -6 route show table all",
    "ip -j rule",
    "ip -j -6 rule",
    "ip -j neigh show nud permanent",
    "ip -j -6 neigh show nud permanent",
];

fn tool(node: &Node, arguments: &[&str]) -> Result<Output> {
    let command = node.command(&programs()?.tool).arg("uninstall");
    let command = command.args(["--plugin-dir", PLUGINS]).args(arguments);
    command.output_within(SOON)
}

fn uninstalled(node: &Node) -> Result<String> {
    Ok(tool(node, &[])?.ok()?.stdout)
}

fn end(agent: &Agent) -> Result<()> {
    agent.process.kill(Signal::TERM)?;
    agent.process.wait_within(SOON).map(drop)
}

/// The ruleset, links, addresses, routes, rules and neighbours, one a line.
fn network(node: &Node) -> Result<String> {
    let mut text = timeless(&said(node, "nft list ruleset")?);
    for words in NETWORK {
        // Nothing at all is an empty list.
        let list: Value = serde_json::from_str(&said(node, words)?).unwrap_or_default();
        for object in list.as_array().into_iter().flatten() {
            text.push_str(&format!("{words}: {object}\n"));
        }
    }
    Ok(text)
}

/// Everything that Podwire could have changed: the network's, all its sysctls, and files.
fn everything(node: &Node) -> Result<String> {
    Ok(network(node)? + &files(node)?)
}

fn files(node: &Node) -> Result<String> {
    let mut text = String::new();
    let files = node.attempt(|| {
        let mut files = BTreeMap::new();
        for folder in ["/proc/sys/net/ipv4", "/proc/sys/net/ipv6"] {
            read(Path::new(folder), &mut files)?;
        }
        for folder in FOLDERS {
            read(Path::new(folder), &mut files)?;
        }
        Ok(files)
    })?;
    for (path, content) in files {
        text.push_str(&format!("{path}: {}\n", content.escape_ascii()));
    }
    Ok(text)
}

/// All below a folder by path; a folder itself is there too.
fn read(folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        // Whole namespaces are files of that folder.
        if path == Path::new("/run/netns") {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            found.insert(format!("{}/", path.display()), Vec::new());
            read(&path, found)?;
        } else {
            // Some sysctls cannot be read.
            let content = fs::read(&path).unwrap_or_default();
            found.insert(path.display().to_string(), content);
        }
    }
    Ok(())
}

/// A node as administrators leave them: strict, and with all that `furnish` has.
fn prepare(node: &Node) -> Result<()> {
    // What the kernel finds out about an address in its first second is none of Podwire's work.
    node.attempt(|| wire::set_parameter("ipv6/conf/default/accept_dad", "0"))?;
    traces::furnish(node)?;
    node.attempt(|| {
        for (name, value) in [
            ("ipv4/conf/eth0/rp_filter", "1"),
            // Both would not come back by themselves with the switch.
            ("ipv4/conf/all/accept_redirects", "0"),
            ("ipv4/conf/their0/forwarding", "1"),
            ("ipv6/conf/their0/forwarding", "1"),
        ] {
            wire::set_parameter(name, value)?;
        }
        fs::create_dir_all(PLUGINS).context(PLUGINS)
    })
}

/// Installs Podwire on both nodes, lets pods talk, takes pods and agents away again.
fn used(site: Site, programs: &Programs, mode: Mode) -> Result<Site> {
    let start = |node| Agent::start_with(node, programs, &["--install-plugin", PLUGINS]);
    let agents = [start(site.master())?, start(site.worker())?];
    for agent in &agents {
        agent.ready(SOON)?;
    }
    let addresses = site.attach(programs, mode)?;
    for &family in mode.families() {
        let other = addresses.of(1, 0, family)?;
        probe::ping(&site.sides[0].pods[0], other, SOON).context("the other node's pod")?;
    }
    for side in &site.sides {
        for pod in &side.pods {
            side.detach(programs, mode, pod)?;
        }
    }
    for agent in &agents {
        end(agent)?;
    }
    Ok(site)
}

#[test]
fn after_uninstall_the_node_is_as_it_was_and_can_be_installed_again() -> Result<()> {
    Lab::scenario(|lab| {
        for mode in [Mode::Routed, Mode::Bridge] {
            let programs = programs()?;
            let mut site = Site::new(lab)?;
            if mode == Mode::Bridge {
                for side in &site.sides {
                    side.write_bash_cni()?;
                }
            }
            let master = site.master().clone();
            prepare(&master)?;
            let before = everything(&master)?;
            for round in 1..=2 {
                site = used(site, &programs, mode)?;
                let told = uninstalled(&master)?;
                same(
                    &format!("{mode:?}, round {round}"),
                    &before,
                    &everything(&master)?,
                )
                .context(told)?;
                uninstalled(site.worker())?;
            }
        }
        Ok(())
    })
}

#[test]
fn the_demos_type_without_an_agent_is_taken_off_as_well() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let master = site.master();
        prepare(master)?;
        let before = everything(master)?;
        let conf = json!({"cniVersion": "0.3.1", "name": "mynet", "type": "bash-cni",
            "network": "10.244.0.0/16", "subnet": "10.244.0.0/24"});
        let plugin = Plugin::new(programs()?.plugins.join("bash-cni"));
        let pod = Attachment::of(&site.sides[0].pods[0]);
        plugin.add(master, &pod, &conf)?.ok()?;
        plugin.del(master, &pod, &conf)?.ok()?;
        let told = uninstalled(master)?;
        same("the node", &before, &everything(master)?).context(told)
    })
}

/// Only a host port on the node's loopback asks for that sysctl.
#[test]
fn a_sysctl_of_somebody_elses_bridge_is_put_back_as_well() -> Result<()> {
    const LOCALNET: &str = "ipv4/conf/cni0/route_localnet";
    Lab::scenario(|lab| {
        for made in [true, false] {
            let site = Site::new(lab)?;
            let master = site.master();
            prepare(master)?;
            if made {
                said(
                    master,
                    "ip link add cni0 up address 02:00:00:00:00:77 type bridge",
                )?;
                said(master, "ip addr add 10.244.0.1/24 dev cni0")?;
            }
            // A bridge that was used has another state of its link, and addresses that come with that.
            let before = files(master)?;
            let port = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
            let conf = json!({"cniVersion": "0.3.1", "name": "mynet", "type": "bash-cni",
                "network": "10.244.0.0/16", "subnet": "10.244.0.0/24",
                "runtimeConfig": {"portMappings": port}});
            let plugin = Plugin::new(programs()?.plugins.join("bash-cni"));
            let pod = Attachment::of(&site.sides[0].pods[0]);
            plugin.add(master, &pod, &conf)?.ok()?;
            let path = format!("/proc/sys/net/{LOCALNET}");
            let value = master.attempt(|| Ok(fs::read_to_string(&path)?))?;
            ensure!(value.trim() == "1", "{LOCALNET} is {value}");
            plugin.del(master, &pod, &conf)?.ok()?;
            let told = uninstalled(master)?;
            ensure!(told.contains(LOCALNET) == made, "{told}");
            same("the node", &before, &files(master)?).context(told)?;
        }
        Ok(())
    })
}

#[test]
fn a_dry_run_tells_what_the_other_does_and_a_second_run_finds_nothing() -> Result<()> {
    Lab::scenario(|lab| {
        let site = used(Site::new(lab)?, &programs()?, Mode::Routed)?;
        let master = site.master();
        let before = everything(master)?;
        let planned = tool(master, &["--dry-run"])?.ok()?.stdout;
        same("a dry run", &before, &everything(master)?)?;
        let told = uninstalled(master)?;
        ensure!(told == planned, "{told}\nbut the dry run:\n{planned}");
        for line in [
            "delete file /etc/cni/net.d/10-podwire.conflist",
            "delete table inet podwire",
            "delete address 10.244.0.1/32 dev lo",
            "delete route unreachable 10.244.0.0/24",
            "set sysctl net/ipv4/ip_forward = 0",
            "delete file /var/lib/cni/bin/loopback",
            "delete folder /run/podwire",
        ] {
            ensure!(told.lines().any(|it| it == line), "no {line:?} in\n{told}");
        }
        for arguments in [&["--dry-run"][..], &[]] {
            let again = tool(master, arguments)?.ok()?.stdout;
            ensure!(again == "nothing to do\n", "{again}");
        }
        ensure!(!master.run(|| Path::new("/run/podwire").exists()));
        Ok(())
    })
}

#[test]
fn what_others_have_made_or_changed_since_stays_and_is_named() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let master = site.master().clone();
        let theirs = format!("{PLUGINS}/loopback");
        master.attempt(|| {
            fs::create_dir_all(PLUGINS).context(PLUGINS)?;
            fs::write(&theirs, "theirs").context("their loopback")
        })?;
        // A bridge that the demo's reader made by hand.
        for words in [
            "ip link add cni0 address 02:00:00:00:00:77 type bridge",
            "ip addr add 10.244.0.1/24 dev cni0",
            "ip link set cni0 up",
        ] {
            said(&master, words)?;
        }
        for side in &site.sides {
            side.write_bash_cni()?;
        }
        let site = used(site, &programs()?, Mode::Bridge)?;
        // No link of ours, although its name begins as theirs do.
        said(&master, "ip link add pwtheirs type veth peer name pwpeer")?;
        let told = uninstalled(&master)?;
        let demo = "stays: /etc/cni/net.d/10-bash-cni-plugin.conf is not the agent's and asks for bash-cni";
        ensure!(told.contains(demo), "{told}");
        ensure!(master.attempt(|| Ok(fs::read_to_string(&theirs)?))? == "theirs");
        let bridge = said(&master, "ip -o -4 addr show dev cni0")?;
        ensure!(bridge.contains("10.244.0.1/24"), "their bridge: {bridge}");
        drop(site);
        Ok(())
    })
}

#[test]
fn a_sysctl_that_somebody_has_set_since_or_that_is_to_stay_is_not_put_back() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let master = site.master().clone();
        let strict = "ipv4/conf/eth0/rp_filter";
        master.attempt(|| wire::set_parameter(strict, "1"))?;
        let site = used(site, &programs()?, Mode::Routed)?;
        master.attempt(|| wire::set_parameter(strict, "0"))?;
        let planned = tool(&master, &["--dry-run", "--keep-sysctls"])?
            .ok()?
            .stdout;
        ensure!(!planned.contains("set sysctl"), "{planned}");
        let kept = "stays: sysctl net/ipv4/ip_forward stays 1; before Podwire it was 0";
        ensure!(planned.contains(kept), "{planned}");
        let told = uninstalled(&master)?;
        let since = "stays: sysctl net/ipv4/conf/eth0/rp_filter is 0: somebody has set it since Podwire made it 2; \
                     before Podwire it was 1";
        ensure!(told.contains(since), "{told}");
        ensure!(!told.contains("rp_filter = "), "{told}");
        drop(site);
        Ok(())
    })
}

#[test]
fn a_loopback_that_another_network_may_live_by_stays_and_is_named() -> Result<()> {
    Lab::scenario(|lab| {
        let site = used(Site::new(lab)?, &programs()?, Mode::Routed)?;
        let master = site.master();
        let theirs = "/etc/cni/net.d/20-theirs.conflist";
        let text = json!({"name": "theirs", "plugins": [{"type": "bridge"}]}).to_string();
        master.attempt(|| {
            fs::write(theirs, &text).context(theirs)?;
            fs::copy(format!("{PLUGINS}/podwire"), format!("{PLUGINS}/bridge"))
                .map(drop)
                .context("a bridge of ours")
        })?;
        let told = uninstalled(master)?;
        let line =
            format!("stays: {PLUGINS}/loopback is Podwire's, and pods of {theirs} may need it");
        ensure!(told.contains(&line), "{told}");
        let left = said(master, &format!("ls {PLUGINS}"))?;
        ensure!(left.split_whitespace().eq(["bridge", "loopback"]), "{left}");
        let again = uninstalled(master)?;
        ensure!(again.starts_with("nothing to do\nstays: "), "{again}");
        Ok(())
    })
}

/// The commands of the manifest, in their order.
fn commands() -> Result<Vec<Vec<String>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/uninstall.yaml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let commands = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("command: "));
    let commands = commands.map(|list| serde_json::from_str(list).context(list.to_owned()));
    commands.collect()
}

/// The command where the node's files are mounted in a folder, as in a pod of the node's network.
fn mounted(node: &Node, command: &[String]) -> Result<lab::Process> {
    let command: Vec<String> = command
        .iter()
        .map(|word| word.replace("/host", "/run/host"))
        .collect();
    let [program, arguments @ ..] = command.as_slice() else {
        anyhow::bail!("an empty command");
    };
    ensure!(program == "/podwire", "{program} is not in the image");
    let script = format!(
        "mount -n --rbind / /run/host && exec '{}' {} --plugin-dir {PLUGINS}",
        programs()?.tool.display(),
        arguments.join(" ")
    );
    let command = node.command("unshare");
    command.args(["-m", "sh", "-c", &script]).spawn()
}

#[test]
fn the_manifests_pods_take_podwire_off_the_node_whose_files_they_have_mounted() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let master = site.master().clone();
        prepare(&master)?;
        said(&master, "mkdir /run/host")?;
        let before = everything(&master)?;
        let site = used(site, &programs()?, Mode::Routed)?;
        let commands = commands()?;
        ensure!(commands.len() == 2, "{commands:?}");
        let told = mounted(&master, &commands[0])?.finish_within(SOON)?.ok()?;
        let told = told.stdout;
        let line = "delete file /run/host/etc/cni/net.d/10-podwire.conflist";
        ensure!(told.lines().any(|it| it == line), "{told}");
        same("the node", &before, &everything(&master)?).context(told)?;
        let stays = mounted(&master, &commands[1])?;
        stays.wait_for_line("nothing to do", SOON)?;
        ensure!(stays.is_running(), "it has ended");
        stays.kill(Signal::KILL)?;
        stays.wait_within(SOON)?;
        drop(site);
        Ok(())
    })
}

/// Killed on the way, at every ninth message to the kernel and at every file.
#[test]
fn an_uninstall_that_was_killed_is_finished_by_the_next_one() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let programs = programs()?;
        let master = site.master();
        prepare(master)?;
        let before = everything(master)?;
        for (call, step) in [("sendto", 9), ("unlink", 1), ("pwrite64", 1)] {
            let mut whole = 0;
            for number in (1..).step_by(step) {
                let arguments = ["--install-plugin", PLUGINS];
                let agent = Agent::start_with(master, &programs, &arguments)?;
                agent.ready(SOON)?;
                end(&agent)?;
                let inject = format!("inject={call}:signal=KILL:when={number}");
                let trace = format!("trace={call}");
                let strace = master.command("strace");
                let strace = strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace]);
                let strace = strace.args(["-e", &inject, "--"]).arg(&programs.tool);
                let strace = strace.args(["uninstall", "--plugin-dir", PLUGINS]);
                let finished = strace.output_within(SOON)?.status.code() == Some(0);
                let told = uninstalled(master)?;
                let what = format!("{call} {number}");
                same(&what, &before, &everything(master)?).context(told)?;
                if finished {
                    whole = number;
                    break;
                }
            }
            ensure!(whole > step, "{call}: nothing was ever killed");
        }
        Ok(())
    })
}
