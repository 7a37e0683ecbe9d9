//! Every pair of versions, and what is kept.

use super::*;
use alloc::string::ToString as _;

/// A result as a version of each form says it. `theirs` is a key that nobody here knows.
const OLDEST: &str = r#"{"dns":{"domain":"x"},"ip4":{"gateway":"10.1.0.1","ip":"10.1.0.2/24","routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"}]},"ip6":{"ip":"fd00::2/64","routes":[]},"theirs":1}"#;
const NUMBERED: &str = r#"{"dns":{"domain":"x"},"interfaces":[{"mac":"02:00:00:00:00:01","name":"eth0","sandbox":"/n","theirs":2}],"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":0,"version":"4"},{"address":"fd00::2/64","interface":0,"version":"6"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1","mtu":1400}],"theirs":1}"#;
const PLAIN: &str = r#"{"dns":{"domain":"x"},"interfaces":[{"mac":"02:00:00:00:00:01","mtu":1400,"name":"eth0","pciID":"p","sandbox":"/n","socketPath":"s","theirs":2}],"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":0},{"address":"fd00::2/64","interface":0}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1","mtu":1400}],"theirs":1}"#;

/// What has been through the oldest form has lost its interfaces and what only newer routes say.
const NUMBERED_FROM_OLDEST: &str = r#"{"dns":{"domain":"x"},"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1","version":"4"},{"address":"fd00::2/64","version":"6"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"}],"theirs":1}"#;
const PLAIN_FROM_OLDEST: &str = r#"{"dns":{"domain":"x"},"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1"},{"address":"fd00::2/64"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"}],"theirs":1}"#;
/// The numbered form had lost what only 1.x says of an interface.
const PLAIN_FROM_NUMBERED: &str = r#"{"dns":{"domain":"x"},"interfaces":[{"mac":"02:00:00:00:00:01","name":"eth0","sandbox":"/n","theirs":2}],"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":0},{"address":"fd00::2/64","interface":0}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1","mtu":1400}],"theirs":1}"#;

fn with_version(text: &str, key: &str, version: Version) -> Value {
    let mut value: Value = serde_json::from_str(text).unwrap();
    value[key] = json!(version.as_str());
    value
}

fn golden(from: Form, to: Form) -> &'static str {
    match (from, to) {
        (Form::Oldest | Form::Numbered | Form::Plain, Form::Oldest) => OLDEST,
        (Form::Oldest, Form::Numbered) => NUMBERED_FROM_OLDEST,
        (Form::Numbered | Form::Plain, Form::Numbered) => NUMBERED,
        (Form::Oldest, Form::Plain) => PLAIN_FROM_OLDEST,
        (Form::Numbered, Form::Plain) => PLAIN_FROM_NUMBERED,
        (Form::Plain, Form::Plain) => PLAIN,
    }
}

#[test]
fn a_result_of_every_version_is_handed_on_in_every_version() {
    for from in Version::ALL {
        let source = match form(from) {
            Form::Oldest => OLDEST,
            Form::Numbered => NUMBERED,
            Form::Plain => PLAIN,
        };
        for to in Version::ALL {
            for key in ["cniVersion", "CNIVersion"] {
                let told = hand_on(&with_version(source, key, from), to).unwrap();
                let wanted = with_version(golden(form(from), form(to)), "cniVersion", to);
                assert_eq!(told.to_string(), wanted.to_string(), "{from} to {to}");
            }
        }
    }
}

#[test]
fn a_result_without_a_version_is_of_the_configurations() {
    for text in [
        r#"{"ips":[]}"#,
        r#"{"ips":[],"cniVersion":""}"#,
        r#"{"ips":[],"CNIVersion":null}"#,
    ] {
        let told = hand_on(&serde_json::from_str(text).unwrap(), Version::V0_4_0).unwrap();
        assert_eq!(told, json!({"cniVersion": "0.4.0", "ips": []}));
    }
}

#[test]
fn keys_of_a_result_are_read_in_any_case() {
    let go = json!({"CNIVersion": "1.0.0", "IPs": [{"Address": "10.1.0.2/24"}], "Interfaces": [{"Name": "eth0", "MTU": 1400}]});
    assert_eq!(
        hand_on(&go, Version::V0_2_0).unwrap(),
        json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.2/24", "routes": []}})
    );
}

#[test]
fn what_is_no_result_is_refused() {
    for (previous, version) in [
        (json!({"cniVersion": "2.0.0"}), Version::V1_1_0),
        (json!({"cniVersion": 1}), Version::V1_1_0),
        (json!({"cniVersion": "1.0.0", "ips": []}), Version::V0_2_0),
        (json!([]), Version::V1_1_0),
    ] {
        let error = hand_on(&previous, version).unwrap_err();
        assert_eq!(error.code, Code::Config, "{previous}");
    }
}

#[test]
fn what_is_added_comes_behind_and_points_at_its_own_interface() {
    let own = json!({"cniVersion": "1.0.0", "dns": {}, "interfaces": [{"name": "net1"}, {"name": "pw0"}],
        "ips": [{"address": "10.2.0.2/32", "interface": 0}], "routes": [{"dst": "0.0.0.0/0"}]});
    let earlier = hand_on(
        &with_version(PLAIN, "cniVersion", Version::V1_1_0),
        Version::V1_0_0,
    )
    .unwrap();
    let all = extend(earlier.clone(), own.clone());
    assert_eq!(all["interfaces"][0], earlier["interfaces"][0]);
    assert_eq!(all["interfaces"][2]["name"], "pw0");
    assert_eq!(
        all["ips"][2],
        json!({"address": "10.2.0.2/32", "interface": 1})
    );
    assert_eq!(all["routes"].as_array().unwrap().len(), 2);
    assert_eq!((&all["theirs"], &all["dns"]), (&json!(1), &earlier["dns"]));
    let nothing = json!({"cniVersion": "1.0.0"});
    assert_eq!(extend(nothing, own.clone()), own);
    let old = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.2/24"}});
    let own =
        json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.2.0.2/32"}, "ip6": {"ip": "fd00::2/128"}});
    assert_eq!(
        extend(old, own),
        json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.2/24"}, "ip6": {"ip": "fd00::2/128"}})
    );
}
