//! The answer in every version of the specification, against what the kernel shows.

use anyhow::{Context, Result, ensure};
use lab::plugin::Attachment;
use lab::{Lab, Pod};
use serde_json::{Value, json};

use super::{Kind, Rig, SOON, VERSIONS, addresses, ip, node_end, said};

/// What the kernel shows of a pod's `eth0`, by family: addresses with their lengths.
fn shown(pod: &Pod) -> Result<(Value, Vec<String>)> {
    let link = ip(pod, "addr show dev eth0")?[0].clone();
    let infos = link["addr_info"].as_array().context("addresses")?;
    let global = infos.iter().filter(|info| info["scope"] == "global");
    let addresses = global.map(|info| {
        ensure!(
            info.get("tentative").is_none(),
            "not usable at once: {info}"
        );
        Ok(format!(
            "{}/{}",
            info["local"].as_str().unwrap_or_default(),
            info["prefixlen"]
        ))
    });
    let addresses = addresses.collect::<Result<_>>()?;
    Ok((link, addresses))
}

fn gateways(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Bridge => &["10.244.0.1"],
        Kind::Routed => &["169.254.1.1", "fe80::1"],
    }
}

/// The answer that is right for what the kernel shows.
fn expected(rig: &Rig, pod: &Pod, version: &str) -> Result<Value> {
    let (link, addresses) = shown(pod)?;
    let gateways = gateways(rig.kind);
    ensure!(addresses.len() == gateways.len(), "{addresses:?}");
    let everything = ["0.0.0.0/0", "::/0"];
    let families = addresses.iter().zip(gateways).zip(everything);
    if version < "0.3.0" {
        let mut result = json!({"cniVersion": version, "dns": {}});
        for (((address, gateway), all), key) in families.zip(["ip4", "ip6"]) {
            result[key] =
                json!({"ip": address, "gateway": gateway, "routes": [{"dst": all, "gw": gateway}]});
        }
        return Ok(result);
    }
    let mut ips = Vec::new();
    let mut routes = Vec::new();
    for (((address, gateway), all), family) in families.zip(["4", "6"]) {
        let mut ip = json!({"address": address, "gateway": gateway, "interface": 0});
        if version < "1.0.0" {
            ip["version"] = family.into();
        }
        ips.push(ip);
        routes.push(json!({"dst": all, "gw": gateway}));
    }
    let mut interfaces =
        vec![json!({"name": "eth0", "mac": link["address"], "sandbox": pod.path()})];
    let index = &link["link_index"];
    let links = ip(&rig.node, "link")?;
    let links = links.as_array().context("links")?;
    let end = links
        .iter()
        .find(|link| link["ifindex"] == *index)
        .context("the other end")?;
    interfaces.push(json!({"name": end["ifname"], "mac": end["address"]}));
    if rig.kind == Kind::Bridge {
        let bridge = links
            .iter()
            .find(|link| link["ifname"] == "cni0")
            .context("cni0")?;
        ensure!(end["master"] == "cni0", "{end}");
        interfaces.push(json!({"name": "cni0", "mac": bridge["address"]}));
    }
    if version == "1.1.0" {
        for interface in &mut interfaces {
            interface["mtu"] = 1400.into();
        }
    }
    ensure!(link["mtu"] == 1400 && end["mtu"] == 1400, "{link} {end}");
    Ok(
        json!({"cniVersion": version, "interfaces": interfaces, "ips": ips, "routes": routes, "dns": {}}),
    )
}

#[test]
fn an_answer_in_every_version_is_what_the_kernel_shows() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?.with("mtu", 1400);
            for version in VERSIONS {
                let rig = rig.with("cniVersion", version);
                let (pod, result) = rig.pod(&format!("v{version}"))?;
                let expected = expected(&rig, &pod, version)?;
                ensure!(
                    result == expected,
                    "{kind:?} {version}:\n{result}\nbut the kernel:\n{expected}"
                );
                rig.del(&pod)?;
            }
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_demos_file_makes_what_its_reader_made_by_hand() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        let (pod, result) = rig.pod("a")?;
        ensure!(result["ips"][0]["address"] == "10.244.0.2/24", "{result}");
        let bridge = ip(&rig.node, "-d addr show dev cni0")?[0].clone();
        ensure!(bridge["linkinfo"]["info_kind"] == "bridge", "{bridge}");
        let address = &bridge["addr_info"][0];
        ensure!(
            address["local"] == "10.244.0.1" && address["prefixlen"] == 24,
            "{bridge}"
        );
        let routes = said(&rig.node, "ip route show 10.244.0.0/24")?;
        ensure!(
            routes.trim() == "10.244.0.0/24 dev cni0 proto kernel scope link src 10.244.0.1",
            "{routes}"
        );
        let inside = said(&pod, "ip route show default")?;
        ensure!(
            inside.starts_with("default via 10.244.0.1 dev eth0"),
            "{inside}"
        );
        Ok(())
    })
}

