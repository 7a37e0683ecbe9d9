//! A thousand pods that come and go, sixty-four at a time, while a runtime collects and asks and the agent is killed.
//!
//! Each of the workers has a network namespace, in which attachments come and go one after another. Some are never deleted but
//! left to a GC, and their worker gets another namespace. No call may fail, no address may be two attachments', and at the
//! end nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::plugin::{Attachment, Plugin};
use lab::walk::{Agent, Site};
use lab::{Lab, Node, programs};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::random::{Random, seed};
use super::{Type, is_civil, left_on};

const WORKERS: usize = 64;
const ROUNDS: usize = 16;
/// An agent that takes longer is stuck.
const READY: Duration = Duration::from_secs(60);

/// Two networks on one node, and what a runtime knows.
struct Storm {
    site: Site,
    seed: u64,
    networks: [(Plugin, Value); 2],
    /// Who has an address, from its ADD's answer until its DEL begins.
    given: Mutex<BTreeMap<String, String>>,
    /// Attachments that no DEL will come for.
    left_behind: Mutex<BTreeSet<String>>,
    over: AtomicBool,
    collected: AtomicUsize,
    restarts: AtomicUsize,
}

/// The container id of a worker's attachment number `round`.
fn container(worker: usize, round: usize) -> String {
    format!("w{worker}-{round}")
}

impl Storm {
    fn new(lab: &Lab) -> Result<Self> {
        let conf = |kind: Type, name: &str| {
            let mut conf = kind.conf();
            conf["name"] = name.into();
            conf["runtimeConfig"] = json!({});
            conf
        };
        let routed = conf(Type::Podwire, "podwire");
        let mut bridged = conf(Type::BashCni, "mynet");
        bridged["subnet"] = "10.244.9.0/24".into();
        Ok(Self {
            site: Site::new(lab)?,
            seed: seed("storm"),
            networks: [
                (Type::Podwire.plugin()?, routed),
                (Type::BashCni.plugin()?, bridged),
            ],
            given: Mutex::default(),
            left_behind: Mutex::default(),
            over: AtomicBool::new(false),
            collected: AtomicUsize::new(0),
            restarts: AtomicUsize::new(0),
        })
    }

    fn node(&self) -> &Node {
        self.site.master()
    }

    /// The network that a worker's pods are of.
    fn network(&self, worker: usize) -> &(Plugin, Value) {
        &self.networks[worker % 2]
    }

    fn call(
        &self,
        worker: usize,
        verb: &str,
        attachment: &Attachment,
        conf: &Value,
    ) -> Result<Value> {
        let (plugin, _) = self.network(worker);
        let answer = plugin.call(self.node(), verb, attachment, conf)?;
        is_civil(&answer)?;
        answer
            .ok()
            .with_context(|| format!("{verb} of {}", attachment.container_id))
    }

    /// One worker's pods, one after another.
    fn work(&self, worker: usize) -> Result<()> {
        let mut random = Random::of(self.seed ^ (worker as u64) << 32);
        let mut conf = self.network(worker).1.clone();
        if random.one_in(4) {
            conf["runtimeConfig"] = json!({"portMappings": [
                {"hostPort": 20_000 + worker, "containerPort": 80, "protocol": "tcp"}]});
        }
        let mut pod = self.node().pod(&format!("w{worker}"))?;
        for round in 0..ROUNDS {
            let own = Attachment::of(&pod).container(&container(worker, round));
            let told = self.call(worker, "ADD", &own, &conf)?;
            self.take(&told, &own)?;
            if random.one_in(8) {
                let again = self.call(worker, "ADD", &own, &conf)?;
                ensure!(again == told, "{again} after {told}");
            }
            if random.one_in(8) {
                let mut conf = conf.clone();
                conf["prevResult"] = told.clone();
                self.call(worker, "CHECK", &own, &conf)?;
            }
            self.give_back(&told)?;
            // With host ports the next one of this worker would be refused until a GC has come.
            if conf["runtimeConfig"]["portMappings"].is_null() && random.one_in(12) {
                lock(&self.left_behind).insert(own.container_id);
                pod = self.node().pod(&format!("w{worker}x{round}"))?;
                continue;
            }
            self.call(worker, "DEL", &own, &conf)?;
            if random.one_in(8) {
                self.call(worker, "DEL", &own, &conf)?;
            }
        }
        Ok(())
    }

