//! Type `loopback`, as runtimes call it for every container beside the pod's own network.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Attachment, Plugin};
use lab::{Lab, Node, Place, Pod, programs, wire};
use serde_json::{Value, json};

use super::{Kind, Rig, SOON, VERSIONS, ip, said, same, state};

fn file(name: &str) -> Result<PathBuf> {
    Ok(programs()?.plugins.join(name))
}

fn plugin() -> Result<Plugin> {
    Ok(Plugin::new(file("loopback")?))
}

/// The configuration of a runtime that has one of its own for this.
fn conf(version: &str) -> Value {
    json!({"cniVersion": version, "name": "cni-loopback", "type": "loopback"})
}

/// A pod whose loopback is down, as it is at a namespace's birth.
fn untouched(node: &Node, name: &str) -> Result<Pod> {
    let pod = node.pod(name)?;
    pod.attempt(|| wire::set_down("lo"))?;
    ensure!(!shown(&pod)?.0, "it is up");
    Ok(pod)
}

/// Whether `lo` is up, and its addresses.
fn shown(place: &Place) -> Result<(bool, Vec<String>)> {
    let lo = ip(place, "addr show dev lo")?[0].clone();
    let flags = lo["flags"].as_array().context("flags")?;
    let addresses = lo["addr_info"].as_array().into_iter().flatten();
    let addresses = addresses.map(|it| {
        let address = it["local"].as_str().unwrap_or_default();
        format!("{address}/{}", it["prefixlen"])
    });
    Ok((flags.contains(&json!("UP")), addresses.collect()))
}

fn answer(version: &str, netns: &str) -> Value {
    let addresses = ["127.0.0.1/8", "::1/128"];
    if version < "0.3.0" {
        let [four, six] = addresses.map(|ip| json!({"ip": ip, "routes": []}));
        return json!({"cniVersion": version, "ip4": four, "ip6": six, "dns": {}});
    }
    let mut ips = addresses.map(|ip| json!({"address": ip, "interface": 0}));
    if version < "1.0.0" {
        ips[0]["version"] = "4".into();
        ips[1]["version"] = "6".into();
    }
    let lo = json!({"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": netns});
    json!({"cniVersion": version, "interfaces": [lo], "ips": ips, "routes": [], "dns": {}})
}

#[test]
fn the_loopback_comes_up_and_is_told_in_every_version_and_goes_down_again() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let before = state(&node)?;
        for version in VERSIONS {
            let pod = untouched(&node, &format!("v{version}"))?;
            let attachment = Attachment::of(&pod).interface("lo");
            let told = plugin()?
                .add(&node, &attachment, &conf(version))?
                .ok()
                .context(version)?;
            let expected = answer(version, pod.path());
            ensure!(told == expected, "{version}: {told}\nnot\n{expected}");
            let up = (true, vec!["127.0.0.1/8".to_owned(), "::1/128".to_owned()]);
            ensure!(shown(&pod)? == up, "{version}: {:?}", shown(&pod)?);
            let again = plugin()?.add(&node, &attachment, &conf(version))?.ok()?;
            ensure!(again == expected, "a second ADD: {again}");
            for _ in 0..2 {
                let deleted = plugin()?.del(&node, &attachment, &conf(version))?;
                ensure!(deleted.stdout.is_empty(), "{deleted:?}");
                deleted.ok()?;
                ensure!(!shown(&pod)?.0, "{version}: still up");
            }
            pod.destroy()?;
        }
        same(&state(&node)?, &before).context("the node")
    })
}

#[test]
fn whatever_interface_is_asked_for_it_is_the_loopback() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        // The second is found by its file's name alone, the third by what the configuration says.
        let mut nameless = conf("1.0.0");
        nameless
            .as_object_mut()
            .context("an object")?
            .remove("type");
        for (name, file_name, conf) in [
            ("a", "loopback", conf("1.0.0")),
            ("b", "loopback", nameless),
            ("c", "podwire", conf("1.0.0")),
        ] {
            let pod = untouched(&node, name)?;
            let plugin = Plugin::new(file(file_name)?);
            let attachment = Attachment::of(&pod).interface("eth0");
            let told = plugin.add(&node, &attachment, &conf)?.ok().context(name)?;
            ensure!(told == answer("1.0.0", pod.path()), "{name}: {told}");
            ensure!(shown(&pod)?.0, "{name}");
            plugin.del(&node, &attachment, &conf)?.ok()?;
            ensure!(!shown(&pod)?.0, "{name}");
        }
        Ok(())
    })
}

