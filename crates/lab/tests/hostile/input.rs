//! A few hundred wrong calls of every type and verb, made from right ones by chance: the built plugin always answers.
//!
//! A value is replaced, a key removed or added, bytes are flipped, cut or repeated; variables are long, empty, or paths to what
//! is no namespace. Whatever is accepted is undone by a DEL of the same input; at the end nothing is left.

use std::fs;
use std::os::unix::net::UnixListener;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use serde_json::{Map, Value, json};

use super::random::{Random, seed};
use super::{Caller, Type, is_civil, left_on, said};

/// Calls for each type.
const CALLS: usize = 100;

const VERBS: [&str; 8] = [
    "ADD", "ADD", "ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION",
];

/// Keys that somebody reads somewhere. None leads to a file: that would lie outside of the node.
const KEYS: [&str; 41] = [
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
    "args",
    "cni",
    "runtimeConfig",
    "RuntimeConfig",
    "portMappings",
    "HostPort",
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
    "sandbox",
    "cni.dev/valid-attachments",
    "containerID",
    "ifname",
    "rangeStart",
    "rangeEnd",
    "io.kubernetes.cri.pod-annotations",
];

fn nasty(random: &mut Random) -> Value {
    let texts = [
        "",
        " ",
        "\0",
        "a\0b",
        "🦀",
        "/",
        "..",
        "../../x",
        "0.0.0.0",
        "255.255.255.255/32",
        "10.244.0.0/24",
        "10.244.0.2",
        "10.7.0.5/24",
        "::/0",
        "::1",
        "fd00::/127",
        "10.0.0.0/33",
        "1e3",
        "-1",
        "18446744073709551616",
        "10M",
        "1Ei",
        "1.1.0",
        "0.1.0",
        "9.9.9",
        "eth0",
        "lo",
        "cni0",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        "0a:58:0a:f4:00:02",
        "tcp",
        "sctp",
        "/dev/zero",
        "/proc/self/mem",
    ];
    match random.below(16) {
        0 => Value::Null,
        1 => true.into(),
        2 => 0.into(),
        3 => (-1).into(),
        4 => u64::MAX.into(),
        5 => i64::MIN.into(),
        6 => json!(1e308),
        7 => json!(1500.5),
        8 => json!([]),
        9 => json!({}),
        10 => "x".repeat(1 << random.below(18)).into(),
        11 => (0..40).fold(json!(1), |inner, _| json!([inner])),
        12 => (0..100)
            .map(|n| json!(format!("10.244.{n}.0/24")))
            .collect(),
        _ => (*random.of_these(&texts)).into(),
    }
}

/// Changes one place of a value, found by walking down it.
fn change(value: &mut Value, random: &mut Random) {
    let stays = random.one_in(5);
    let object = value.as_object_mut();
    if let Some(object) = object.filter(|object| !object.is_empty() && !stays) {
        return change_object(object, random);
    }
    let list = value.as_array_mut();
    if let Some(list) = list.filter(|list| !list.is_empty() && !stays) {
        return change_list(list, random);
    }
    *value = nasty(random);
}

fn change_object(object: &mut Map<String, Value>, random: &mut Random) {
    let place = random.below(object.len());
    let key = object.keys().nth(place).cloned().unwrap_or_default();
    match random.below(8) {
        0 => drop(object.remove(&key)),
        1 => drop(object.insert((*random.of_these(&KEYS)).into(), nasty(random))),
        2 => {
            let moved = object.remove(&key).unwrap_or_default();
            object.insert(key.to_ascii_uppercase(), moved);
        }
        _ => change(object.entry(key).or_insert(Value::Null), random),
    }
}

fn change_list(list: &mut Vec<Value>, random: &mut Random) {
    let place = random.below(list.len());
    match random.below(6) {
        0 => drop(list.remove(place)),
        1 => list.push(list[place].clone()),
        2 => list.insert(0, nasty(random)),
        _ => change(&mut list[place], random),
    }
}

/// The text of a configuration, now and then spoilt as bytes.
fn spoilt(text: String, random: &mut Random) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    if !random.one_in(4) {
        return bytes;
    }
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, b"{}[]\",:\\\0\xff"[random.below(10)]),
            2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes
}

