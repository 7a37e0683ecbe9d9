//! Upstream's own tests of a cluster's network, of the same version, run from the control plane's machine.
//!
//! Every case of [sig-network] is either run or left out with a reason (`left_out`), which docs/conformance.md tells case by
//! case: a case that upstream adds, renames or skips by itself makes a run fail until somebody has decided. The suite's
//! programs are `e2e.test` and `ginkgo`; see Kubernetes' document "Conformance Testing" and ginkgo's about its report.

mod left_out;
mod page;
mod report;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::Cluster;
use crate::progress::say;
use crate::{MASTER, Place, Shape, build};

use report::{Case, State};

/// Which cases are about the network.
const OURS: &str = "[sig-network]";

/// Cases at the same time; they wait more than they work.
const AT_ONCE: usize = 3;

/// So long ginkgo runs cases, and so much later it has told what came of them.
const ENDS_WITHIN: Duration = Duration::from_secs(2 * 3600);
const GIVES_UP_WITHIN: Duration = Duration::from_secs(2 * 3600 + 600);

/// Cases that must be alone on the cluster say so.
const ALONE: [&str; 2] = ["[Serial]", "[Disruptive]"];

/// The label of the first node.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// A kind of cluster, and the cases that need it.
struct Part {
    name: &'static str,
    /// The same in the names of files.
    word: &'static str,
    shape: &'static str,
    /// Words of the names of those cases; without one it takes all others.
    marks: &'static [&'static str],
}

/// The first that a case fits is its own.
const PARTS: [Part; 3] = [
    Part {
        name: "dual-stack",
        word: "dual",
        shape: "2 --family dual",
        marks: &["[Feature:IPv6DualStack]"],
    },
    Part {
        name: "kube-proxy in iptables mode",
        word: "iptables",
        shape: "2 --proxy iptables",
        marks: &["[Feature:LocalhostNodePorts]", "[Feature:KubeProxyNFAcct]"],
    },
    Part {
        name: "IPv4",
        word: "ipv4",
        shape: "3",
        marks: &[],
    },
];

impl Part {
    fn of(case: &str) -> Option<&'static Self> {
        PARTS
            .iter()
            .find(|part| part.marks.is_empty() || part.marks.iter().any(|mark| case.contains(mark)))
    }
}

