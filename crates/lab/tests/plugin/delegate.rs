//! Type `bridge` with an IPAM plugin of somebody else's: when it is asked, and when it gets its addresses back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use lab::plugin::{Answer, Attachment};
use lab::{Lab, Node, Pod};
use serde_json::{Value, json};

use super::bridge::{Bridge, reaches};
use super::{said, same};

/// A plugin of somebody else's that writes down how it was called.
const THEIRS: &str = r#"#!/bin/sh
config=$(cat)
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >> /run/theirs.log
case "$CNI_COMMAND" in
ADD) if [ -e /run/theirs.full ]; then echo '{"code": 11, "msg": "none left", "details": "at all"}'; exit 1; fi
echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.8.0.5/24", "gateway": "10.8.0.1"}], "routes": [{"dst": "0.0.0.0/0"}], "dns": {"search": ["a.b"]}}' ;;
STATUS) if [ -e /run/theirs.full ]; then echo '{"code": 50, "msg": "none left"}'; exit 1; fi ;;
esac
"#;

fn install_theirs(node: &Node) -> Result<()> {
    node.attempt(|| {
        fs::create_dir_all("/run/bin")?;
        fs::write("/run/bin/theirs", THEIRS)?;
        Ok(fs::set_permissions(
            "/run/bin/theirs",
            fs::Permissions::from_mode(0o755),
        )?)
    })
}

/// A call with their plugin in the second folder of `CNI_PATH`.
fn with_theirs(bridge: &Bridge, verb: &str, pod: &Pod, conf: &Value) -> Result<Answer> {
    let mut environment = Attachment::of(pod).environment();
    environment.push(("CNI_PATH", "/nowhere:/run/bin".into()));
    let conf = conf.to_string();
    bridge
        .plugin
        .raw(&bridge.node, verb, &environment, conf.as_bytes())
}

#[test]
fn another_ipam_plugin_is_asked_for_every_verb() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(
            lab,
            json!({"isGateway": true, "ipMasq": true, "ipam": {"type": "theirs"}}),
        )?;
        install_theirs(&bridge.node)?;
        let call = |verb, pod: &Pod, conf: &Value| with_theirs(&bridge, verb, pod, conf);
        let pod = bridge.node.pod("a")?;
        let told = call("ADD", &pod, &bridge.conf)?.ok()?;
        ensure!(
            told["ips"]
                == json!([{"address": "10.8.0.5/24", "gateway": "10.8.0.1", "interface": 2}]),
            "{told}"
        );
        ensure!(told["dns"] == json!({"search": ["a.b"]}), "{told}");
        ensure!(said(&pod, "ip route show")?.contains("default via 10.8.0.1"));
        reaches(&pod, "10.8.0.1")?;
        let again = call("ADD", &pod, &bridge.conf)?.ok()?;
        ensure!(again == told, "a second ADD asks nobody: {again}");
        call("CHECK", &pod, &bridge.with("prevResult", told).conf)?.ok()?;
        call("STATUS", &pod, &bridge.conf)?.ok()?;
        call("DEL", &pod, &bridge.conf)?.ok()?;
        call(
            "GC",
            &pod,
            &bridge.with("cni.dev/valid-attachments", json!([])).conf,
        )?
        .ok()?;
        let log = bridge
            .node
            .attempt(|| Ok(fs::read_to_string("/run/theirs.log")?))?;
        let verbs: Vec<&str> = log
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        ensure!(verbs == ["ADD", "CHECK", "STATUS", "DEL", "GC"], "{log}");
        ensure!(bridge.left()?.is_empty(), "{:?}", bridge.left()?);
        Ok(())
    })
}

#[test]
fn another_ipam_plugin_that_has_nothing_left_is_heard_and_called_back() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(lab, json!({"isGateway": true, "ipam": {"type": "theirs"}}))?;
        install_theirs(&bridge.node)?;
        let call = |verb, pod: &Pod, conf: &Value| with_theirs(&bridge, verb, pod, conf);
        let pod = bridge.node.pod("a")?;
        bridge
            .node
            .attempt(|| Ok(fs::write("/run/theirs.full", "")?))?;
        let before = bridge.kernel()?;
        let full = call("ADD", &pod, &bridge.conf)?;
        ensure!(
            full.error_code() == Some(11) && full.stdout.contains("none left"),
            "{full:?}"
        );
        same(&bridge.kernel()?, &before)?;
        let status = call("STATUS", &pod, &bridge.conf)?;
        ensure!(status.error_code() == Some(50), "{status:?}");
        let log = bridge
            .node
            .attempt(|| Ok(fs::read_to_string("/run/theirs.log")?))?;
        ensure!(log.starts_with("ADD") && log.contains("\nDEL "), "{log}");
        Ok(())
    })
}

