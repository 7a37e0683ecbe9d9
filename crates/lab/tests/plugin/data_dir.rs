//! Type `bridge` with `ipam.dataDir`: the reference plugin's own files, so that a node can be moved, and moved back.

use std::fs;

use anyhow::{Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Node};
use serde_json::{Value, json};

use super::bridge::{Bridge, reaches};
use super::tree;

const FOLDER: &str = "/run/their/networks";

fn ipam() -> Value {
    json!({"type": "host-local", "dataDir": FOLDER, "ranges": [[{"subnet": "10.7.0.0/29"}], [{"subnet": "fd00:7::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}]})
}

/// Names and contents.
fn files(node: &Node) -> Result<Vec<(String, String)>> {
    let found = node.attempt(|| tree(std::path::Path::new(FOLDER)))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let name = |name: &str| name.trim_start_matches("mine/").to_owned();
    let found = found.into_iter();
    Ok(found
        .map(|(path, bytes)| (name(&path), text(bytes)))
        .collect())
}

fn reserved(node: &Node) -> Result<Vec<String>> {
    let names = files(node)?.into_iter().map(|(name, _)| name);
    Ok(names
        .filter(|name| name.parse::<std::net::IpAddr>().is_ok())
        .collect())
}

#[test]
fn a_bridge_with_a_data_dir_keeps_the_files_of_the_reference_plugin() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(lab, json!({"isGateway": true, "ipam": ipam()}))?;
        let (pod, told) = bridge.pod("a")?;
        let expected = [
            ("10.7.0.2", "one-a\r\neth0"),
            ("fd00:7::2", "one-a\r\neth0"),
            ("last_reserved_ip.0", "10.7.0.2"),
            ("last_reserved_ip.1", "fd00:7::2"),
            ("lock", ""),
        ];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        ensure!(
            files(&bridge.node)? == expected,
            "{:?}",
            files(&bridge.node)?
        );
        let leases = bridge.node.attempt(|| {
            let leases = fs::read_dir("/run/podwire/mine/leases")?;
            Ok(leases.count())
        })?;
        ensure!(leases == 0, "an address is reserved once");
        reaches(&pod, "10.7.0.1")?;
        bridge.check(&pod, &told)?;
        let again = bridge
            .plugin
            .add(&bridge.node, &Attachment::of(&pod), &bridge.conf)?
            .ok()?;
        ensure!(again == told, "a second ADD: {again}");
        // A hand has freed it.
        bridge
            .node
            .attempt(|| Ok(fs::remove_file(format!("{FOLDER}/mine/10.7.0.2"))?))?;
        let missed = bridge.check(&pod, &told).unwrap_err().to_string();
        ensure!(missed.contains(FOLDER), "{missed}");
        for _ in 0..2 {
            bridge.del(&pod)?;
        }
        ensure!(reserved(&bridge.node)?.is_empty());
        ensure!(bridge.left()?.is_empty(), "{:?}", bridge.left()?);
        Ok(())
    })
}

#[test]
fn a_bridge_takes_a_node_over_with_its_data_dir_and_gives_it_back() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(lab, json!({"isGateway": true, "ipam": ipam()}))?;
        let (old, dead) = (bridge.node.pod("old")?, "dead\r\neth0");
        bridge.node.attempt(|| {
            fs::create_dir_all(format!("{FOLDER}/mine"))?;
            let own = |name: &str, text: &str| fs::write(format!("{FOLDER}/mine/{name}"), text);
            own("10.7.0.2", "one-old\r\neth0")?;
            own("10.7.0.3", dead)?;
            own("last_reserved_ip.0", "10.7.0.3")?;
            let dead = fs::File::options()
                .write(true)
                .open(format!("{FOLDER}/mine/10.7.0.3"))?;
            Ok(dead.set_modified(std::time::SystemTime::UNIX_EPOCH)?)
        })?;
        let (new, told) = bridge.pod("new")?;
        ensure!(told["ips"][0]["address"] == "10.7.0.4/29", "{told}");
        // The namespace is gone, and the configuration names another folder by now: the record knows where.
        let other = bridge.with(
            "ipam",
            json!({"type": "host-local", "subnet": "10.7.0.0/29"}),
        );
        let mut gone = Attachment::of(&new);
        gone.netns = String::new();
        other.plugin.del(&other.node, &gone, &other.conf)?.ok()?;
        ensure!(reserved(&bridge.node)? == ["10.7.0.2", "10.7.0.3"]);
        bridge.del(&old)?;
        let gc = bridge.with("cni.dev/valid-attachments", json!([])).conf;
        bridge.plugin.call_network(&bridge.node, "GC", &gc)?.ok()?;
        ensure!(reserved(&bridge.node)?.is_empty());

        // To and fro: the type `host-local` of another plugin's goes on where this one was.
        let (last, _) = bridge.pod("last")?;
        let host_local = lab::plugin::Plugin::new(lab::programs()?.plugins.join("host-local"));
        let attachment = Attachment::of(&last).container("theirs");
        let given = host_local.add(&bridge.node, &attachment, &bridge.conf)?;
        ensure!(
            given.addresses() == ["10.7.0.6/29", "fd00:7::4/64"],
            "{given:?}"
        );
        host_local
            .del(&bridge.node, &attachment, &bridge.conf)?
            .ok()?;
        bridge.del(&last)
    })
}

