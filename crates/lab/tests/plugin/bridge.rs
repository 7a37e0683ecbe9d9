//! Type `bridge`, with configurations as people have them for the reference plugin.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Attachment, Plugin};
use lab::{Lab, Node, Place, Pod, probe, programs};
use serde_json::{Value, json};

use super::{SOON, ip, leftovers, network, said, same};

/// As long as an answer on one machine may be in coming when none is expected.
const MOMENT: Duration = Duration::from_millis(400);

pub(super) fn reaches(from: &Place, to: &str) -> Result<()> {
    probe::ping(from, to.parse()?, SOON)
        .map(drop)
        .with_context(|| format!("ping {to}"))
}

fn silent(from: &Place, to: &str) -> Result<bool> {
    Ok(probe::ping(from, to.parse()?, MOMENT).is_err())
}

pub(super) struct Bridge {
    pub(super) node: Node,
    pub(super) plugin: Plugin,
    pub(super) conf: Value,
}

impl Bridge {
    pub(super) fn new(lab: &Lab, more: Value) -> Result<Self> {
        Self::on(lab.node("one").start()?, more)
    }

    fn on(node: Node, more: Value) -> Result<Self> {
        let mut conf =
            json!({"cniVersion": "1.1.0", "name": "mine", "type": "bridge", "bridge": "br7"});
        for (key, value) in more.as_object().into_iter().flatten() {
            conf[key] = value.clone();
        }
        let plugin = Plugin::new(programs()?.plugins.join("bridge"));
        Ok(Self { node, plugin, conf })
    }

    pub(super) fn with(&self, key: &str, value: impl Into<Value>) -> Self {
        let mut conf = self.conf.clone();
        conf[key] = value.into();
        Self {
            node: self.node.clone(),
            plugin: self.plugin.clone(),
            conf,
        }
    }

    pub(super) fn pod(&self, name: &str) -> Result<(Pod, Value)> {
        let pod = self.node.pod(name)?;
        let told = self
            .plugin
            .add(&self.node, &Attachment::of(&pod), &self.conf)?;
        let told = told.ok().with_context(|| format!("ADD of {name}"))?;
        Ok((pod, told))
    }

    fn refused(&self, name: &str, code: u64, part: &str) -> Result<()> {
        let pod = self.node.pod(name)?;
        let before = self.kernel()?;
        let answer = self
            .plugin
            .add(&self.node, &Attachment::of(&pod), &self.conf)?;
        ensure!(answer.error_code() == Some(code), "{answer:?}");
        ensure!(
            answer.stdout.contains(part),
            "{part:?} is not in {}",
            answer.stdout
        );
        pod.destroy()?;
        same(&self.kernel()?, &before)
    }

    /// Whatever of the kernel's on the node a plugin could have touched.
    pub(super) fn kernel(&self) -> Result<String> {
        Ok(network(&self.node)? + &said(&self.node, "nft list ruleset")?)
    }

    pub(super) fn del(&self, pod: &Pod) -> Result<()> {
        self.plugin
            .del(&self.node, &Attachment::of(pod), &self.conf)?
            .ok()
            .map(drop)
    }

    pub(super) fn check(&self, pod: &Pod, told: &Value) -> Result<()> {
        let conf = self.with("prevResult", told.clone()).conf;
        self.plugin
            .check(&self.node, &Attachment::of(pod), &conf)?
            .ok()
            .map(drop)
    }

    /// What one of its pods has left on the node.
    pub(super) fn left(&self) -> Result<Vec<String>> {
        self.node.attempt(|| leftovers("mine"))
    }
}

fn host_local() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}], [{"subnet": "fd00:7::/64"}]],
        "routes": [{"dst": "10.99.0.0/16"}, {"dst": "10.98.0.0/16", "gw": "10.7.0.9", "mtu": 1400, "priority": 7}]})
}

/// A bridge port's own flags.
fn port(bridge: &Bridge, told: &Value) -> Result<Value> {
    let name = told["interfaces"][1]["name"]
        .as_str()
        .context("the node's end")?;
    let link = ip(&bridge.node, &format!("-d link show dev {name}"))?[0].clone();
    Ok(link["linkinfo"]["info_slave_data"].clone())
}

