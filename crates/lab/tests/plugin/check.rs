//! CHECK: nothing to say after an ADD, and one sentence for each thing that is not as it was.

use anyhow::{Context, Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Pod, wire};
use serde_json::Value;

use super::{Kind, Rig, addresses, node_end, said};

/// What is broken, by which command in which place, and the words that name it.
struct Damage {
    what: &'static str,
    kinds: &'static [Kind],
    inside: bool,
    command: &'static str,
    named: &'static [&'static str],
}

/// `END` stands for the node's end of the link.
const DAMAGES: [Damage; 9] = [
    Damage {
        what: "address removed",
        kinds: &Kind::BOTH,
        inside: true,
        command: "ip addr flush dev eth0 scope global",
        named: &["the container lacks address 10.244.0.2"],
    },
    Damage {
        what: "default route removed",
        kinds: &Kind::BOTH,
        inside: true,
        command: "ip route del default",
        named: &["the container lacks route 0.0.0.0/0 via"],
    },
    Damage {
        what: "interface down",
        kinds: &Kind::BOTH,
        inside: true,
        command: "ip link set eth0 down",
        named: &["eth0 is down in the container"],
    },
    Damage {
        what: "gateway's neighbour entry removed",
        kinds: &[Kind::Routed],
        inside: true,
        command: "ip neigh del 169.254.1.1 dev eth0",
        named: &["the container lacks neighbour 169.254.1.1"],
    },
    Damage {
        what: "host link deleted",
        kinds: &Kind::BOTH,
        inside: false,
        command: "ip link del END",
        named: &[
            "link END is gone from the node",
            "eth0 is gone from the container",
        ],
    },
    Damage {
        what: "host link down",
        kinds: &Kind::BOTH,
        inside: false,
        command: "ip link set END down",
        named: &["link END is down on the node"],
    },
    Damage {
        what: "host route removed",
        kinds: &[Kind::Routed],
        inside: false,
        command: "ip route del 10.244.0.2/32",
        named: &["the node lacks route 10.244.0.2/32 dev END src 10.244.0.1"],
    },
    Damage {
        what: "host neighbour entry removed",
        kinds: &[Kind::Routed],
        inside: false,
        command: "ip neigh del fd00:10:244::2 dev END",
        named: &["the node lacks neighbour fd00:10:244::2"],
    },
    Damage {
        what: "bridge port removed",
        kinds: &[Kind::Bridge],
        inside: false,
        command: "ip link set END nomaster",
        named: &["link END is no port of cni0"],
    },
];

fn difference(rig: &Rig, pod: &Pod, result: &Value) -> Result<String> {
    let answer = rig.check(&Attachment::of(pod), result)?;
    ensure!(answer.error_code() == Some(101), "{answer:?}");
    Ok(answer.json["msg"].as_str().context("msg")?.to_owned())
}

#[test]
fn a_check_after_an_add_has_nothing_to_say() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            for version in ["0.4.0", "1.0.0", "1.1.0"] {
                let rig = rig.with("cniVersion", version);
                let (pod, result) = rig.pod(version)?;
                let answer = rig.check(&Attachment::of(&pod), &result)?;
                ensure!(
                    answer.code == Some(0) && answer.stdout.is_empty(),
                    "{answer:?}"
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_check_names_each_thing_that_is_not_as_the_add_left_it() -> Result<()> {
    for damage in &DAMAGES {
        for kind in damage.kinds {
            Lab::scenario(|lab| {
                let rig = Rig::new(lab, *kind)?.with("cniVersion", "1.0.0");
                let (pod, result) = rig.pod("a")?;
                let end = node_end(&result)?;
                let command = damage.command.replace("END", end);
                said(if damage.inside { &pod } else { &rig.node }, &command)?;
                let msg = difference(&rig, &pod, &result)?;
                for words in damage.named {
                    let words = words.replace("END", end);
                    ensure!(msg.contains(&words), "{kind:?}: {}: {msg}", damage.what);
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

#[test]
fn a_check_notices_a_lease_or_a_record_that_is_gone() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("cniVersion", "1.0.0");
            let (pod, result) = rig.pod("a")?;
            let network = rig.network();
            let last = addresses(&result).pop().context("an address")?;
            let remove = |file: String| rig.node.attempt(|| Ok(std::fs::remove_file(file)?));
            remove(format!("/run/podwire/{network}/leases/{last}"))?;
            let msg = difference(&rig, &pod, &result)?;
            ensure!(
                msg.ends_with(&format!(
                    ": address {last} is not leased to this attachment"
                )),
                "{msg}"
            );
            remove(format!("/run/podwire/{network}/attachments/one-a@eth0"))?;
            let msg = difference(&rig, &pod, &result)?;
            ensure!(
                msg.contains("no attachment of container one-a as eth0 is recorded"),
                "{msg}"
            );
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_check_needs_the_result_of_the_add_and_a_version_that_has_it() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("cniVersion", "1.0.0");
            let (pod, result) = rig.pod("a")?;
            let attachment = Attachment::of(&pod);
            let answer = rig.plugin.check(&rig.node, &attachment, &rig.conf)?;
            ensure!(answer.error_code() == Some(7), "{answer:?}");
            ensure!(answer.stdout.contains("prevResult"), "{answer:?}");
            for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1"] {
                let answer = rig
                    .with("cniVersion", version)
                    .check(&attachment, &result)?;
                ensure!(answer.error_code() == Some(1), "{answer:?}");
                // The reference's own tests compare message and details as a whole.
                let msg = "config version does not allow CHECK";
                let is_whole = answer.json["msg"] == msg && answer.json.get("details").is_none();
                ensure!(is_whole, "{answer:?}");
            }
            let mut other = result;
            other["ips"][0]["address"] = "10.244.0.99/24".into();
            let msg = difference(&rig, &pod, &other)?;
            ensure!(
                msg.ends_with("prevResult lacks address 10.244.0.2"),
                "{msg}"
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// A plugin that is chained behind may change them.
#[test]
fn a_check_forgives_another_mac_and_mtu_inside_the_container() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("cniVersion", "1.0.0");
            let (pod, result) = rig.pod("a")?;
            said(&pod, "ip link set dev eth0 mtu 1300")?;
            if kind == Kind::Bridge {
                // Of a routed pod the kernel would forget the neighbour entries, and CHECK would be right to say so.
                said(&pod, "ip link set dev eth0 address 0a:00:00:00:00:09")?;
            }
            rig.check(&Attachment::of(&pod), &result)?.ok()?;
            pod.attempt(|| wire::add_address("eth0", "192.0.2.1/32".parse()?))?;
            rig.check(&Attachment::of(&pod), &result)?.ok()?;
            Ok(())
        })?;
    }
    Ok(())
}