fn environment(caller: &Caller, random: &mut Random) -> Vec<(&'static str, String)> {
    let mut all = caller.attachment().environment();
    if !random.one_in(3) {
        return all;
    }
    let long = "c".repeat(1 << random.below(17));
    let (name, value) = match random.below(4) {
        0 => (
            "CNI_NETNS",
            *random.of_these(&[
                "",
                "/",
                "/dev/zero",
                "/dev/null",
                "/run/pipe",
                "/run/socket",
                "/proc/self/ns/net",
                "/proc/self/ns/mnt",
                "/run/netns/none",
                "\n",
                "/run/netns/a/",
            ]),
        ),
        1 => (
            "CNI_IFNAME",
            *random.of_these(&[
                "",
                "lo",
                "e",
                "0123456789abcdef",
                "a b",
                "é",
                "..",
                "%d",
                "all",
                "default",
            ]),
        ),
        2 => (
            "CNI_CONTAINERID",
            *random.of_these(&["", ".", "-", "a/b", "A", "0", long.as_str(), "c@d"]),
        ),
        _ => (
            "CNI_ARGS",
            *random.of_these(&[
                "",
                ";",
                "=",
                "a=b",
                "IgnoreUnknown=1",
                "IgnoreUnknown=perhaps",
                "IP=10.244.0.7",
                "IP=x;MAC=y",
                "IgnoreUnknown=1;MAC=ff:ff:ff:ff:ff:ff",
                "IgnoreUnknown=1;K8S_POD_NAME=../..;K8S_POD_NAMESPACE=\u{1}",
                long.as_str(),
                "IgnoreUnknown=1;IP=10.244.0.9,fd00:10:244::9,;GATEWAY=",
            ]),
        ),
    };
    for (known, old) in &mut all {
        if *known == name {
            value.clone_into(old);
        }
    }
    all
}

/// What no namespace is, and would let a careless reader wait.
fn traps(caller: &Caller) -> Result<()> {
    said(&caller.node, "mkfifo /run/pipe")?;
    caller.node.attempt(|| {
        drop(UnixListener::bind("/run/socket")?);
        Ok(fs::write("/run/netns/plain", "")?)
    })
}

fn storm(caller: &Caller, random: &mut Random) -> Result<[usize; 2]> {
    let mut outcomes = [0; 2];
    for _ in 0..CALLS {
        let verb = *random.of_these(&VERBS);
        let mut conf = caller.conf_for(verb, &json!({"ips": [{"address": "10.244.0.2/24"}]}));
        for _ in 0..random.below(3) {
            change(&mut conf, random);
        }
        let input = spoilt(conf.to_string(), random);
        let environment = environment(caller, random);
        let call = |verb: &str| {
            let answer = caller
                .plugin
                .raw(&caller.node, verb, &environment, &input)?;
            is_civil(&answer).map(|()| answer)
        };
        let about = || {
            let text = String::from_utf8_lossy(&input);
            let text: String = text.chars().take(2000).collect();
            let text = format!("{verb} of {:?}: {environment:?} {text}", caller.kind);
            text.chars().take(4000).collect::<String>()
        };
        let answer = call(verb).with_context(about)?;
        outcomes[usize::from(answer.code == Some(0))] += 1;
        if verb == "ADD" && answer.code == Some(0) {
            let answer = call("DEL").with_context(about)?;
            ensure!(answer.code == Some(0), "{}: DEL: {answer:?}", about());
        }
        if verb == "ADD" && random.one_in(4) {
            let left = left_on(&caller.node)?;
            ensure!(left.is_empty(), "{}: {left:?}", about());
        }
    }
    Ok(outcomes)
}

#[test]
fn hundreds_of_wrong_calls_are_all_answered_and_leave_nothing() -> Result<()> {
    let seed = seed("wrong calls");
    for (number, kind) in Type::ALL.into_iter().enumerate() {
        Lab::scenario(|lab| {
            let caller = Caller::new(lab, kind)?;
            traps(&caller)?;
            let mut random = Random::of(seed ^ number as u64);
            let [refused, served] = storm(&caller, &mut random)?;
            println!("{kind:?}: {refused} refused, {served} served");
            let left = left_on(&caller.node)?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })?;
    }
    Ok(())
}