fn as_the_reference_plugin_tells(told: &Value) -> Result<()> {
    let names: Vec<&str> = told["interfaces"]
        .as_array()
        .context("interfaces")?
        .iter()
        .filter_map(|interface| interface["name"].as_str())
        .collect();
    ensure!(names[0] == "br7" && names[2] == "eth0", "{names:?}");
    ensure!(
        told["ips"]
            == json!([
    {"address": "10.7.0.2/24", "gateway": "10.7.0.1", "interface": 2},
    {"address": "fd00:7::2/64", "gateway": "fd00:7::1", "interface": 2}]),
        "{}",
        told["ips"]
    );
    ensure!(
        told["routes"]
            == json!([
    {"dst": "10.99.0.0/16"}, {"dst": "10.98.0.0/16", "gw": "10.7.0.9", "mtu": 1400, "priority": 7},
    {"dst": "0.0.0.0/0", "gw": "10.7.0.1"}, {"dst": "::/0", "gw": "fd00:7::1"}]),
        "{}",
        told["routes"]
    );
    ensure!(
        told["dns"] == json!({"nameservers": ["9.9.9.9"]}),
        "{}",
        told["dns"]
    );

    Ok(())
}

#[test]
fn a_bridge_of_the_reference_plugin_is_made_as_its_configuration_says() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(
            lab,
            json!({"isDefaultGateway": true, "mtu": 1450, "ipam": host_local(),
            "dns": {"nameservers": ["9.9.9.9"]}}),
        )?;
        let (pod, told) = bridge.pod("a")?;
        as_the_reference_plugin_tells(&told)?;

        let routes = said(&pod, "ip route show")?;
        for route in [
            "default via 10.7.0.1 dev eth0",
            "10.99.0.0/16 via 10.7.0.1 dev eth0",
            "10.98.0.0/16 via 10.7.0.9 dev eth0",
            "metric 7",
            "mtu 1400",
        ] {
            ensure!(routes.contains(route), "{route:?} is not in {routes}");
        }
        let on_bridge = said(&bridge.node, "ip addr show dev br7")?;
        for part in ["10.7.0.1/24", "fd00:7::1/64", "mtu 1450"] {
            ensure!(on_bridge.contains(part), "{part:?} is not in {on_bridge}");
        }
        let forwarding = bridge.node.attempt(|| {
            Ok((
                fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?,
                fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding")?,
            ))
        })?;
        ensure!(forwarding == ("1\n".into(), "1\n".into()), "{forwarding:?}");
        bridge.check(&pod, &told)?;
        let (other, told) = bridge.pod("b")?;
        let again = bridge
            .plugin
            .add(&bridge.node, &Attachment::of(&other), &bridge.conf)?
            .ok()?;
        ensure!(again == told, "a second ADD: {again}");
        for target in ["10.7.0.3", "fd00:7::3", "10.7.0.1", "fd00:7::1"] {
            reaches(&pod, target)?;
        }
        for pod in [&pod, &other] {
            bridge.del(pod)?;
        }
        ensure!(bridge.left()?.is_empty(), "{:?}", bridge.left()?);
        Ok(())
    })
}

#[test]
fn flags_of_the_port_are_set_and_a_foreign_mac_is_dropped() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(
            lab,
            json!({"isGateway": true, "hairpinMode": true, "portIsolation": true,
            "macspoofchk": true, "ipam": {"type": "host-local", "subnet": "10.7.0.0/24"}}),
        )?;
        let (pod, told) = bridge.pod("a")?;
        let flags = port(&bridge, &told)?;
        for flag in ["hairpin", "isolated", "locked"] {
            ensure!(flags[flag] == true, "{flag}: {flags}");
        }
        reaches(&pod, "10.7.0.1")?;
        let (other, _) = bridge.pod("b")?;
        ensure!(
            silent(&other, "10.7.0.2")?,
            "isolated ports exchange nothing"
        );
        said(&pod, "ip link set eth0 address 02:00:00:00:00:99")?;
        ensure!(silent(&pod, "10.7.0.1")?, "a MAC that is not the pod's");
        for pod in [&pod, &other] {
            bridge.del(pod)?;
        }
        ensure!(bridge.left()?.is_empty(), "{:?}", bridge.left()?);
        Ok(())
    })
}