#[test]
fn a_bridge_without_an_address_left_in_its_files_says_so_without_a_lock() -> Result<()> {
    Lab::scenario(|lab| {
        let mut ipam = ipam();
        ipam["ranges"] = json!([[{"subnet": "10.7.0.0/30"}]]);
        let bridge = Bridge::new(lab, json!({"isGateway": true, "ipam": ipam}))?;
        let status = || {
            bridge
                .plugin
                .call_network(&bridge.node, "STATUS", &bridge.conf)
        };
        status()?.ok()?;
        bridge.pod("a")?;
        let lock = format!("{FOLDER}/mine/lock");
        let lock = bridge.node.attempt(|| Ok(fs::File::open(&lock)?))?;
        lock.lock()?;
        let full = status()?;
        ensure!(
            full.error_code() == Some(50) && full.stdout.contains("container one-a"),
            "{full:?}"
        );
        lock.unlock()?;
        let pod = bridge.node.pod("b")?;
        let before = bridge.kernel()?;
        let answer = bridge
            .plugin
            .add(&bridge.node, &Attachment::of(&pod), &bridge.conf)?;
        ensure!(
            answer.error_code() == Some(11) && answer.stdout.contains("has 1 of 1 in use"),
            "{answer:?}"
        );
        super::same(&bridge.kernel()?, &before)?;
        ensure!(reserved(&bridge.node)? == ["10.7.0.2"]);
        Ok(())
    })
}

/// Whoever was attached by the reference plugin lives on when it is replaced, whatever is asked of this one.
#[test]
fn a_pod_of_the_reference_plugin_keeps_its_address_when_its_add_is_refused() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(lab, json!({"isGateway": true, "ipam": ipam()}))?;
        bridge.pod("ours")?;
        let theirs = bridge.node.pod("theirs")?;
        let path = format!("{FOLDER}/mine/10.7.0.5");
        bridge
            .node
            .attempt(|| Ok(fs::write(&path, "one-theirs\r\neth0")?))?;
        let refused = || {
            bridge
                .plugin
                .add(&bridge.node, &Attachment::of(&theirs), &bridge.conf)
        };
        let answer = refused()?;
        ensure!(answer.stdout.contains("duplicate allocation"), "{answer:?}");
        let network = theirs.path();
        super::said(
            &bridge.node,
            &format!("nsenter --net={network} ip link add eth0 type bridge"),
        )?;
        ensure!(refused()?.error_code().is_some());
        ensure!(reserved(&bridge.node)?.contains(&"10.7.0.5".to_owned()));
        bridge.del(&theirs)?;
        ensure!(!reserved(&bridge.node)?.contains(&"10.7.0.5".to_owned()));
        Ok(())
    })
}

#[test]
fn a_gc_frees_no_file_where_it_is_refused_or_the_attachment_is_being_worked_on() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(lab, json!({"isGateway": true, "ipam": ipam()}))?;
        bridge.pod("a")?;
        let before = reserved(&bridge.node)?;
        bridge.node.attempt(|| {
            for name in &before {
                let file = fs::File::options()
                    .write(true)
                    .open(format!("{FOLDER}/mine/{name}"))?;
                file.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
            }
            Ok(())
        })?;
        let gc = |bridge: &Bridge| bridge.plugin.call_network(&bridge.node, "GC", &bridge.conf);
        let all = bridge.with("cni.dev/valid-attachments", json!([]));
        let refused = gc(&all.with("cniVersion", "1.0.0"))?;
        ensure!(refused.error_code() == Some(1), "{refused:?}");
        ensure!(reserved(&bridge.node)? == before);
        let record = "/run/podwire/mine/attachments/one-a@eth0";
        let record = bridge.node.attempt(|| Ok(fs::File::open(record)?))?;
        record.lock()?;
        gc(&all)?.ok()?;
        ensure!(reserved(&bridge.node)? == before);
        record.unlock()?;
        gc(&all)?.ok()?;
        ensure!(reserved(&bridge.node)?.is_empty());
        ensure!(bridge.left()?.is_empty(), "{:?}", bridge.left()?);
        Ok(())
    })
}

#[test]
fn a_gc_ends_what_host_local_gave_before_it_had_a_data_dir() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(lab, json!({"ipam": ipam()}))?;
        let host_local = lab::plugin::Plugin::new(lab::programs()?.plugins.join("host-local"));
        let mut before = bridge.conf.clone();
        if let Some(ipam) = before["ipam"].as_object_mut() {
            ipam.remove("dataDir");
        }
        let pod = bridge.node.pod("a")?;
        let node = &bridge.node;
        host_local.add(node, &Attachment::of(&pod), &before)?.ok()?;
        let records = || {
            let folder = "/run/podwire/mine/attachments";
            node.attempt(|| Ok(fs::read_dir(folder)?.count()))
        };
        ensure!(records()? == 1);
        let gc = bridge.with("cni.dev/valid-attachments", json!([])).conf;
        host_local.call_network(node, "GC", &gc)?.ok()?;
        ensure!(records()? == 0, "{} records", records()?);
        Ok(())
    })
}