#[test]
fn a_namespace_without_ipv6_has_and_tells_one_address() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let pod = untouched(&node, "a")?;
        pod.attempt(|| wire::set_parameter("ipv6/conf/lo/disable_ipv6", "1"))?;
        let attachment = Attachment::of(&pod);
        let told = plugin()?.add(&node, &attachment, &conf("1.0.0"))?.ok()?;
        let mut expected = answer("1.0.0", pod.path());
        expected["ips"].as_array_mut().context("addresses")?.pop();
        ensure!(told == expected, "{told}");
        Ok(())
    })
}

#[test]
fn another_address_on_it_is_neither_told_nor_an_error() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let pod = node.pod("a")?;
        for net in ["10.9.9.9/32", "fd00:9::9/128"] {
            pod.attempt(|| wire::add_address("lo", net.parse()?))?;
        }
        let told = plugin()?.add(&node, &Attachment::of(&pod), &conf("1.0.0"))?;
        let told = told.ok()?;
        ensure!(told == answer("1.0.0", pod.path()), "{told}");
        Ok(())
    })
}

#[test]
fn an_earlier_plugins_result_is_handed_on() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            let pod = untouched(&node, &format!("v{version}"))?;
            let earlier = json!({"cniVersion": version, "interfaces": [{"name": "eth0"}],
                "ips": [{"address": "10.1.2.3/24", "interface": 0}], "dns": {"domain": "x"}});
            let mut conf = conf(version);
            conf["prevResult"] = earlier.clone();
            let told = plugin()?.add(&node, &Attachment::of(&pod), &conf)?.ok()?;
            ensure!(told == earlier, "{version}: {told}");
            ensure!(shown(&pod)?.0, "{version}");
        }
        let pod = untouched(&node, "wrong")?;
        let mut conf = conf("1.0.0");
        conf["prevResult"] = json!({"cniVersion": "2.0.0"});
        let refused = plugin()?.add(&node, &Attachment::of(&pod), &conf)?;
        ensure!(refused.error_code() == Some(7), "{refused:?}");
        ensure!(!shown(&pod)?.0, "refused, and it came up all the same");
        Ok(())
    })
}

#[test]
fn a_del_succeeds_where_there_is_no_namespace_and_leaves_the_nodes_own_loopback() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let pod = node.pod("a")?;
        let gone = Attachment::of(&pod);
        pod.destroy()?;
        said(&node, "touch /run/netns/file")?;
        for netns in [
            gone.netns.as_str(),
            "",
            "/run/netns/file",
            "/proc/self/ns/net",
        ] {
            let attachment = Attachment {
                netns: netns.into(),
                ..gone.clone()
            };
            let deleted = plugin()?.del(&node, &attachment, &conf("0.3.1"))?;
            deleted.ok().with_context(|| format!("netns {netns:?}"))?;
        }
        ensure!(shown(&node)?.0, "the node's loopback is down");
        Ok(())
    })
}

#[test]
fn an_add_without_a_namespace_of_a_container_is_refused() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        node.attempt(|| wire::set_down("lo"))?;
        let pod = node.pod("a")?;
        for netns in ["/run/netns/none", "/proc/self/ns/net", "/dev/null"] {
            let attachment = Attachment {
                netns: netns.into(),
                ..Attachment::of(&pod)
            };
            for verb in ["ADD", "CHECK"] {
                let refused = plugin()?.call(&node, verb, &attachment, &conf("1.0.0"))?;
                ensure!(refused.error_code() == Some(8), "{verb} {refused:?}");
                ensure!(refused.stdout.contains(netns), "{verb} {refused:?}");
            }
        }
        ensure!(!shown(&node)?.0, "the node's loopback came up");
        Ok(())
    })
}