#[test]
fn a_mac_is_taken_from_the_first_of_three_places_and_promiscuous_is_the_bridge() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(
            lab,
            json!({"promiscMode": true, "ipam": {"type": "host-local", "subnet": "10.7.0.0/24"}}),
        )?;
        let of_args = bridge.with("args", json!({"cni": {"mac": "02:00:00:00:00:02"}}));
        let of_runtime = of_args.with("runtimeConfig", json!({"mac": "02:00:00:00:00:03"}));
        for (name, bridge, mac) in [
            ("a", &of_args, "02:00:00:00:00:02"),
            ("b", &of_runtime, "02:00:00:00:00:03"),
        ] {
            let (pod, told) = bridge.pod(name)?;
            ensure!(told["interfaces"][2]["mac"] == mac, "{told}");
            ensure!(ip(&pod, "link show dev eth0")?[0]["address"] == mac);
        }
        let shown = ip(&bridge.node, "-d link show dev br7")?[0]["promiscuity"].clone();
        ensure!(shown.as_u64() > Some(0), "{shown}");
        Ok(())
    })
}

#[test]
fn an_address_of_the_bridge_that_is_in_the_way_is_named_or_taken_away() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(
            lab,
            json!({"isGateway": true, "ipam": {"type": "host-local", "subnet": "10.7.0.0/24"}}),
        )?;
        for words in [
            "ip link add br7 type bridge",
            "ip link set br7 up",
            "ip addr add 10.7.0.77/16 dev br7",
            "ip addr add 192.0.2.1/24 dev br7",
        ] {
            said(&bridge.node, words)?;
        }
        bridge.refused("a", 102, "10.7.0.77/16")?;
        bridge.with("forceAddress", true).pod("b")?;
        let shown = said(&bridge.node, "ip addr show dev br7")?;
        ensure!(
            !shown.contains("10.7.0.77")
                && shown.contains("10.7.0.1/24")
                && shown.contains("192.0.2.1"),
            "{shown}"
        );
        Ok(())
    })
}

#[test]
fn masquerading_is_an_element_of_our_own_table_and_goes_without_the_namespace() -> Result<()> {
    Lab::scenario(|lab| {
        let segment = lab.segment("lan")?;
        let node = lab
            .node("one")
            .uplink(&segment, &["192.0.2.1/24"])
            .start()?;
        let outside = lab
            .node("two")
            .uplink(&segment, &["192.0.2.2/24"])
            .start()?;
        let bridge = Bridge::on(
            node,
            json!({"isDefaultGateway": true, "ipMasq": true,
            "ipam": {"type": "host-local", "subnet": "10.7.0.0/24"}}),
        )?;
        let (pod, told) = bridge.pod("a")?;
        reaches(&pod, "192.0.2.2")?;
        ensure!(
            !said(&outside, "ip route show")?.contains("10.7"),
            "it knows no way back"
        );
        bridge.check(&pod, &told)?;
        let element = |node: &Node| said(node, "nft list set inet podwire masqueraded4");
        ensure!(
            element(&bridge.node)?.contains("10.7.0.2 comment \"mine/one-a/eth0\""),
            "{}",
            element(&bridge.node)?
        );
        // The container is gone, the runtime names no namespace.
        let mut attachment = Attachment::of(&pod);
        pod.destroy()?;
        attachment.netns = String::new();
        bridge
            .plugin
            .del(&bridge.node, &attachment, &bridge.conf)?
            .ok()?;
        ensure!(
            !element(&bridge.node)?.contains("10.7.0.2"),
            "{}",
            element(&bridge.node)?
        );
        ensure!(bridge.left()?.is_empty(), "{:?}", bridge.left()?);

        let plain = bridge.with("ipMasq", false);
        let (pod, _) = plain.pod("b")?;
        ensure!(silent(&pod, "192.0.2.2")?, "nobody knows a way back");
        Ok(())
    })
}

#[test]
fn a_wire_without_addresses_leaves_the_node_alone() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(lab, json!({}))?;
        let (pod, told) = bridge.pod("a")?;
        ensure!(told["ips"] == json!([]), "{told}");
        let (other, again) = bridge.pod("b")?;
        let macs = [&told, &again].map(|told| told["interfaces"][2]["mac"].clone());
        ensure!(macs[0] != macs[1], "{macs:?}");
        said(&pod, "ip addr add 10.1.1.1/24 dev eth0")?;
        said(&other, "ip addr add 10.1.1.2/24 dev eth0")?;
        reaches(&pod, "10.1.1.2")?;
        bridge.check(&pod, &told)?;
        ensure!(
            said(&bridge.node, "nft list ruleset")?.is_empty(),
            "no table"
        );
        let (down, _) = bridge.with("disableContainerInterface", true).pod("c")?;
        ensure!(
            !ip(&down, "link show dev eth0")?[0]["flags"]
                .to_string()
                .contains("\"UP\"")
        );
        for pod in [&pod, &other, &down] {
            bridge.del(pod)?;
        }
        ensure!(bridge.left()?.is_empty(), "{:?}", bridge.left()?);
        Ok(())
    })
}

