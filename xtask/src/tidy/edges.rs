//! Who may depend on whom: the shape of the house as a table.
//!
//! Compared with what the manifests declare (`cargo metadata`), dependencies of tests included. An edge that is not in
//! the table is a finding: a new one is a decision, taken by a line in here, in a commit of its own that says why.
//! What a dependency drags in behind it is not seen here; deny.toml has the crates that must not arrive that way.

use serde_json::Value;

use crate::workspace;

#[cfg(test)]
mod tests;

/// A package of the workspace.
struct Room {
    name: &'static str,
    may_use: &'static [&'static str],
    /// Follows "because".
    why: &'static str,
}

const ROOMS: &[Room] = &[
    Room {
        name: "model",
        may_use: &[],
        why: "nouns depend on nothing",
    },
    Room {
        name: "plan",
        may_use: &["model"],
        why: "a decision sees values, never the machine",
    },
    Room {
        name: "host",
        may_use: &["model"],
        why: "an effect carries out, it does not decide",
    },
    Room {
        name: "cni",
        may_use: &["model", "plan", "host"],
        why: PROGRAM,
    },
    Room {
        name: "agent",
        may_use: &["model", "plan", "host"],
        why: PROGRAM,
    },
    Room {
        name: "ctl",
        may_use: &["model", "plan", "host"],
        why: PROGRAM,
    },
    Room {
        name: "lab",
        may_use: &[],
        why: "scenarios run the built programs, and what they stand on is not the code under test",
    },
    Room {
        name: "cluster",
        may_use: &["lab"],
        why: "the cluster gets the built programs as a user's does, and what they stand on is not the code under test; \
              the demo has the laboratory's targets, and packets are counted as there",
    },
    Room {
        name: "xtask",
        may_use: &[],
        why: "the commands must build when nothing else does",
    },
];

const PROGRAM: &str = "a program joins the rooms below it, and no package depends on a program, on xtask, or, but for cluster, on lab";

/// A crate from outside.
struct Outside {
    name: &'static str,
    /// May be dependencies of these.
    used_by: &'static [&'static str],
    /// May be dependencies of these for their tests only.
    tested_by: &'static [&'static str],
    reason: &'static str,
}

const fn used(
    name: &'static str,
    used_by: &'static [&'static str],
    reason: &'static str,
) -> Outside {
    Outside {
        name,
        used_by,
        tested_by: &[],
        reason,
    }
}

const fn tested(
    name: &'static str,
    tested_by: &'static [&'static str],
    reason: &'static str,
) -> Outside {
    Outside {
        name,
        used_by: &[],
        tested_by,
        reason,
    }
}

const SPEAK_NETLINK: &[&str] = &["host", "lab"];
const SPEAK_JSON: &[&str] = &[
    "model", "host", "cni", "agent", "ctl", "lab", "cluster", "xtask",
];
const HAVE_PREFIXES: &[&str] = &["model", "plan", "host", "agent", "lab"];
const DECIDE: &[&str] = &["model", "plan"];

const OUTSIDE: &[Outside] = &[
    used(
        "anyhow",
        &["agent", "ctl", "lab", "cluster", "xtask"],
        "errors that only a person reads; others have types",
    ),
    used(
        "clap",
        &["agent", "ctl"],
        "arguments that a person types; the plugin has none",
    ),
    used(
        "dlmalloc",
        &["cni"],
        "musl's own allocator maps and unmaps pages for nearly every buffer: an eighth of an ADD",
    ),
    used(
        "futures-util",
        &["agent"],
        "what the API server tells comes as a stream",
    ),
    used(
        "http-body-util",
        &["agent"],
        "a whole text as the body of an answer to hyper",
    ),
    used(
        "hyper",
        &["agent"],
        "probes and metrics come by HTTP; it is there already, behind kube",
    ),
    used("hyper-util", &["agent"], "hyper on a socket of tokio's"),
    used(
        "ipnet",
        HAVE_PREFIXES,
        "prefixes and their arithmetic, without std",
    ),
    used(
        "k8s-openapi",
        &["agent"],
        "kube builds only where somebody has chosen the API's version; of its types none is used but the time",
    ),
    used(
        "kube",
        &["agent"],
        "the way to the API server: addresses, credentials, TLS, watches; the nodes come from there",
    ),
    used(
        "netlink-packet-core",
        SPEAK_NETLINK,
        "the envelope of netlink messages",
    ),
    used(
        "netlink-packet-netfilter",
        &["lab"],
        "foreign firewalls for the tests, encoded by other code than that under test",
    ),
    used(
        "netlink-packet-route",
        SPEAK_NETLINK,
        "links, addresses, routes, neighbours, rules",
    ),
    used(
        "netlink-sys",
        SPEAK_NETLINK,
        "netlink sockets without unsafe",
    ),
    used(
        "prometheus-client",
        &["agent"],
        "counters, and their text as Prometheus wants it",
    ),
    used(
        "rustix",
        &["host", "lab", "cluster"],
        "system calls without unsafe: setns, linkat, flock, pivot_root",
    ),
    used(
        "serde",
        &["model", "agent"],
        "the wire formats are declared once, in model; the agent reads the API's objects",
    ),
    used("serde_json", SPEAK_JSON, "CNI, records and status are JSON"),
    used(
        "sha2",
        &["cluster"],
        "an image names its parts by their SHA-256; kube brings the crate already",
    ),
    used(
        "signal-hook",
        &["lab"],
        "the demo leaves nothing behind after Ctrl-C; catching signals without it is unsafe",
    ),
    used(
        "thiserror",
        &["model", "plan", "host"],
        "one small error type a module, without std",
    ),
    used(
        "tokio",
        &["agent"],
        "signals, timers and the API; the kernel is spoken to without it",
    ),
    used("toml", &["agent"], "nodes.toml is read by the agent only"),
    used(
        "tracing",
        &["agent"],
        "only the agent logs; the other rooms return what happened",
    ),
    used(
        "tracing-subscriber",
        &["agent"],
        "where the agent's log goes",
    ),
    tested(
        "insta",
        DECIDE,
        "golden tests: a decision as text that a reviewer reads",
    ),
    tested(
        "proptest",
        &["model", "plan", "host", "agent"],
        "laws that hold for every input, and what no kernel, runtime or person should send",
    ),
    tested(
        "serde-saphyr",
        &["lab"],
        "the manifest and the chart are YAML, and what they say is tried; it is there already, behind kube",
    ),
];

