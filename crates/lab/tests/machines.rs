//! Reboot, and how a person gets in.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Lab, probe, wire};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_reboot_keeps_the_disk_and_forgets_the_rest() -> Result<()> {
    Lab::scenario(|lab| {
        let lan = lab.segment("lan")?;
        let node = lab.node("one").uplink(&lan, &["10.128.0.2/24"]).start()?;
        let other = lab.node("two").uplink(&lan, &["10.128.0.3/24"]).start()?;
        let pod = node.pod("a")?;
        let daemon = node.command("cat").arg("/dev/zero").spawn()?;
        let boot_id = || fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let before = node.run(boot_id)?;
        assert_ne!(before, other.run(boot_id)?);
        node.attempt(|| {
            fs::write("/etc/cni/net.d/10-kept.conf", "kept")?;
            fs::write("/var/lib/cni/kept", "kept")?;
            fs::write("/run/gone", "gone")?;
            wire::add_bridge("cni0", wire::mac_of("cni0"))
        })?;

        node.reboot()?;

        ensure!(!daemon.is_running(), "a process has survived the reboot");
        ensure!(
            pod.attempt(|| Ok(())).is_err(),
            "a pod has survived the reboot"
        );
        node.attempt(|| {
            ensure!(fs::read_to_string("/etc/cni/net.d/10-kept.conf")? == "kept");
            ensure!(fs::read_to_string("/var/lib/cni/kept")? == "kept");
            ensure!(!fs::exists("/run/gone")? && !fs::exists("/run/netns/a")?);
            ensure!(!wire::exists("cni0") && wire::exists("eth0"));
            ensure!(boot_id()? != before, "the boot id is the old one");
            Ok(())
        })?;
        probe::ping(&other, "10.128.0.2".parse()?, SOON)?;
        node.pod("a")?;
        node.reboot().context("a second time")
    })
}

#[test]
fn the_printed_line_enters_a_node() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        node.attempt(|| Ok(fs::write("/run/mine", "hello")?))?;
        let line = node.enter_line().context("the node is there")?;
        // It is for a person outside; whoever is in the user namespace already cannot enter it.
        let inner = line
            .split(' ')
            .filter(|word| !word.starts_with("--user=") && !word.starts_with("--preserve"));
        let inner: Vec<_> = inner.collect();
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("{} cat /run/mine", inner.join(" "))])
            .output()?;
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "hello",
            "{line}: {output:?}"
        );
        assert!(lab.explain().contains(&line));
        Ok(())
    })
}
