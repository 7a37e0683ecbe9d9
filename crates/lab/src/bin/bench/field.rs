//! The nodes and pods, and the order in which the contenders are called.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::{Lab, Node, Pod};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::contender::{Contender, Program, Verb};
use crate::memory;
use crate::sample::Samples;

/// Calls of a burst, and how many of them run at once.
pub(crate) const BURST: usize = 128;
pub(crate) const AT_ONCE: usize = 64;
/// Calls that do not count: they put the node in order and the programs into memory.
const WARM_UP: usize = 3;

pub(crate) const SPAWN: &str = "spawn floor (does nothing)";
pub(crate) const FLOOR_DUAL: &str = "kernel floor, routed, dual-stack";
pub(crate) const FLOOR_V4: &str = "kernel floor, routed, IPv4";
pub(crate) const FLOOR_BRIDGE: &str = "kernel floor, bridge, IPv4";
pub(crate) const DUAL: &str = "podwire, dual-stack";
pub(crate) const V4: &str = "podwire, IPv4";
pub(crate) const BASH_CNI: &str = "bash-cni, IPv4";
pub(crate) const BRIDGE: &str = "reference bridge + host-local";
pub(crate) const BRIDGE_MASQ: &str = "reference bridge + host-local, ipMasq";
pub(crate) const PTP: &str = "reference ptp + host-local";

/// One contender's figures.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) floor: Option<&'static str>,
    pub(crate) add: Samples,
    pub(crate) del: Samples,
}

/// Everything that is measured.
pub(crate) struct Field {
    contenders: Vec<Entry>,
}

struct Entry {
    contender: Contender,
    pods: Vec<Pod>,
}

impl Field {
    /// Makes nodes and pods, and calls everybody until it is warm.
    pub(crate) fn set_up(lab: &Lab, arguments: &Arguments) -> Result<Self> {
        let mut field = Self {
            contenders: Vec::new(),
        };
        field.dual_stack(lab, arguments)?;
        field.ipv4(lab, arguments)?;
        field.bridge(lab, arguments)?;
        if let Some(folder) = &arguments.reference {
            field.reference(lab, folder)?;
        }
        field.one_by_one(WARM_UP)?;
        Ok(field)
    }

    fn dual_stack(&mut self, lab: &Lab, arguments: &Arguments) -> Result<()> {
        let node = lab.node("dual-stack").start()?;
        let pods = pods(&node, BURST)?;
        let nothing = Program::Nothing(arguments.floor.clone());
        self.enter(SPAWN, None, nothing, &node, &pods[..1]);
        let prefixes = &[("10.250.0.", 24), ("fd00:10:250::", 64)];
        let floor = floor(arguments, "routed", prefixes);
        self.enter(FLOOR_DUAL, Some(FLOOR_DUAL), floor, &node, &pods);
        let ours = plugin(&arguments.cni, "podwire", dual());
        self.enter(DUAL, Some(FLOOR_DUAL), ours, &node, &pods);
        Ok(())
    }

    fn ipv4(&mut self, lab: &Lab, arguments: &Arguments) -> Result<()> {
        let node = lab.node("ipv4").start()?;
        let pods = pods(&node, 1)?;
        let floor = floor(arguments, "routed", &[("10.250.0.", 24)]);
        self.enter(FLOOR_V4, Some(FLOOR_V4), floor, &node, &pods);
        let ours = plugin(&arguments.cni, "podwire", ipv4());
        self.enter(V4, Some(FLOOR_V4), ours, &node, &pods);
        Ok(())
    }

    fn bridge(&mut self, lab: &Lab, arguments: &Arguments) -> Result<()> {
        let node = lab.node("bridge").start()?;
        let pods = pods(&node, BURST)?;
        let floor = floor(arguments, "bridge", &[("10.244.0.", 24)]);
        self.enter(FLOOR_BRIDGE, Some(FLOOR_BRIDGE), floor, &node, &pods);
        let ours = plugin(&arguments.cni, "bash-cni", bash_cni());
        self.enter(BASH_CNI, Some(FLOOR_BRIDGE), ours, &node, &pods);
        Ok(())
    }

    fn reference(&mut self, lab: &Lab, folder: &Path) -> Result<()> {
        let node = lab.node("reference").start()?;
        let pods = pods(&node, BURST)?;
        for (name, masq) in [(BRIDGE, false), (BRIDGE_MASQ, true)] {
            let bridge = plugin(folder, "bridge", reference_bridge(masq));
            self.enter(name, Some(FLOOR_BRIDGE), bridge, &node, &pods);
        }
        let ptp = plugin(folder, "ptp", reference_ptp());
        self.enter(PTP, Some(FLOOR_V4), ptp, &node, &pods);
        Ok(())
    }

    fn enter(
        &mut self,
        name: &'static str,
        floor: Option<&'static str>,
        program: Program,
        node: &Node,
        pods: &[Pod],
    ) {
        let node = node.clone();
        let contender = Contender {
            name,
            floor,
            program,
            node,
        };
        self.contenders.push(Entry {
            contender,
            pods: pods.to_vec(),
        });
    }