/// Crates that stay with their owners whatever the table above may be taught.
const RESERVED: &[(&str, &[&str])] = &[
    ("axum", &["agent"]),
    ("clap", &["agent", "ctl"]),
    ("hyper", &["agent"]),
    ("k8s-openapi", &["agent"]),
    ("kube", &["agent"]),
    ("tokio", &["agent"]),
    ("tracing", &["agent"]),
];

/// Every declared dependency that the table does not have.
pub(super) fn findings(metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for package in workspace::packages(metadata) {
        let name = text(package, "name");
        let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
            findings.push(format!(
                "{name}: a package without a row in ROOMS ({TABLE}); say there what it may use"
            ));
            continue;
        };
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        findings.extend(dependencies.filter_map(|dependency| judge(room, dependency)));
    }
    findings
}

const TABLE: &str = "xtask/src/tidy/edges.rs";

fn judge(room: &Room, dependency: &Value) -> Option<String> {
    let name = text(dependency, "name");
    // A path, not a name: a crate from outside may be called `host` as well.
    if dependency["path"].is_string() {
        return judge_room(room, name);
    }
    let for_tests = dependency["kind"] == "dev";
    judge_reserved(room, name).or_else(|| judge_outside(room, name, for_tests))
}

fn judge_room(room: &Room, name: &str) -> Option<String> {
    if room.may_use.contains(&name) {
        return None;
    }
    let allowed = if room.may_use.is_empty() {
        "nothing".to_owned()
    } else {
        room.may_use.join(", ")
    };
    Some(format!(
        "{} -> {name}: not an edge of the house; {} may use {allowed}, because {}; \
         move what is shared down to model, or join the two in a program",
        room.name, room.name, room.why
    ))
}

fn judge_reserved(room: &Room, name: &str) -> Option<String> {
    // `tracing-subscriber` goes where `tracing` goes.
    let is_family = |head: &str| {
        name.strip_prefix(head)
            .is_some_and(|tail| tail.is_empty() || tail.starts_with('-'))
    };
    let (_, owners) = RESERVED.iter().find(|(head, _)| is_family(head))?;
    if owners.contains(&room.name) {
        return None;
    }
    Some(format!(
        "{} -> {name}: only {} may use it; do without it here",
        room.name,
        owners.join(" and ")
    ))
}

fn judge_outside(room: &Room, name: &str, for_tests: bool) -> Option<String> {
    let Some(outside) = OUTSIDE.iter().find(|outside| outside.name == name) else {
        return Some(format!(
            "{} -> {name}: a crate from outside that is not in OUTSIDE ({TABLE}); \
             do without it, or add its row with a reason, in a commit of its own",
            room.name
        ));
    };
    let may_use = outside.used_by.contains(&room.name);
    let may_test = outside.tested_by.contains(&room.name);
    match (may_use, may_test, for_tests) {
        (true, _, _) | (_, true, true) => None,
        (false, true, false) => Some(format!(
            "{} -> {name}: for tests only ({}); move it to [dev-dependencies]",
            room.name, outside.reason
        )),
        (false, false, _) => Some(format!(
            "{} -> {name}: its row in OUTSIDE ({TABLE}) is for {}: {}; \
             do without it here, or add {} to the row, in a commit of its own",
            room.name,
            [outside.used_by, outside.tested_by].concat().join(", "),
            outside.reason,
            room.name
        )),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
