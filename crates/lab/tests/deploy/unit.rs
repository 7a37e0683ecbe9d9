//! deploy/podwired.service: podwired runs with what the unit leaves it.
//!
//! systemd itself is not needed: what the unit takes away (capabilities, places to write) is taken away here as well.

use std::fs;

use anyhow::{Context, Result, ensure};
use lab::walk::{Agent, Mode, NODES, NODES_FILE, Site};
use lab::{Container, Lab, programs};

use super::text;
use crate::node::{SOON, findings};

/// The values of a key; a key may stand more than once.
fn values(unit: &str, key: &str) -> Vec<String> {
    let start = format!("{key}=");
    let lines = unit.lines().filter_map(|line| line.strip_prefix(&start));
    lines
        .flat_map(|value| value.split(' ').map(str::to_owned))
        .collect()
}

#[test]
fn podwired_does_its_work_with_what_its_unit_leaves_it() -> Result<()> {
    Lab::scenario(|lab| {
        let site = Site::new(lab)?;
        let (node, programs) = (site.master(), programs()?);
        let unit = text("deploy/podwired.service")?;
        node.attempt(|| {
            fs::create_dir_all("/etc/podwire")?;
            fs::write(NODES_FILE, NODES).context("write nodes.toml")
        })?;
        let mut container = Container::default().program(&programs.agent).folder(
            "/etc/podwire",
            "/etc/podwire",
            true,
        );
        for capability in values(&unit, "CapabilityBoundingSet") {
            container = container.capability(capability.strip_prefix("CAP_").context("CAP_")?)?;
        }
        // systemd makes these folders, and nothing else can be written.
        ensure!(values(&unit, "ProtectSystem") == ["strict"]);
        let made = [
            ("ConfigurationDirectory", "/etc"),
            ("RuntimeDirectory", "/run"),
        ];
        for (key, root) in made {
            for name in values(&unit, key) {
                let folder = format!("{root}/{name}");
                node.attempt(|| Ok(fs::create_dir_all(&folder)?))?;
                container = container.folder(&folder, &folder, false);
            }
        }
        // A unit has the machine's own /proc/sys, unless ProtectKernelTunables= takes it away.
        ensure!(values(&unit, "ProtectKernelTunables").is_empty());
        container = container.folder("/proc/sys/net", "/proc/sys/net", false);
        let line = values(&unit, "ExecStart");
        let arguments = line
            .iter()
            .skip(1)
            .map(|word| word.replace("%H", node.name()));
        let process = container
            .command(node, "/podwired")
            .args(arguments)
            .spawn()?;
        let agent = Agent::of(node, process);
        let before = agent.ready(SOON)?;
        let side = &site.sides[0];
        side.attach(&programs, Mode::Routed, &side.pods[0])?;
        // It still hears and mends what happens, the pod's record included.
        let command = node
            .command("nft")
            .args(["delete", "table", "inet", "podwire"]);
        command.output_within(SOON)?.ok()?;
        let status = agent.status(SOON, "that the table is back", |status| {
            status["generation"] != before["generation"]
        })?;
        ensure!(findings(&status).is_empty(), "{status:#}");
        Ok(())
    })
}

#[test]
fn the_unit_keeps_the_state_of_the_pods_when_it_stops() -> Result<()> {
    let unit = text("deploy/podwired.service")?;
    ensure!(values(&unit, "RuntimeDirectory") == ["podwire"]);
    // Without this systemd removes the leases of living pods.
    ensure!(values(&unit, "RuntimeDirectoryPreserve") == ["yes"]);
    // Links, addresses, routes and the ruleset are asked for and changed by netlink; the API server and probes need the rest.
    let families = values(&unit, "RestrictAddressFamilies");
    for family in ["AF_NETLINK", "AF_INET", "AF_INET6", "AF_UNIX"] {
        ensure!(families.iter().any(|it| it == family), "no {family}");
    }
    ensure!(values(&unit, "NoNewPrivileges") == ["yes"] && values(&unit, "Restart") == ["always"]);
    Ok(())
}
