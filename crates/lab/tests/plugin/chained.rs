//! Behind another plugin of a chain, and before others: `prevResult` of every version goes through whole.

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::plugin::Attachment;
use serde_json::{Value, json};

use super::{Kind, Rig, VERSIONS};

/// What an earlier plugin said, in this version; with keys that nobody here knows, and the version in two spellings.
fn earlier(version: &str) -> Value {
    if version < "0.3.0" {
        return json!({"cniVersion": version, "CNIVersion": version, "theirs": {"deep": [1]},
            "ip4": {"ip": "192.0.2.7/24", "gateway": "192.0.2.1", "routes": []}, "dns": {"domain": "x"}});
    }
    let mut ip = json!({"address": "192.0.2.7/24", "gateway": "192.0.2.1", "interface": 0});
    if version < "1.0.0" {
        ip["version"] = "4".into();
    }
    json!({"cniVersion": version, "CNIVersion": version, "theirs": {"deep": [1]}, "ips": [ip],
        "interfaces": [{"name": "tap0", "mac": "02:00:00:00:00:09", "own": 7}], "dns": {"domain": "x"}})
}

#[test]
fn an_earlier_result_of_every_version_is_kept_whole_before_what_is_added() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pod = rig.node.pod("a")?;
            for version in VERSIONS {
                let alone = rig.with("cniVersion", version);
                let own = alone.add(&pod)?;
                for of in VERSIONS {
                    let told = alone.with("prevResult", earlier(of)).add(&pod)?;
                    let told = kept(&told, &own, (of, version));
                    told.with_context(|| format!("{kind:?}: {of} in {version}"))?;
                }
                // A DEL looks at no result, whatever it is.
                let previous = earlier(VERSIONS[VERSIONS.len() / 2]);
                alone.with("prevResult", previous).del(&pod)?;
            }
            for nonsense in [json!(7), json!([]), json!({"cniVersion": "9"}), Value::Null] {
                rig.add(&pod)?;
                rig.with("prevResult", nonsense).del(&pod)?;
            }
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}

fn kept(told: &Value, own: &Value, (of, version): (&str, &str)) -> Result<()> {
    ensure!(told["cniVersion"] == version, "{told}");
    ensure!(told.get("CNIVersion").is_none(), "{told}");
    ensure!(told["theirs"] == json!({"deep": [1]}), "{told}");
    ensure!(told["dns"] == json!({"domain": "x"}), "{told}");
    if version < "0.3.0" {
        // There a family has one address, and it was taken.
        ensure!(told["ip4"]["ip"] == "192.0.2.7/24", "{told}");
        ensure!(told.get("ip6") == own.get("ip6"), "{told}");
        return Ok(());
    }
    let before = usize::from(of >= "0.3.0");
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let interfaces = list(told, "interfaces");
    ensure!(interfaces[before..] == list(own, "interfaces"), "{told}");
    if before == 1 {
        ensure!(
            interfaces[0]["name"] == "tap0" && interfaces[0]["own"] == 7,
            "{told}"
        );
    }
    let ips = list(told, "ips");
    ensure!(ips[0]["address"] == "192.0.2.7/24", "{told}");
    ensure!((ips[0]["version"] == "4") == (version < "1.0.0"), "{told}");
    for (ip, own) in ips[1..].iter().zip(list(own, "ips")) {
        ensure!(ip["address"] == own["address"], "{told}");
        ensure!(ip["interface"] == before, "{told}");
    }
    Ok(())
}

#[test]
fn a_check_takes_the_result_in_every_version_and_with_what_others_have_added() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pod = rig.node.pod("a")?;
            for of in VERSIONS {
                let mut result = rig.with("cniVersion", of).add(&pod)?;
                result["theirs"] = 1.into();
                result["CNIVersion"] = of.into();
                if let Some(interfaces) = result["interfaces"].as_array_mut() {
                    interfaces.push(json!({"name": "tap0"}));
                }
                for version in ["0.4.0", "1.0.0", "1.1.0"] {
                    let checked = rig.with("cniVersion", version);
                    let answer = checked.check(&Attachment::of(&pod), &result)?;
                    answer.ok().with_context(|| format!("{of} in {version}"))?;
                }
            }
            // As Go writes what has no name of its own.
            let result = rig.with("cniVersion", "1.0.0").add(&pod)?;
            let ips = result["ips"].as_array().context("addresses")?;
            let ips = ips.iter().map(|ip| json!({"Address": ip["address"]}));
            let go = json!({"CNIVersion": "1.0.0", "IPs": ips.collect::<Vec<_>>()});
            let checked = rig.with("cniVersion", "1.0.0");
            checked.check(&Attachment::of(&pod), &go)?.ok().map(drop)
        })?;
    }
    Ok(())
}

#[test]
fn a_result_that_makes_no_sense_stops_an_add_before_anything_is_made() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            let pod = rig.node.pod("a")?;
            let wrong = rig.with("prevResult", json!({"cniVersion": "9.9.9"}));
            let answer = wrong
                .plugin
                .add(&rig.node, &Attachment::of(&pod), &wrong.conf)?;
            ensure!(answer.error_code() == Some(7), "{answer:?}");
            ensure!(answer.stdout.contains("9.9.9"), "{answer:?}");
            ensure!(rig.leftovers()?.is_empty(), "{:?}", rig.leftovers()?);
            Ok(())
        })?;
    }
    Ok(())
}