    /// ADD and DEL, one call after another; the contenders take turns, every other round backwards.
    pub(crate) fn one_by_one(&self, rounds: usize) -> Result<Vec<Row>> {
        let mut rows = self.rows(|_| true);
        for round in 0..rounds {
            let mut turns: Vec<_> = self.contenders.iter().zip(&mut rows).collect();
            if round % 2 == 1 {
                turns.reverse();
            }
            for (entry, row) in turns {
                let Entry { contender, pods } = entry;
                let call = |verb| contender.node.attempt(|| contender.call(verb, &pods[0], 0));
                row.add.push(call(Verb::Add)?.took);
                if contender.makes_something() {
                    row.del.push(call(Verb::Del)?.took);
                }
            }
        }
        Ok(rows)
    }

    /// A burst of ADDs, then one of DELs, in turns. The reference plugins take part once, because they need so long.
    pub(crate) fn at_once(&self, bursts: usize) -> Result<Vec<Row>> {
        let takes_part = |entry: &Entry| entry.pods.len() == BURST;
        let mut rows = self.rows(takes_part);
        for burst in 0..bursts {
            let entries = self.contenders.iter().filter(|entry| takes_part(entry));
            for (entry, row) in entries.zip(&mut rows) {
                let name = entry.contender.name;
                if burst > 0 && [BRIDGE, BRIDGE_MASQ, PTP].contains(&name) {
                    continue;
                }
                let (took, answers) = storm(entry, Verb::Add)?;
                row.add.push(took);
                let unique = addresses(&answers)?;
                if matches!(entry.contender.program, Program::Plugin(..)) {
                    ensure!(
                        unique >= BURST,
                        "{name}: an address was given twice: {BURST} pods, {unique} addresses"
                    );
                }
                row.del.push(storm(entry, Verb::Del)?.0);
            }
        }
        Ok(rows)
    }

    /// Peak memory in bytes of the ADDs that are ours.
    pub(crate) fn memory(&self) -> Result<Vec<(&'static str, u64)>> {
        let ours = |entry: &&Entry| [DUAL, V4, BASH_CNI].contains(&entry.contender.name);
        let entries = self.contenders.iter().filter(ours);
        let look = |Entry { contender, pods }: &Entry| {
            let peak = contender
                .node
                .attempt(|| memory::peak(contender, &pods[0]))
                .with_context(|| format!("measure the memory of {}", contender.name))?;
            Ok((contender.name, peak))
        };
        entries.map(look).collect()
    }

    fn rows(&self, which: impl Fn(&Entry) -> bool) -> Vec<Row> {
        let entries = self.contenders.iter().filter(|entry| which(entry));
        let row = |entry: &Entry| Row {
            name: entry.contender.name,
            floor: entry.contender.floor,
            add: Samples::default(),
            del: Samples::default(),
        };
        entries.map(row).collect()
    }
}

/// One call for every pod, [`AT_ONCE`] at a time: the wall time of all, and what they answered.
fn storm(entry: &Entry, verb: Verb) -> Result<(Duration, Vec<String>)> {
    let Entry { contender, pods } = entry;
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<String>> {
        let mut answers = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(pod) = pods.get(number) else {
                return Ok(answers);
            };
            answers.push(contender.call(verb, pod, number)?.answer);
        }
    };
    contender.node.attempt(|| {
        let started = Instant::now();
        // Threads of a thread that is in the node are in it as well.
        let answers = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(answers) => answers,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect::<Result<Vec<_>>>()
        })?;
        Ok((started.elapsed(), answers.concat()))
    })
}

/// How many different first addresses the answers hold.
fn addresses(answers: &[String]) -> Result<usize> {
    let mut found = BTreeSet::new();
    for answer in answers.iter().filter(|answer| !answer.is_empty()) {
        let answer: Value = serde_json::from_str(answer).context("read an answer")?;
        found.insert(answer["ips"][0]["address"].to_string());
    }
    Ok(found.len())
}

fn floor(
    arguments: &Arguments,
    kind: &'static str,
    prefixes: &'static [(&'static str, u8)],
) -> Program {
    Program::Floor(arguments.floor.clone(), kind, prefixes)
}

fn plugin(folder: &Path, name: &str, conf: Value) -> Program {
    Program::Plugin(folder.join(name), conf)
}

fn pods(node: &Node, count: usize) -> Result<Vec<Pod>> {
    (0..count)
        .map(|number| node.pod(&format!("p{number}")))
        .collect()
}

fn dual() -> Value {
    json!({"cniVersion": "1.0.0", "name": "podwire", "type": "podwire",
        "ranges": ["10.244.0.0/24", "fd00:10:244::/64"],
        "network": ["10.244.0.0/16", "fd00:10:244::/56"]})
}

fn ipv4() -> Value {
    json!({"cniVersion": "1.0.0", "name": "podwire", "type": "podwire",
        "ranges": ["10.244.0.0/24"], "network": ["10.244.0.0/16"]})
}

fn bash_cni() -> Value {
    json!({"cniVersion": "0.3.1", "name": "mynet", "type": "bash-cni",
        "network": "10.244.0.0/16", "subnet": "10.244.0.0/24"})
}

fn reference_bridge(masq: bool) -> Value {
    let (name, bridge, range) = if masq {
        ("masq", "cni1", "10.246.0.0/24")
    } else {
        ("bridge", "cni0", "10.245.0.0/24")
    };
    json!({"cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": bridge,
        "isDefaultGateway": true, "ipMasq": masq, "ipam": host_local(range)})
}

fn reference_ptp() -> Value {
    let mut ipam = host_local("10.247.0.0/24");
    // The bridge plugin adds this one by itself.
    ipam["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    json!({"cniVersion": "1.0.0", "name": "ptp", "type": "ptp", "ipam": ipam})
}

fn host_local(range: &str) -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": range}]]})
}