#[test]
fn keys_that_are_not_served_are_refused_by_name() -> Result<()> {
    Lab::scenario(|lab| {
        let bridge = Bridge::new(
            lab,
            json!({"ipam": {"type": "host-local", "subnet": "10.7.0.0/24"}}),
        )?;
        bridge.with("vlan", 100).refused("a", 2, "vlan")?;
        bridge
            .with("vlanTrunk", json!([{"id": 4}]))
            .refused("b", 2, "vlanTrunk")?;
        bridge
            .with("preserveDefaultVlan", true)
            .refused("c", 2, "preserveDefaultVlan")?;
        bridge
            .with("ipam", json!({"type": "nowhere"}))
            .refused("d", 4, "nowhere")
    })
}

#[test]
fn what_the_reference_plugin_gave_away_before_is_passed_over_and_freed() -> Result<()> {
    Lab::scenario(|lab| {
        let ipam = json!({"type": "host-local", "subnet": "10.7.0.0/29"});
        let bridge = Bridge::new(lab, json!({"isGateway": true, "ipam": ipam}))?;
        let folder = "/var/lib/cni/networks/mine";
        let old = bridge.node.pod("old")?;
        let id = Attachment::of(&old).container_id;
        bridge.node.attempt(|| {
            fs::create_dir_all(folder)?;
            fs::write(format!("{folder}/10.7.0.2"), format!("{id}\r\neth0"))?;
            let dead = format!("{folder}/10.7.0.3");
            fs::write(&dead, "dead\r\neth0")?;
            let dead = fs::File::options().write(true).open(dead)?;
            Ok(dead.set_modified(std::time::SystemTime::UNIX_EPOCH)?)
        })?;
        let (new, told) = bridge.pod("new")?;
        ensure!(told["ips"][0]["address"] == "10.7.0.4/29", "{told}");
        bridge.del(&old)?;
        bridge.del(&new)?;
        let conf = bridge.with("cni.dev/valid-attachments", json!([])).conf;
        bridge
            .plugin
            .call(&bridge.node, "GC", &Attachment::of(&new), &conf)?
            .ok()?;
        let left = said(&bridge.node, &format!("ls {folder}"))?;
        ensure!(left.trim() == "lock", "{left}");
        Ok(())
    })
}

#[test]
fn duplicate_detection_is_done_where_it_is_asked_for() -> Result<()> {
    Lab::scenario(|lab| {
        let ipam = json!({"type": "host-local", "subnet": "fd00:7::/64"});
        let bridge = Bridge::new(lab, json!({"isGateway": true, "ipam": ipam}))?;
        let nodad = |pod: &Pod| {
            Ok::<_, anyhow::Error>(
                said(pod, "ip -6 addr show dev eth0 scope global")?.contains("nodad"),
            )
        };
        let (pod, _) = bridge.pod("a")?;
        ensure!(nodad(&pod)?, "usable at once");
        let asking = bridge.with("enabledad", true);
        let (pod, _) = asking.pod("b")?;
        ensure!(!nodad(&pod)?, "the kernel asks");
        let shown = said(&pod, "ip -6 addr show dev eth0 scope global")?;
        ensure!(!shown.contains("tentative"), "and has asked: {shown}");

        // Somebody on the link who has asked nobody.
        said(&pod, "ip addr add fd00:7::77/64 dev eth0 nodad")?;
        let before = bridge.kernel()?;
        let mut asking = asking.with("args", json!({"cni": {"ips": ["fd00:7::77"]}}));
        let other = bridge.node.pod("c")?;
        let attachment = Attachment::of(&other);
        let add = |bridge: &Bridge| bridge.plugin.add(&bridge.node, &attachment, &bridge.conf);
        let answer = add(&asking)?;
        ensure!(
            answer.error_code() == Some(102) && answer.stdout.contains("fd00:7::77"),
            "{answer:?}"
        );
        same(&bridge.kernel()?, &before)?;
        asking.conf["args"] = json!({});
        add(&asking)?.ok().map(drop)
    })
}