    fn take(&self, told: &Value, own: &Attachment) -> Result<()> {
        let mut given = lock(&self.given);
        for address in addresses(told)? {
            let who = own.container_id.clone();
            if let Some(other) = given.insert(address.clone(), who) {
                bail!(
                    "{address} was given to {} and is {other}'s",
                    own.container_id
                );
            }
        }
        Ok(())
    }

    fn give_back(&self, told: &Value) -> Result<()> {
        let mut given = lock(&self.given);
        for address in addresses(told)? {
            ensure!(given.remove(&address).is_some(), "{address} was nobody's");
        }
        Ok(())
    }

    /// A runtime that collects what was left behind, and asks whether the next pod would be served.
    fn collect(&self) -> Result<()> {
        let mut random = Random::of(self.seed ^ 0xc0);
        while !self.over.load(Relaxed) {
            let number = random.below(2);
            let (plugin, conf) = self.network(number);
            let verb = *random.of_these(&["GC", "STATUS", "STATUS", "VERSION"]);
            let mut conf = conf.clone();
            if verb == "GC" {
                conf["cni.dev/valid-attachments"] = self.valid();
                self.collected.fetch_add(1, Relaxed);
            }
            let answer = plugin.call_network(self.node(), verb, &conf)?;
            is_civil(&answer)?;
            answer.ok().context(verb)?;
        }
        Ok(())
    }

    /// All that ever come but those that were left behind: more than there are, as in a runtime whose list is old.
    fn valid(&self) -> Value {
        let behind = lock(&self.left_behind);
        let all = (0..WORKERS).flat_map(|worker| (0..ROUNDS).map(move |it| container(worker, it)));
        let alive = all.filter(|id| !behind.contains(id));
        let entry = |id: String| json!({"containerID": id, "ifname": "eth0"});
        alive.map(entry).collect()
    }

    /// An agent that is killed as soon as it is ready, or a little later, and comes back.
    fn restart(&self) -> Result<()> {
        let mut random = Random::of(self.seed ^ 0xa6);
        let programs = programs()?;
        while !self.over.load(Relaxed) {
            let agent = Agent::start(self.node(), &programs)?;
            if !random.one_in(3) {
                agent.ready(READY)?;
            }
            let signal = if random.one_in(2) {
                Signal::KILL
            } else {
                Signal::TERM
            };
            agent.process.kill(signal)?;
            agent.process.wait_within(READY)?;
            self.restarts.fetch_add(1, Relaxed);
        }
        Ok(())
    }
}

fn addresses(told: &Value) -> Result<Vec<String>> {
    let ips = told["ips"].as_array().context("ips")?;
    let text = |ip: &Value| ip["address"].as_str().map(str::to_owned);
    ips.iter()
        .map(|ip| text(ip).context("an address"))
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_thousand_pods_come_and_go_sixty_four_at_a_time_and_leave_nothing() -> Result<()> {
    Lab::scenario(|lab| {
        let storm = Storm::new(lab)?;
        let began = Instant::now();
        let storm = &storm;
        let failures = &Mutex::new(Vec::new());
        let note = |outcome: Result<()>| {
            if let Err(error) = outcome {
                lock(failures).push(format!("{error:#}"));
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| note(storm.collect()));
            scope.spawn(|| note(storm.restart()));
            let workers: Vec<_> = (0..WORKERS)
                .map(|worker| scope.spawn(move || note(storm.work(worker))))
                .collect();
            for worker in workers {
                if worker.join().is_err() {
                    note(Err(anyhow::anyhow!("a worker panicked")));
                }
            }
            storm.over.store(true, Relaxed);
        });
        println!(
            "{} ADDs and as many ends, {WORKERS} at a time, {} GCs, {} agents: {:?}",
            WORKERS * ROUNDS,
            storm.collected.load(Relaxed),
            storm.restarts.load(Relaxed),
            began.elapsed()
        );
        let happened = |count: &AtomicUsize| count.load(Relaxed) > 0;
        ensure!(happened(&storm.collected) && happened(&storm.restarts));
        let failures = lock(failures);
        ensure!(failures.is_empty(), "{}", failures.join("\n"));
        for (plugin, conf) in &storm.networks {
            let mut conf = conf.clone();
            conf["cni.dev/valid-attachments"] = json!([]);
            plugin.call_network(storm.node(), "GC", &conf)?.ok()?;
        }
        let left = left_on(storm.node())?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
}
