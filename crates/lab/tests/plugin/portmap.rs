//! Type `portmap`, chained behind a bridge and behind an interface that was made by hand.

use anyhow::{Context, Result, ensure};
use lab::plugin::{Answer, Attachment, Plugin};
use lab::{Lab, Node, Place, Pod, probe, programs};
use serde_json::{Value, json};

use super::{SOON, leftovers, said};

/// A runtime with a list of plugins.
struct Chain {
    node: Node,
    conf: Value,
}

impl Chain {
    fn call(&self, kind: &str, verb: &str, attachment: &Attachment, more: Value) -> Result<Answer> {
        let mut conf = self.conf.clone();
        conf["type"] = kind.into();
        for (key, value) in more.as_object().into_iter().flatten() {
            conf[key] = value.clone();
        }
        let plugin = Plugin::new(programs()?.plugins.join(kind));
        plugin.call(&self.node, verb, attachment, &conf)
    }

    fn ports(&self, verb: &str, pod: &Attachment, previous: &Value, more: Value) -> Result<Answer> {
        let mut conf = json!({"prevResult": previous, "runtimeConfig": {"portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}});
        for (key, value) in more.as_object().into_iter().flatten() {
            conf[key] = value.clone();
        }
        self.call("portmap", verb, pod, conf)
    }

    /// Elements of all maps and sets that name this pod as their owner.
    fn owned(&self, pod: &Attachment) -> Result<usize> {
        let rules = said(&self.node, "nft list table inet podwire")?;
        Ok(rules
            .matches(&format!("mine.portmap/{}/eth0", pod.container_id))
            .count())
    }

    fn left(&self) -> Result<Vec<String>> {
        self.node.attempt(|| leftovers("mine.portmap"))
    }
}

fn asks(from: &Place, to: &str) -> Result<String> {
    let seen = probe::tcp(from, to.parse()?, SOON)
        .with_context(|| format!("{} asks {to}", from.name()))?;
    Ok(seen.to_string())
}

fn bridged(node: Node, name: &str) -> Result<(Chain, Pod, Value)> {
    let conf = json!({"cniVersion": "1.0.0", "name": "mine", "bridge": "br7", "isDefaultGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}], [{"subnet": "fd00:7::/64"}]]}});
    let chain = Chain { node, conf };
    let pod = chain.node.pod(name)?;
    let told = chain
        .call("bridge", "ADD", &Attachment::of(&pod), json!({}))?
        .ok()?;
    Ok((chain, pod, told))
}

#[test]
fn a_port_behind_a_bridge_is_reached_from_everywhere_and_goes_with_its_key_alone() -> Result<()> {
    Lab::scenario(|lab| {
        let segment = lab.segment("lan")?;
        let node = lab
            .node("one")
            .uplink(&segment, &["192.0.2.1/24", "2001:db8::1/64"])
            .start()?;
        let outside = lab
            .node("two")
            .uplink(&segment, &["192.0.2.2/24", "2001:db8::2/64"])
            .start()?;
        let (chain, pod, told) = bridged(node, "a")?;
        let attachment = Attachment::of(&pod);
        let _listener = probe::listen(&pod, 80)?;
        let answer = chain.ports("ADD", &attachment, &told, json!({}))?.ok()?;
        ensure!(answer == told, "it is handed on: {answer}");
        ensure!(
            asks(&outside, "192.0.2.1:8080")? == "192.0.2.2",
            "with its own address"
        );
        asks(&outside, "[2001:db8::1]:8080")?;
        for to in ["192.0.2.1:8080", "127.0.0.1:8080"] {
            asks(&chain.node, to)?;
        }
        asks(&pod, "192.0.2.1:8080").context("the pod itself")?;
        let beside = chain.node.pod("b")?;
        chain
            .call("bridge", "ADD", &Attachment::of(&beside), json!({}))?
            .ok()?;
        asks(&beside, "192.0.2.1:8080").context("a pod of the same bridge")?;
        chain.ports("CHECK", &attachment, &told, json!({}))?.ok()?;
        let again = chain.ports("ADD", &attachment, &told, json!({}))?.ok()?;
        ensure!(again == told && chain.owned(&attachment)? == 4, "{again}");
        asks(&outside, "192.0.2.1:8080")?;
        // Neither ports nor a result, and no namespace.
        let mut gone = attachment.clone();
        gone.netns = String::new();
        for _ in 0..2 {
            chain.call("portmap", "DEL", &gone, json!({}))?.ok()?;
        }
        ensure!(chain.owned(&attachment)? == 0);
        let left: Vec<String> = chain
            .left()?
            .into_iter()
            .filter(|left| left.contains("portmap"))
            .collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
}

#[test]
fn a_port_of_an_interface_that_others_made_is_reached() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").addresses(&["192.0.2.1/32"]).start()?;
        let pod = node.pod("a")?;
        for words in [
            "ip link add v0 type veth peer name eth0",
            "ip link set eth0 netns a",
            "ip addr add 10.9.0.1/24 dev v0",
            "ip link set v0 up",
        ] {
            said(&node, words)?;
        }
        for words in [
            "ip addr add 10.9.0.2/24 dev eth0",
            "ip link set eth0 up",
            "ip route add default via 10.9.0.1",
        ] {
            said(&pod, words)?;
        }
        let chain = Chain {
            node,
            conf: json!({"cniVersion": "0.4.0", "name": "mine"}),
        };
        let attachment = Attachment::of(&pod);
        let told = json!({"cniVersion": "0.4.0", "interfaces": [{"name": "v0"}, {"name": "eth0", "sandbox": pod.path()}],
            "ips": [{"version": "4", "address": "10.9.0.2/24", "interface": 1}], "theirs": true});
        let _listener = probe::listen(&pod, 80)?;
        let answer = chain
            .ports(
                "ADD",
                &attachment,
                &told,
                json!({"masqAll": true, "snat": true, "backend": "iptables"}),
            )?
            .ok()?;
        ensure!(answer == told, "{answer}");
        let node = &chain.node;
        ensure!(asks(node, "192.0.2.1:8080")? == "10.9.0.1", "masqueraded");
        asks(node, "127.0.0.1:8080")?;
        asks(&pod, "192.0.2.1:8080")?;
        let taken = chain.ports(
            "ADD",
            &attachment.clone().container("other"),
            &told,
            json!({}),
        )?;
        ensure!(
            taken.error_code() == Some(103) && taken.stdout.contains(&attachment.container_id),
            "{taken:?}"
        );
        // Without ports it hands on, and what was published is not asked for any more.
        let none = json!({"runtimeConfig": {}});
        let answer = chain.ports("ADD", &attachment, &told, none)?.ok()?;
        ensure!(answer == told && chain.owned(&attachment)? == 0, "{answer}");
        ensure!(chain.left()?.is_empty(), "{:?}", chain.left()?);
        Ok(())
    })
}

#[test]
fn a_portmap_that_cannot_be_served_is_refused_by_name_and_a_gc_takes_what_is_not_listed()
-> Result<()> {
    Lab::scenario(|lab| {
        let (mut chain, pod, told) = bridged(lab.node("one").start()?, "a")?;
        let attachment = Attachment::of(&pod);
        for (more, code, part) in [
            (
                json!({"conditionsV4": ["-s", "10.0.0.0/8"]}),
                2,
                "conditionsV4",
            ),
            (json!({"conditionsV6": ["!"]}), 2, "conditionsV6"),
            (json!({"prevResult": null}), 7, "must be chained"),
            (json!({"masqAll": 7}), 7, "masqAll"),
        ] {
            let answer = chain.ports("ADD", &attachment, &told, more)?;
            ensure!(
                answer.error_code() == Some(code) && answer.stdout.contains(part),
                "{answer:?}"
            );
        }
        chain.ports("ADD", &attachment, &told, json!({}))?.ok()?;
        chain.conf["cniVersion"] = "1.1.0".into();
        let own = json!([{"containerID": attachment.container_id, "ifname": "eth0"}]);
        chain
            .call(
                "portmap",
                "GC",
                &attachment,
                json!({"cni.dev/valid-attachments": own}),
            )?
            .ok()?;
        ensure!(chain.owned(&attachment)? == 4);
        chain
            .call(
                "portmap",
                "GC",
                &attachment,
                json!({"cni.dev/valid-attachments": []}),
            )?
            .ok()?;
        ensure!(chain.owned(&attachment)? == 0);
        Ok(())
    })
}
