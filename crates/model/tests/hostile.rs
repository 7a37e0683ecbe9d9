//! What arrives from outside, wrong in every way that chance finds: nothing panics, and what must hold holds.
//!
//! The bodies are those of the targets in `fuzz`, which come to them with a fuzzer's bytes; here JSON is made that looks like
//! what is meant, so that most of it is read to its end.

mod body;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// Keys that somebody reads somewhere.
const KEYS: [&str; 60] = [
    "cniVersion",
    "CNIVersion",
    "name",
    "type",
    "ranges",
    "network",
    "subnet",
    "bridge",
    "mtu",
    "ipam",
    "dns",
    "nameservers",
    "search",
    "args",
    "cni",
    "runtimeConfig",
    "RuntimeConfig",
    "portMappings",
    "HostPort",
    "hostPort",
    "containerPort",
    "protocol",
    "hostIP",
    "bandwidth",
    "ingressRate",
    "egressBurst",
    "ips",
    "mac",
    "ipRanges",
    "prevResult",
    "interfaces",
    "interface",
    "address",
    "gateway",
    "routes",
    "dst",
    "gw",
    "priority",
    "table",
    "scope",
    "sandbox",
    "cni.dev/valid-attachments",
    "cni.dev/attachments",
    "containerID",
    "ifname",
    "rangeStart",
    "rangeEnd",
    "ip4",
    "ip6",
    "ip",
    "version",
    "logFile",
    "addresses",
    "isGateway",
    "ipMasq",
    "vlan",
    "snat",
    "conditionsV4",
    "dataDir",
    "io.kubernetes.cri.pod-annotations",
];

const TEXTS: [&str; 44] = [
    "",
    "\0",
    "🦀",
    "..",
    "a/b",
    "0.0.0.0",
    "0.0.0.0/0",
    "255.255.255.255/32",
    "10.244.0.0/24",
    "10.244.0.2",
    "10.244.0.2/24",
    "::",
    "::/0",
    "::1",
    "fd00::/64",
    "fd00::1/127",
    "::ffff:10.0.0.1",
    "10.0.0.0/33",
    "1e400",
    "-1",
    "18446744073709551616",
    "10M",
    "1Ei",
    ".",
    "1.1.0",
    "1.0.0",
    "0.4.0",
    "0.3.1",
    "0.2.0",
    "0.1.0",
    "9.9.9",
    "1..0",
    "mine",
    "eth0",
    "br7",
    "lo",
    "ff:ff:ff:ff:ff:ff",
    "0a:58:0a:f4:00:02",
    "tcp",
    "UDP",
    "host-local",
    "true",
    "podwire",
    "6",
];

const TYPES: [&str; 7] = [
    "podwire",
    "bash-cni",
    "bridge",
    "host-local",
    "portmap",
    "loopback",
    "else",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![select(&TEXTS[..]).prop_map(str::to_owned), ".{0,20}"]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..70_000_u32).prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        text().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(select(&KEYS[..]), inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

/// Right ones, so that what stands beside a wrong key is read too.
fn right(kind: &str) -> Value {
    json!({"cniVersion": "1.1.0", "name": "mine", "type": kind, "network": "10.244.0.0/16",
        "ranges": ["10.244.0.0/24"], "subnet": "10.244.0.0/24", "bridge": "br7",
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}]]},
        "prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/a"}],
            "ips": [{"address": "10.7.0.2/24", "interface": 0}]},
        "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}})
}

/// A configuration of which some keys, and some below them, are another value.
fn conf() -> impl Strategy<Value = Value> {
    let places = vec(
        (select(&KEYS[..]), select(&KEYS[..]), any::<bool>(), value()),
        0..4,
    );
    (select(&TYPES[..]), places).prop_map(|(kind, places)| {
        let mut conf = right(kind);
        for (key, below, deep, value) in places {
            if deep && conf[key].is_object() {
                conf[key][below] = value;
            } else {
                conf[key] = value;
            }
        }
        conf
    })
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1000)
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_configuration_is_read_or_refused_in_words(conf in conf()) {
        body::conf(conf.to_string().as_bytes());
    }

    #[test]
    fn bytes_are_read_as_a_configuration_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        body::conf(&bytes);
        body::record(&bytes);
        body::previous(&bytes);
    }

    #[test]
    fn variables_are_read_or_refused_in_words(variables in vec(text(), 0..8)) {
        body::args(variables.join("\n").as_bytes());
    }

    #[test]
    fn an_earlier_result_is_handed_on_or_refused(value in value()) {
        body::previous(value.to_string().as_bytes());
    }

    #[test]
    fn a_record_is_read_or_is_none(
        places in vec((select(&["addresses", "network", "container", "ifname", "netns", "inode", "mode", "mtu", "mac", "pod",
            "ports", "born", "bridged", "bandwidth", "standpoint"][..]), value()), 0..3)
    ) {
        let mut record = json!({"addresses": [{"ip": "10.0.0.2", "range": "10.0.0.0/24"}], "network": "mine", "container": "c",
            "ifname": "eth0", "netns": "/run/netns/a", "inode": 7, "mode": "routed", "mtu": null, "pod": null, "born": 1});
        for (key, value) in places {
            record[key] = value;
        }
        body::record(record.to_string().as_bytes());
    }
}

/// Else the law about records says nothing.
#[test]
fn the_record_that_is_spoilt_is_one() {
    let record = br#"{"addresses":[{"ip":"10.0.0.2","range":"10.0.0.0/24"}],"network":"mine","container":"c","ifname":"eth0",
        "netns":"/run/netns/a","inode":7,"mode":"routed","mtu":null,"pod":null,"born":1}"#;
    assert!(body::record(record));
}