/// Runs every case that is not left out and whose name contains `focus`, and says how each part went.
///
/// # Errors
/// When docs/conformance.md does not say what the suite has, or a case did not pass; with the reasons.
pub fn conformance(place: &Place, focus: &str) -> Result<()> {
    let cases = cases(place)?;
    page::check(&cases)?;
    let runs: Vec<_> = cases
        .iter()
        .filter(|case| left_out::why(case).is_none() && case.contains(focus))
        .map(String::as_str)
        .collect();
    ensure!(
        !runs.is_empty(),
        "no case that is run has {focus:?} in its name"
    );
    let mut wrong = Vec::new();
    for part in PARTS.iter().rev() {
        let of_part = |case: &&&str| Part::of(case).is_some_and(|own| own.name == part.name);
        let of_part: Vec<_> = runs.iter().filter(of_part).copied().collect();
        if !of_part.is_empty() {
            wrong.extend(run(place, part, &of_part)?);
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {} cases did not pass:\n{}",
        wrong.len(),
        runs.len(),
        wrong.join("\n")
    )
}

/// What is left out, case by case, as docs/conformance.md has it.
///
/// # Errors
/// When the suite is not built.
pub fn left_out(place: &Place) -> Result<String> {
    Ok(page::render(&cases(place)?))
}

/// All cases that are about the network, by name.
fn cases(place: &Place) -> Result<Vec<String>> {
    let folder = place.root().join("e2e");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let file = folder.join("list.json");
    let mut command = Command::new(program(place, "e2e.test")?);
    command
        .arg("--ginkgo.dry-run")
        .arg(format!("--ginkgo.focus={}", escaped(OURS)))
        .arg(format!("--ginkgo.json-report={}", file.display()))
        .current_dir(&folder);
    crate::process::run(&mut command).context("list upstream's cases")?;
    let cases = report::read(&file)?;
    let mut names: Vec<_> = cases
        .into_iter()
        .filter(|case| case.state == State::Passed)
        .map(|case| case.name)
        .collect();
    names.sort();
    ensure!(!names.is_empty(), "upstream's suite has no case {OURS}");
    Ok(names)
}

/// Runs a part's cases on its cluster, and gives those that did not pass.
fn run(place: &Place, part: &Part, cases: &[&str]) -> Result<Vec<String>> {
    let shape = Shape::parse(part.shape.split(' '))?;
    let cluster = Cluster::at(place, &shape)?;
    prepare(&cluster)?;
    let is_alone = |case: &&&str| ALONE.iter().any(|mark| case.contains(mark));
    let (alone, together): (Vec<_>, Vec<_>) = cases.iter().partition(is_alone);
    let mut wrong = Vec::new();
    let of_alone = format!("{}-alone", part.word);
    for (cases, at_once, word) in [(together, AT_ONCE, part.word), (alone, 1, &of_alone)] {
        if cases.is_empty() {
            continue;
        }
        let began = Instant::now();
        let seen = ginkgo(&cluster, &cases, at_once, word)?;
        let before = wrong.len();
        wrong.extend(cases.iter().filter_map(|name| complaint(name, &seen)));
        say(format!(
            "cluster: {}: {} of {} cases passed, {at_once} at once, in {} s",
            part.name,
            cases.len() + before - wrong.len(),
            cases.len(),
            began.elapsed().as_secs()
        ));
    }
    put_back(&cluster)?;
    // What a case leaves behind that failed, nobody knows.
    if wrong.is_empty() {
        cluster.mark_restored()?;
    }
    Ok(wrong)
}

/// What the suite expects of a cluster: names, and nodes in zones of their own, of which none is the control plane's, since
/// their zones do not count. Zones are counted when one is given: so it must be no control plane's before.
fn prepare(cluster: &Cluster) -> Result<()> {
    cluster.names()?;
    cluster.mark_changed()?;
    let no_role = format!("{CONTROL_PLANE}-");
    cluster.kubectl(&["label", "node", MASTER, &no_role])?;
    for node in cluster.nodes() {
        let zone = format!("topology.kubernetes.io/zone={}", node.name());
        cluster.kubectl(&["label", "--overwrite", "node", node.name(), &zone])?;
    }
    Ok(())
}

fn put_back(cluster: &Cluster) -> Result<()> {
    let role = format!("{CONTROL_PLANE}=");
    cluster.kubectl(&["label", "--overwrite", "node", MASTER, &role])?;
    cluster
        .kubectl(&["label", "nodes", "--all", "topology.kubernetes.io/zone-"])
        .map(drop)
}

fn complaint(name: &str, seen: &[Case]) -> Option<String> {
    let found = seen.iter().find(|case| case.name == name);
    let said = |why: &str| why.lines().next().unwrap_or_default().to_owned();
    match found.map(|case| (case.state, &case.said)) {
        Some((State::Passed, _)) => None,
        Some((State::Failed, why)) => Some(format!("{name}\n    failed: {}", said(why))),
        Some((State::Skipped, why)) => Some(format!("{name}\n    skips itself: {}", said(why))),
        None => Some(format!("{name}\n    was not run")),
    }
}

/// One run of the suite, with a log and a report of this name; whether cases fail is told by its report.
fn ginkgo(cluster: &Cluster, cases: &[&str], at_once: usize, word: &str) -> Result<Vec<Case>> {
    let place = cluster.place();
    let folder = place.root().join("e2e");
    let report = format!("report-{word}.json");
    let (log, file) = (folder.join(format!("log-{word}")), folder.join(&report));
    drop(fs::remove_file(&file));
    let names: Vec<_> = cases.iter().map(|name| escaped(name)).collect();
    say(format!(
        "cluster: {} cases, {at_once} at once; log: {}",
        cases.len(),
        log.display()
    ));
    let out = File::create(&log).with_context(|| format!("make {}", log.display()))?;
    let err = out.try_clone().context("share a log")?;
    let ginkgo = program(place, "ginkgo")?;
    let mut command = cluster.outside().in_network(&ginkgo)?;
    command
        .arg(format!("--procs={at_once}"))
        .arg(format!("--focus=({})$", names.join("|")))
        .args(["--no-color", "--silence-skips", "--keep-going"])
        .arg(format!("--timeout={}s", ENDS_WITHIN.as_secs()))
        .arg(format!("--output-dir={}", folder.display()))
        .arg(format!("--json-report={report}"))
        .arg(program(place, "e2e.test")?)
        .args(["--", "--provider=skeleton", "--disable-log-dump"])
        // It counts them itself, but some cases ask for this.
        .arg(format!("--num-nodes={}", cluster.shape().nodes))
        .arg(format!(
            "--kubectl-path={}",
            place.program("kubectl")?.display()
        ))
        .env("KUBECONFIG", cluster.kubeconfig())
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err);
    let mut child = command.spawn().context("start ginkgo")?;
    crate::process::ended(&mut child, "ginkgo", GIVES_UP_WITHIN)?;
    report::read(&file).with_context(|| format!("ginkgo told nothing; see {}", log.display()))
}

fn program(place: &Place, name: &str) -> Result<PathBuf> {
    ensure!(
        build::holds(place, build::E2E) && build::holds(place, build::COREDNS),
        "upstream's suite is not built in this version; type: cargo xtask cluster build coredns e2e"
    );
    place.program(name)
}

/// A text that stands for itself in a regular expression.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_itself() {
        assert_eq!(escaped("[a] b: c."), r"\[a\] b: c\.");
    }

    #[test]
    fn every_case_has_a_cluster_and_the_last_takes_what_no_other_wants() {
        let name = |case| Part::of(case).unwrap().name;
        assert_eq!(
            name("[sig-network] [Feature:IPv6DualStack] x"),
            "dual-stack"
        );
        assert_eq!(name("[sig-network] Services x"), "IPv4");
        for part in PARTS {
            Shape::parse(part.shape.split(' ')).unwrap();
        }
    }
}
