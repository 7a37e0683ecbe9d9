//! podwired in the container that deploy/podwire.yaml asks for.
//!
//! Its arguments, mounts and capabilities are read from the manifest. Only the source of the nodes is another one, a file,
//! because here is no API server.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lab::walk::{Agent, Mode, Moment, NODES, Round, Site};
use lab::{Container, Lab, Node, Process, Programs, programs};
use rustix::mount::{MountFlags, mount};
use serde_json::Value;

use super::manifest::pod;
use super::{list, words};
use crate::node::{SOON, findings};

/// Where the node keeps the list, and where the container sees it.
const NODES_FOLDER: &str = "/etc/podwire";

/// The manifest's container, in which the image's programs lie.
fn container(node: &Node, programs: &Programs) -> Result<Container> {
    let (spec, wanted) = pod()?;
    let mut container = Container::default()
        .program(&programs.agent)
        .program(&programs.plugin)
        .program(&programs.tool)
        .folder(NODES_FOLDER, NODES_FOLDER, true);
    for capability in words(&wanted["securityContext"]["capabilities"]["add"]) {
        container = container.capability(capability)?;
    }
    for mount in list(&wanted["volumeMounts"]) {
        let volumes = list(&spec["volumes"]);
        let volume = volumes
            .into_iter()
            .find(|volume| volume["name"] == mount["name"]);
        let host = &volume.with_context(|| format!("no volume for {mount}"))?["hostPath"];
        let (path, inside) = (string(&host["path"])?, string(&mount["mountPath"])?);
        if host["type"] == "DirectoryOrCreate" {
            node.attempt(|| fs::create_dir_all(path).context("make a folder of the node"))?;
        }
        container = container.folder(path, inside, mount["readOnly"] == true);
    }
    Ok(container)
}

fn string(value: &Value) -> Result<&str> {
    value
        .as_str()
        .with_context(|| format!("{value} is no text"))
}

/// The manifest's command; `but` an argument that begins so.
fn start(node: &Node, container: &Container, but: Option<&str>) -> Result<Agent> {
    let (_, wanted) = pod()?;
    let given = words(&wanted["args"]).into_iter();
    let kept =
        given.filter(|it| *it != "--kubernetes" && !but.is_some_and(|but| it.starts_with(but)));
    let program = *words(&wanted["command"]).first().context("no command")?;
    let file = format!("{NODES_FOLDER}/nodes.toml");
    let process = container
        .command(node, program)
        .args(["--nodes", &file, "--node", node.name()])
        .args(kept)
        .spawn()?;
    Ok(Agent::of(node, process))
}

/// A node whose `/opt` is its own, as it has a `nodes.toml` of its own.
fn prepare(node: &Node) -> Result<()> {
    node.attempt(|| {
        mount("tmpfs", "/opt", "tmpfs", MountFlags::empty(), None).context("mount /opt")?;
        fs::create_dir_all(NODES_FOLDER)?;
        fs::write(Path::new(NODES_FOLDER).join("nodes.toml"), NODES).context("write nodes.toml")
    })
}

/// A line of the process's status in the kernel.
fn told(process: &Process, key: &str) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    Ok(line.with_context(|| format!("no {key}"))?.trim().to_owned())
}

#[test]
fn podwired_does_its_work_in_the_manifests_container_with_nothing_more() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let programs = programs()?;
        let mut agents = Vec::new();
        for side in &site.sides {
            prepare(&side.node)?;
            let container = container(&side.node, &programs)?;
            let agent = start(&side.node, &container, None)?;
            let status = agent.ready(SOON)?;
            ensure!(findings(&status).is_empty(), "{status:#}");
            let mask = u64::from_str_radix(&told(&agent.process, "CapEff:")?, 16)?;
            ensure!(mask == container.capability_mask(), "{mask:x}");
            ensure!(told(&agent.process, "CapBnd:")? == told(&agent.process, "CapEff:")?);
            ensure!(told(&agent.process, "NoNewPrivs:")? == "1");
            agents.push(agent);
        }
        // The plugin is where the runtime looks for it, and the node's sysctls are set through the other mount.
        let [installed, forwarding] = site.master().attempt(|| {
            let plugin = fs::read("/opt/cni/bin/podwire")?;
            Ok([plugin, fs::read("/proc/sys/net/ipv4/ip_forward")?])
        })?;
        ensure!(installed == fs::read(&programs.plugin)? && forwarding == b"1\n");
        let addresses = site.attach(&programs, Mode::Routed)?;
        let families = Mode::Routed.families();
        let faults = Round::run(&site, &addresses, families, Moment::After)?.faults();
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    })
}

#[test]
fn with_only_the_containers_own_sysctls_podwired_says_which_option_helps() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let node = site.master();
        prepare(node)?;
        let container = container(node, &programs()?)?;
        let agent = start(node, &container, Some("--proc-sys-net"))?;
        agent.status(SOON, "that sysctls cannot be written", |status| {
            let told = findings(status);
            told.contains("Read-only file system") && told.contains("--proc-sys-net")
        })?;
        Ok(())
    })
}