#[test]
fn one_attachment_that_several_add_at_once_asks_its_ipam_plugin_once() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(lab, json!({"isGateway": true, "ipam": {"type": "theirs"}}))?;
        install_theirs(&bridge.node)?;
        let pod = bridge.node.pod("a")?;
        let told = std::thread::scope(|scope| {
            let add = || with_theirs(&bridge, "ADD", &pod, &bridge.conf)?.ok();
            let calls: Vec<_> = (0..8).map(|_| scope.spawn(add)).collect();
            let ended = calls
                .into_iter()
                .map(|call| call.join().map_err(|_| anyhow::anyhow!("a panic"))?);
            ended.collect::<Result<Vec<Value>>>()
        })?;
        ensure!(told.iter().all(|one| *one == told[0]), "{told:?}");
        let log = bridge
            .node
            .attempt(|| Ok(fs::read_to_string("/run/theirs.log")?))?;
        ensure!(log == "ADD one-a eth0\n", "{log}");
        reaches(&pod, "10.8.0.1")
    })
}

#[test]
fn a_gc_gives_back_to_another_ipam_plugin_what_is_not_listed() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(lab, json!({"isGateway": true, "ipam": {"type": "theirs"}}))?;
        install_theirs(&bridge.node)?;
        let pod = bridge.node.pod("a")?;
        with_theirs(&bridge, "ADD", &pod, &bridge.conf)?.ok()?;
        let conf = bridge.with("cni.dev/valid-attachments", json!([])).conf;
        let empty = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"];
        let mut environment = Vec::from(empty.map(|name| (name, String::new())));
        environment.push(("CNI_PATH", "/run/bin".into()));
        let conf = conf.to_string();
        bridge
            .plugin
            .raw(&bridge.node, "GC", &environment, conf.as_bytes())?
            .ok()?;
        let log = bridge
            .node
            .attempt(|| Ok(fs::read_to_string("/run/theirs.log")?))?;
        ensure!(log == "ADD one-a eth0\nDEL one-a eth0\nGC  \n", "{log}");
        ensure!(bridge.left()?.is_empty(), "{:?}", bridge.left()?);
        Ok(())
    })
}

#[test]
fn an_ipam_plugin_that_asks_a_host_local_of_ours_is_refused_where_both_would_wait_for_each_other()
-> Result<()> {
    Lab::scenario(|lab| {
        let mut ipam = json!({"type": "theirs", "subnet": "10.7.0.0/24"});
        let bridge = Bridge::new(lab, json!({"isGateway": true, "ipam": ipam}))?;
        install_theirs(&bridge.node)?;
        let program = lab::programs()?.plugins.join("host-local");
        let text = format!("#!/bin/sh\nexec {}\n", program.display());
        bridge
            .node
            .attempt(|| Ok(fs::write("/run/bin/theirs", &text)?))?;
        let pod = bridge.node.pod("a")?;
        let answer = with_theirs(&bridge, "ADD", &pod, &bridge.conf)?;
        ensure!(
            answer.error_code().is_some() && answer.stdout.contains("dataDir"),
            "{answer:?}"
        );
        with_theirs(&bridge, "DEL", &pod, &bridge.conf)?.ok()?;
        ensure!(bridge.left()?.is_empty(), "{:?}", bridge.left()?);
        ipam["dataDir"] = "/run/files".into();
        let fine = bridge.with("ipam", ipam);
        let told = with_theirs(&fine, "ADD", &pod, &fine.conf)?.ok()?;
        ensure!(told["ips"][0]["address"] == "10.7.0.2/24", "{told}");
        with_theirs(&fine, "DEL", &pod, &fine.conf)?.ok()?;
        ensure!(bridge.left()?.is_empty(), "{:?}", bridge.left()?);
        Ok(())
    })
}