#[test]
fn a_routed_pod_has_an_address_of_its_own_and_both_sides_know_the_way() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let (pod, result) = rig.pod("a")?;
        let end = node_end(&result)?;
        let mac = result["interfaces"][0]["mac"].as_str().context("mac")?;
        for (address, first, prefix) in [
            ("10.244.0.2", "10.244.0.1", 32),
            ("fd00:10:244::2", "fd00:10:244::1", 128),
        ] {
            let family = if prefix == 32 { "-4" } else { "-6" };
            let way = ip(&rig.node, &format!("{family} route show {address}"))?;
            ensure!(way[0]["dev"] == end && way[0]["prefsrc"] == first, "{way}");
            let own = ip(&rig.node, "addr show dev lo")?[0]["addr_info"].clone();
            let own = own.as_array().context("addresses")?;
            ensure!(
                own.iter()
                    .any(|a| a["local"] == first && a["prefixlen"] == prefix),
                "{own:?}"
            );
            let neighbour = ip(&rig.node, &format!("neigh show {address}"))?;
            ensure!(
                neighbour[0]["lladdr"] == mac && neighbour[0]["state"][0] == "PERMANENT",
                "{neighbour}"
            );
        }
        let mac = &result["interfaces"][1]["mac"];
        for gateway in gateways(Kind::Routed) {
            let neighbour = ip(&pod, &format!("neigh show {gateway}"))?;
            ensure!(
                neighbour[0]["lladdr"] == *mac && neighbour[0]["state"][0] == "PERMANENT",
                "{neighbour}"
            );
        }
        // The link itself has no address of either family.
        let link = ip(&rig.node, &format!("addr show dev {end}"))?;
        let global = link[0]["addr_info"].as_array().into_iter().flatten();
        ensure!(
            global.filter(|info| info["scope"] == "global").count() == 0,
            "{link}"
        );
        Ok(())
    })
}

/// Whoever can send one on the pod's link would be its IPv6 router, also where the pod network has no IPv6.
#[test]
fn no_router_advertisement_is_accepted_in_a_pod() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let (pod, _) = rig.pod("a")?;
            let file = "/proc/sys/net/ipv6/conf/eth0/accept_ra";
            let value = pod.attempt(|| Ok(std::fs::read_to_string(file)?))?;
            ensure!(value.trim() == "0", "{kind:?}: accept_ra is {value}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn version_answers_to_dummy_values_and_to_nothing() -> Result<()> {
    Lab::scenario(|lab| {
        for kind in Kind::BOTH {
            let rig = Rig::on(lab.node(&format!("{kind:?}")).start()?, kind)?;
            let dummies = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"];
            let dummies = dummies.map(|name| (name, "dummy".to_owned()));
            for (stdin, echoed) in [
                ("", "1.1.0"),
                (r#"{"cniVersion":"0.4.0"}"#, "0.4.0"),
                ("nonsense", "1.1.0"),
            ] {
                let answer = rig
                    .plugin
                    .raw(&rig.node, "VERSION", &dummies, stdin.as_bytes())?
                    .ok()?;
                ensure!(
                    answer == json!({"cniVersion": echoed, "supportedVersions": VERSIONS}),
                    "{answer}"
                );
            }
        }
        Ok(())
    })
}

#[test]
fn without_a_verb_the_plugin_says_what_it_is() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        let answer = rig.plugin.raw(&rig.node, "", &[], b"")?;
        ensure!(
            answer.code == Some(0) && answer.stdout.is_empty(),
            "{answer:?}"
        );
        ensure!(
            answer.stderr.starts_with("CNI bash-cni plugin v"),
            "{answer:?}"
        );
        ensure!(answer.stderr.contains(&VERSIONS.join(", ")), "{answer:?}");
        Ok(())
    })
}

#[test]
fn the_verb_get_is_unknown() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        let pod = rig.node.pod("a")?;
        let answer = rig
            .plugin
            .call(&rig.node, "GET", &Attachment::of(&pod), &rig.conf)?;
        ensure!(answer.error_code() == Some(4), "{answer:?}");
        ensure!(
            answer.json["msg"] == "unknown CNI_COMMAND: GET",
            "{answer:?}"
        );
        ensure!(answer.json["cniVersion"] == "0.3.1", "{answer:?}");
        Ok(())
    })
}

#[test]
fn no_version_at_all_means_the_oldest() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let (_, result) = rig.with("cniVersion", "").pod("none")?;
        ensure!(
            result["cniVersion"] == "0.1.0" && addresses(&result).is_empty(),
            "{result}"
        );
        Ok(())
    })
}

/// A person types it to see what it says; nothing would ever come from there.
#[test]
fn a_terminal_as_standard_input_is_not_waited_for() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Routed)?;
        let pod = rig.node.pod("a")?;
        said(&rig.node, "mkfifo /run/never")?;
        let plugin = rig.kind.path()?.display().to_string();
        for (verb, key) in [("VERSION", "supportedVersions"), ("ADD", "code")] {
            // `script` gives a terminal, and ends its input where its own ends: hence a pipe that never does.
            let script = "exec script -qec \"$PLUGIN\" /dev/null <>/run/never";
            let mut command = rig.node.command("sh").args(["-c", script]);
            for (name, value) in Attachment::of(&pod).environment() {
                command = command.env(name, value);
            }
            let command = command.env("CNI_COMMAND", verb).env("PLUGIN", &plugin);
            let output = command.output_within(SOON).context(verb)?;
            let answer: Value = serde_json::from_str(output.stdout.trim())
                .with_context(|| format!("{verb}: {output:?}"))?;
            ensure!(answer.get(key).is_some(), "{verb}: {answer}");
        }
        Ok(())
    })
}
