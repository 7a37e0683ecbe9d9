//! One body for each kind of input: read it in every way that a program does, and say what must hold.
//!
//! Driven by proptest beside it and by the targets in `fuzz`, which include this file.

use model::attachment::Attachment;
use model::cni::{Args, Call, CniError, Valid, Version, extend, hand_on};
use model::name::IfName;
use serde_json::Value;

/// The names that a file of the plugin has.
const CALLED: [&str; 7] = [
    "podwire-cni",
    "podwire",
    "bash-cni",
    "bridge",
    "host-local",
    "portmap",
    "loopback",
];

/// Standard input.
pub(crate) fn conf(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let version = Valid::version_of(&text);
    for called in CALLED {
        match Valid::read(&text, called) {
            Ok(conf) => all_of(&conf, called),
            Err(error) => is_told(&error, version),
        }
    }
}

fn all_of(conf: &Valid, called: &str) {
    let asked = Args {
        ip: "10.244.0.9,fd00::9".into(),
        mac: "02:00:00:00:00:01".into(),
    };
    for args in [Args::default(), asked] {
        let network = told(conf.network(&args), conf);
        if let Some(network) = network {
            told(conf.asked(&args, &network), conf);
        }
        told(conf.ipam(&args), conf);
    }
    told(conf.delegate(), conf);
    let _ = (conf.data_dir(), conf.gives_as_host_local());
    // Whoever is asked in our place gets what we got.
    assert!(Valid::read(&conf.written(), called).is_ok_and(|again| again.name == conf.name));
    if let Some(ports) = told(conf.for_ports(), conf) {
        let ifname = IfName::new("eth0").expect("a name");
        if let Some(addresses) = told(ports.chained(&ifname), conf) {
            told(ports.port_maps(&addresses), conf);
        }
    }
    if let Some(earlier) = &conf.previous {
        handed_on(earlier);
    }
}

fn told<T>(outcome: Result<T, CniError>, conf: &Valid) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            is_told(&error, conf.version);
            None
        }
    }
}

/// An error is an object with a code and a sentence.
fn is_told(error: &CniError, version: Version) {
    let object = error.to_json(version);
    assert!(
        object["code"].as_u64().is_some_and(|code| code > 0),
        "{object}"
    );
    assert!(
        object["msg"].as_str().is_some_and(|msg| !msg.is_empty()),
        "{object}"
    );
    assert_eq!(object["cniVersion"], version.as_str());
}

/// The environment: a variable a line, in the order of their names here.
pub(crate) fn args(bytes: &[u8]) {
    const NAMES: [&str; 5] = [
        "CNI_ARGS",
        "CNI_CONTAINERID",
        "CNI_IFNAME",
        "CNI_NETNS",
        "CNI_COMMAND",
    ];
    let text = String::from_utf8_lossy(bytes);
    let given: Vec<&str> = text.split('\n').collect();
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", ""] {
        let get = |name: &str| {
            let place = NAMES.iter().position(|known| *known == name)?;
            let value = given.get(place).copied();
            Some(
                value
                    .filter(|_| place < 4 || verb.is_empty())
                    .unwrap_or(verb)
                    .to_owned(),
            )
        };
        for called in ["podwire", "loopback"] {
            if let Err(error) = Call::read(called, get) {
                is_told(&error, Version::V1_1_0);
            }
        }
    }
}

/// `prevResult`.
pub(crate) fn previous(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        handed_on(&value);
    }
}

fn handed_on(earlier: &Value) {
    for version in Version::ALL {
        let own =
            || serde_json::json!({"cniVersion": version.as_str(), "ips": [], "interfaces": []});
        match hand_on(earlier, version) {
            Ok(result) => {
                assert_eq!(result["cniVersion"], version.as_str());
                // What has its form already stays as it is.
                assert_eq!(hand_on(&result, version).as_ref(), Ok(&result));
                assert!(extend(result, own()).is_object());
            }
            Err(error) => is_told(&error, version),
        }
    }
}

/// A record's file; says whether it is one.
pub(crate) fn record(bytes: &[u8]) -> bool {
    let Ok(record) = serde_json::from_slice::<Attachment>(bytes) else {
        return false;
    };
    assert!(record.alias().len() <= 255);
    assert!(IfName::new(&record.key.host_interface()).is_ok());
    assert!(record.key.file().len() <= 255);
    drop((
        record.key.owner(),
        record.pod_mac(),
        record.host_mac(),
        record.made_up_mac(),
    ));
    let again = serde_json::to_vec(&record).expect("it was read");
    assert_eq!(
        serde_json::from_slice::<Attachment>(&again).ok().as_ref(),
        Some(&record)
    );
    true
}