#[test]
fn a_check_names_a_loopback_that_is_down() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let pod = untouched(&node, "a")?;
        let attachment = Attachment::of(&pod);
        for version in ["0.4.0", "1.0.0", "1.1.0"] {
            let mut conf = conf(version);
            conf["prevResult"] = plugin()?.add(&node, &attachment, &conf)?.ok()?;
            plugin()?.check(&node, &attachment, &conf)?.ok()?;
            pod.attempt(|| wire::set_down("lo"))?;
            let down = plugin()?.check(&node, &attachment, &conf)?;
            ensure!(down.error_code() == Some(101), "{down:?}");
            ensure!(down.stdout.contains("lo is down in"), "{down:?}");
        }
        let old = plugin()?.check(&node, &attachment, &conf("0.3.1"))?;
        ensure!(old.error_code() == Some(1), "{old:?}");
        Ok(())
    })
}

#[test]
fn the_verbs_of_the_network_have_nothing_to_do() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let pod = untouched(&node, "a")?;
        plugin()?
            .add(&node, &Attachment::of(&pod), &conf("1.1.0"))?
            .ok()?;
        for verb in ["GC", "STATUS"] {
            let mut listing = conf("1.1.0");
            listing["cni.dev/valid-attachments"] = json!([]);
            let answer = plugin()?.call_network(&node, verb, &listing)?;
            ensure!(answer.stdout.is_empty(), "{verb}: {answer:?}");
            answer.ok().context(verb)?;
            let old = plugin()?.call_network(&node, verb, &conf("1.0.0"))?;
            ensure!(old.error_code() == Some(1), "{verb}: {old:?}");
        }
        ensure!(shown(&pod)?.0, "GC took a container's loopback");
        let versions = plugin()?.call_network(&node, "VERSION", &conf("0.4.0"))?;
        let versions = versions.ok()?;
        ensure!(
            versions == json!({"cniVersion": "0.4.0", "supportedVersions": VERSIONS}),
            "{versions}"
        );
        Ok(())
    })
}

/// A runtime starts both at once in one namespace.
#[test]
fn it_comes_up_beside_the_pods_own_network() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pods: Vec<Pod> = (0..16)
                .map(|i| untouched(&rig.node, &format!("p{i}")))
                .collect::<Result<_>>()?;
            let loopback = plugin()?;
            std::thread::scope(|scope| -> Result<()> {
                let mut calls = Vec::new();
                for pod in &pods {
                    let (rig, loopback) = (&rig, &loopback);
                    calls.push(scope.spawn(move || rig.add(pod).map(drop)));
                    calls.push(scope.spawn(move || {
                        let attachment = Attachment::of(pod).interface("lo");
                        let conf = conf("0.3.1");
                        loopback.add(&rig.node, &attachment, &conf)?.ok().map(drop)
                    }));
                }
                for call in calls {
                    call.join().map_err(|_| anyhow::anyhow!("a panic"))??;
                }
                Ok(())
            })?;
            for pod in &pods {
                ensure!(shown(pod)?.0, "{}", pod.name());
                ensure!(pod.run(|| wire::exists("eth0")), "{}", pod.name());
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn one_line_goes_to_the_log_that_is_asked_for_and_none_to_the_demos() -> Result<()> {
    Lab::scenario(|lab| {
        let node = lab.node("one").start()?;
        let pod = untouched(&node, "a")?;
        let mut logged = conf("1.0.0");
        logged["logFile"] = "/run/loopback.log".into();
        for conf in [&conf("1.0.0"), &logged] {
            plugin()?.add(&node, &Attachment::of(&pod), conf)?.ok()?;
        }
        let command = node.command("cat").arg("/run/loopback.log");
        let log = command.output_within(SOON)?.ok()?.stdout;
        ensure!(log.lines().count() == 1 && log.contains("ADD"), "{log}");
        ensure!(!node.run(|| std::path::Path::new("/var/log/bash-cni-plugin.log").exists()));
        Ok(())
    })
}
