//! The real metadata of the workspace, with wrong edges added: by hand in the JSON, and once in a real manifest.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{OUTSIDE, RESERVED, ROOMS, findings};
use crate::scratch::Scratch;
use crate::workspace;

fn real_metadata() -> Value {
    static ASKED_ONCE: LazyLock<Value> =
        LazyLock::new(|| workspace::metadata(workspace::root()).unwrap());
    ASKED_ONCE.clone()
}

/// What the rule says once `room` depends on `name`, beyond what it says without.
fn found_after_adding(room: &str, name: &str, kind: Value) -> Vec<String> {
    let mut metadata = real_metadata();
    let before = findings(&metadata);
    let is_own = ROOMS.iter().any(|room| room.name == name);
    let path = is_own.then(|| format!("/anywhere/crates/{name}"));
    let packages = metadata["packages"].as_array_mut().unwrap();
    let package = packages
        .iter_mut()
        .find(|package| package["name"] == room)
        .unwrap();
    let dependencies = package["dependencies"].as_array_mut().unwrap();
    dependencies.retain(|dependency| dependency["name"] != name);
    dependencies.push(json!({ "name": name, "kind": kind, "path": path }));
    findings(&metadata)
        .into_iter()
        .filter(|finding| !before.contains(finding))
        .collect()
}

fn assert_found(room: &str, name: &str, kind: Value, says: &str) {
    let found = found_after_adding(room, name, kind);
    let edge = format!("{room} -> {name}: ");
    assert!(
        matches!(&found[..], [only] if only.starts_with(&edge) && only.contains(says)),
        "{edge}{says}: {found:?}"
    );
}

#[test]
fn the_house_as_it_stands_has_no_wrong_edge() {
    let found = findings(&real_metadata());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn plan_and_host_never_name_each_other() {
    assert_found("plan", "host", Value::Null, "plan may use model, because");
    assert_found("host", "plan", Value::Null, "host may use model, because");
}

#[test]
fn a_wrong_edge_is_found_among_dependencies_of_tests_and_builds_too() {
    assert_found("plan", "host", json!("dev"), "not an edge of the house");
    assert_found(
        "model",
        "plan",
        json!("build"),
        "model may use nothing, because",
    );
}

#[test]
fn no_package_depends_on_a_program_on_lab_or_on_xtask_but_the_cluster_on_lab() {
    let excepted = ROOMS.iter().flat_map(|room| {
        let lab = room.may_use.iter().filter(|name| **name == "lab");
        lab.map(|name| (room.name, *name))
    });
    assert_eq!(excepted.collect::<Vec<_>>(), [("cluster", "lab")]);
    for room in ROOMS {
        for name in ["cni", "agent", "ctl", "lab", "xtask"]
            .into_iter()
            .filter(|name| *name != room.name && !room.may_use.contains(name))
        {
            assert_found(room.name, name, Value::Null, "not an edge of the house");
        }
    }
}

#[test]
fn scenarios_run_the_programs_without_the_decisions() {
    for room in ["plan", "host", "model"] {
        assert_found("lab", room, Value::Null, "lab may use nothing");
    }
}

#[test]
fn the_runtime_and_its_family_stay_with_the_agent() {
    for name in [
        "tokio",
        "tokio-util",
        "kube",
        "kube-runtime",
        "axum",
        "hyper",
        "tracing",
        "tracing-subscriber",
    ] {
        for room in ROOMS.iter().filter(|room| room.name != "agent") {
            assert_found(room.name, name, Value::Null, "only agent may use it");
        }
    }
}

#[test]
fn the_argument_parser_stays_with_the_programs_that_people_start() {
    assert_found("cni", "clap", Value::Null, "only agent and ctl may use it");
    assert_found("lab", "clap", Value::Null, "only agent and ctl may use it");
    assert!(found_after_adding("ctl", "clap", Value::Null).is_empty());
}

#[test]
fn a_crate_from_outside_needs_a_row_with_a_reason() {
    assert_found("host", "libc", Value::Null, "not in OUTSIDE");
    assert_found(
        "plan",
        "rustix",
        Value::Null,
        "is for host, lab, cluster: system calls without unsafe",
    );
    assert_found("agent", "axum", Value::Null, "not in OUTSIDE");
}

#[test]
fn what_is_for_tests_stays_out_of_programs() {
    assert_found(
        "plan",
        "proptest",
        Value::Null,
        "move it to [dev-dependencies]",
    );
    assert_found(
        "model",
        "insta",
        json!("build"),
        "move it to [dev-dependencies]",
    );
    assert!(found_after_adding("plan", "proptest", json!("dev")).is_empty());
}

#[test]
fn a_crate_from_outside_is_not_taken_for_a_room_of_the_same_name() {
    let mut metadata = real_metadata();
    let packages = metadata["packages"].as_array_mut().unwrap();
    let cni = packages
        .iter_mut()
        .find(|package| package["name"] == "cni")
        .unwrap();
    cni["dependencies"] = json!([{ "name": "host", "kind": null, "path": null }]);
    let found = findings(&metadata);
    assert!(
        found
            .iter()
            .any(|finding| finding.starts_with("cni -> host: a crate from outside")),
        "{found:?}"
    );
}

#[test]
fn a_package_that_the_table_does_not_know_is_found() {
    let mut metadata = real_metadata();
    metadata["packages"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "shed", "dependencies": [] }));
    let found = findings(&metadata);
    assert!(
        found
            .iter()
            .any(|finding| finding.starts_with("shed: a package without a row")),
        "{found:?}"
    );
}

