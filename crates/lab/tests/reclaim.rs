//! What pods leave that end without a DEL: found by `podwire leaks`, reclaimed by the agent, and never a live pod's.
//!
//! Network namespaces end here as they do on a node: unmounted, removed, or kept by a process. That nothing is reclaimed is
//! seen beside something that is: a witness that died later.

mod alive;
mod blind;
mod clocks;
mod dead;
mod leaks;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Attachment, Plugin};
use lab::walk::{Agent, Mode, Site};
use lab::{Lab, Node, Output, Pod, Programs, programs, watch};
use serde_json::{Value, json};

/// Whatever is done by then was done in time; only a failure waits so long.
const SOON: Duration = Duration::from_secs(30);
/// In seconds; real ones are patient.
const GRACE: &str = "1";
const FOLDER: &str = "/run/podwire/podwire";

/// The demo's master with an agent that reclaims soon.
struct Scene {
    site: Site,
    programs: Programs,
    agent: Agent,
    conf: Value,
}

impl Scene {
    fn new(lab: &Lab) -> Result<Self> {
        let site = Site::new(lab)?;
        let programs = programs()?;
        let agent = Agent::start_with(site.master(), &programs, &["--grace", GRACE])?;
        agent.ready(SOON)?;
        let conf = site.sides[0].config(Mode::Routed)?;
        Ok(Self {
            site,
            programs,
            agent,
            conf,
        })
    }

    fn node(&self) -> &Node {
        self.site.master()
    }

    /// A new pod with an address.
    fn pod(&self, name: &str) -> Result<Pod> {
        let pod = self.node().pod(name)?;
        self.add(&Attachment::of(&pod), &json!([]))?;
        Ok(pod)
    }

    fn add(&self, attachment: &Attachment, ports: &Value) -> Result<Value> {
        let mut conf = self.conf.clone();
        conf["runtimeConfig"] = json!({ "portMappings": ports });
        let plugin = Plugin::new(self.programs.plugins.join("podwire"));
        plugin.add(self.node(), attachment, &conf)?.ok()
    }

    /// Ends a pod as nobody should, and waits until its link has gone: the kernel takes its time.
    fn die(&self, pod: &Pod) -> Result<()> {
        let link = link(self.node(), pod.pod_name())?;
        pod.destroy()?;
        watch::until(
            self.node(),
            &format!("the end of {link}"),
            &[],
            SOON,
            || {
                let links = fs::read_to_string("/proc/thread-self/net/dev")?;
                Ok((!links.contains(&link)).then_some(()))
            },
        )
    }

    /// A pod that dies now; whatever the agent would reclaim as well it has reclaimed when this returns, twice over.
    fn witness(&self) -> Result<()> {
        for name in ["witness-1", "witness-2"] {
            self.pod(name)?.destroy()?;
            self.gone(name)?;
        }
        Ok(())
    }

    /// Waits until the pod's record is gone.
    fn gone(&self, name: &str) -> Result<()> {
        let file = format!("{FOLDER}/attachments/k8s-master-{name}@eth0");
        let what = format!("the end of {name}'s record");
        watch::until(self.node(), &what, &[&file], SOON, || {
            Ok((!fs::exists(&file)?).then_some(()))
        })
    }

    fn records(&self) -> Result<Vec<String>> {
        names(self.node(), "attachments")
    }

    fn leases(&self) -> Result<Vec<String>> {
        names(self.node(), "leases")
    }

    fn leaks(&self, arguments: &[&str]) -> Result<Output> {
        leaks(self.node(), arguments)
    }
}

fn names(node: &Node, below: &str) -> Result<Vec<String>> {
    node.attempt(|| {
        let entries = fs::read_dir(format!("{FOLDER}/{below}"))?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<Result<Vec<String>>>()?;
        names.sort();
        Ok(names)
    })
}

fn leaks(node: &Node, arguments: &[&str]) -> Result<Output> {
    let command = node.command(&programs()?.tool).arg("leaks").args(arguments);
    command.output_within(SOON)
}

/// It ends with this code and says these things.
fn said(output: &Output, code: i32, parts: &[&str]) -> Result<()> {
    ensure!(output.status.code() == Some(code), "{output:?}");
    for part in parts {
        ensure!(output.stdout.contains(part), "no {part:?} in {output:?}");
    }
    Ok(())
}

/// The findings in a report, as one text.
fn findings(status: &Value) -> String {
    status["findings"].to_string()
}

/// The host interface of the pod.
fn link(node: &Node, name: &str) -> Result<String> {
    let command = node.command(&programs()?.tool).args(["status", "--json"]);
    let output = command.output_within(SOON)?;
    let status: Value =
        serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    let pods = status["networks"][0]["attachments"].as_array();
    let mut pods = pods.into_iter().flatten();
    let pod = pods
        .find(|pod| pod["pod"]["name"] == name)
        .context("the pod")?;
    Ok(pod["host_interface"].as_str().context("a link")?.to_owned())
}

fn run(node: &Node, words: &str) -> Result<String> {
    let mut words = words.split(' ');
    let program = words.next().context("a program")?;
    let output = node.command(program).args(words).output_within(SOON)?;
    Ok(output.ok()?.stdout)
}