#[test]
fn the_table_itself_keeps_reserved_crates_with_their_owners() {
    for (reserved, owners) in RESERVED {
        for outside in OUTSIDE.iter().filter(|outside| outside.name == *reserved) {
            let users = [outside.used_by, outside.tested_by].concat();
            assert!(
                users.iter().all(|user| owners.contains(user)),
                "{reserved}: {users:?}"
            );
        }
    }
    assert!(OUTSIDE.iter().all(|outside| !outside.reason.is_empty()));
}

/// The whole way: a real manifest is edited, real cargo reads it, the whole of tidy judges it.
#[test]
fn a_manifest_that_makes_plan_depend_on_host_fails_tidy() {
    let scratch = Scratch::new("wrong-edge");
    let root = scratch.path();
    for name in ["Cargo.toml", "xtask/Cargo.toml", "docs/contract.md"] {
        scratch.write(
            name,
            &fs::read_to_string(workspace::root().join(name)).unwrap(),
        );
    }
    scratch.write("xtask/src/main.rs", "//! A head.\nfn main() {}\n");
    for room in ROOMS.iter().filter(|room| room.name != "xtask") {
        copy_crate(&scratch, room.name);
    }
    let tidy = || crate::tidy::findings(root, &workspace::metadata(root).unwrap()).unwrap();
    let before = tidy();

    let manifest = fs::read_to_string(root.join("crates/plan/Cargo.toml")).unwrap();
    let wrong = manifest.replacen(
        "[dependencies]\n",
        "[dependencies]\nhost.workspace = true\n",
        1,
    );
    assert_ne!(manifest, wrong, "plan has a [dependencies] table");
    scratch.write("crates/plan/Cargo.toml", &wrong);
    let new: Vec<String> = tidy()
        .into_iter()
        .filter(|finding| !before.contains(finding))
        .collect();
    assert!(
        matches!(&new[..], [only] if only.starts_with("plan -> host: not an edge")),
        "{new:?}"
    );
}

fn copy_crate(scratch: &Scratch, name: &str) {
    let directory = Path::new("crates").join(name);
    copy_text(scratch, &directory.join("Cargo.toml"));
    // Cargo wants the files of the targets that it is told about; their content does not matter here.
    let package = real_metadata();
    let package = workspace::packages(&package)
        .find(|package| package["name"] == name)
        .cloned()
        .unwrap();
    for target in package["targets"].as_array().unwrap() {
        let path = Path::new(target["src_path"].as_str().unwrap());
        let path = path.strip_prefix(workspace::root()).unwrap();
        scratch.write(&path.to_string_lossy(), "//! A head.\n#![no_std]\n");
    }
}

fn copy_text(scratch: &Scratch, path: &Path) {
    scratch.write(
        &path.to_string_lossy(),
        &fs::read_to_string(workspace::root().join(path)).unwrap(),
    );
}
