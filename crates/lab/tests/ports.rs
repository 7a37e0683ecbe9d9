//! Host ports, with the real programs: who reaches a pod through its node, as whom, and who does not.
//!
//! Two nodes, a pod with ports on the master, another one beside it, one on the worker, and the outside host. Type `podwire`
//! with an agent on both nodes, type `bash-cni` as the demo has it: routes by hand and no agent.

mod crash;
mod guard;
mod owners;
mod reach;
mod repair;
mod services;
mod udp;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::plugin::{Answer, Attachment, Plugin};
use lab::{Lab, Node, Place, Pod, Process, programs, wire};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);
const NO_ANSWER: Duration = Duration::from_millis(300);
/// How long one answer over UDP may take before the question is asked again.
const PATIENCE: Duration = Duration::from_millis(200);

const NODES: &str = r#"
prefixes = ["10.244.0.0/16", "fd00:10:244::/56"]
[[node]]
name = "k8s-master"
addresses = ["10.128.0.2", "fd00:10:128::2"]
ranges = ["10.244.0.0/24", "fd00:10:244::/64"]
[[node]]
name = "k8s-worker"
addresses = ["10.128.0.3", "fd00:10:128::3"]
ranges = ["10.244.1.0/24", "fd00:10:244:1::/64"]
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `bash-cni`, without an agent.
    Bridge,
    /// `podwire`, as an agent configures it.
    Routed,
}

/// One node with the plugin.
#[derive(Clone)]
struct Side {
    node: Node,
    plugin: Plugin,
    conf: Value,
}

impl Side {
    /// The configuration that an agent would write stands here: nobody else has to run.
    fn alone(node: Node, kind: Kind, number: u8) -> Result<Self> {
        let (name, conf) = match kind {
            Kind::Bridge => (
                "bash-cni",
                json!({"cniVersion": "1.1.0", "name": "mynet", "type": "bash-cni", "network": "10.244.0.0/16",
                    "subnet": format!("10.244.{number}.0/24")}),
            ),
            Kind::Routed => (
                "podwire",
                json!({"cniVersion": "1.1.0", "name": "podwire", "type": "podwire",
                    "ranges": [format!("10.244.{number}.0/24"), format!("fd00:10:244:{number}::/64")],
                    "network": ["10.244.0.0/16", "fd00:10:244::/56"]}),
            ),
        };
        Ok(Self {
            node,
            plugin: Plugin::new(programs()?.plugins.join(name)),
            conf,
        })
    }

    /// The same with these host ports, as containerd writes them.
    fn with(&self, ports: &Value) -> Self {
        let mut side = self.clone();
        side.conf["runtimeConfig"] = json!({ "portMappings": ports });
        side
    }

    fn add(&self, pod: &Pod) -> Result<Answer> {
        self.plugin
            .add(&self.node, &Attachment::of(pod), &self.conf)
    }

    /// A new pod with these host ports.
    fn pod(&self, name: &str, ports: &Value) -> Result<Attached> {
        let pod = self.node.pod(name)?;
        let side = self.with(ports);
        let result = side
            .add(&pod)?
            .ok()
            .with_context(|| format!("ADD of {name}"))?;
        Ok(Attached { pod, result })
    }

    fn del(&self, pod: &Pod) -> Result<()> {
        let answer = self
            .plugin
            .del(&self.node, &Attachment::of(pod), &self.conf)?;
        answer.ok().map(drop).context("DEL")
    }

    fn check(&self, attached: &Attached) -> Result<Answer> {
        let mut conf = self.conf.clone();
        conf["prevResult"] = attached.result.clone();
        self.plugin
            .check(&self.node, &Attachment::of(&attached.pod), &conf)
    }

    /// What stands in our maps of host ports, one element a line.
    fn elements(&self) -> Result<String> {
        let mut all = String::new();
        for name in ["ports4", "ports6", "ports_at4", "ports_at6"] {
            all.push_str(&self.elements_of("map", name)?);
        }
        for name in ["hairpin4", "hairpin6"] {
            all.push_str(&self.elements_of("set", name)?);
        }
        Ok(all)
    }

    fn elements_of(&self, kind: &str, name: &str) -> Result<String> {
        let text = said(&self.node, &format!("nft list {kind} inet podwire {name}"))?;
        let Some((_, elements)) = text.split_once("elements = {") else {
            return Ok(String::new());
        };
        let elements = elements.split('}').next().unwrap_or_default().split(',');
        Ok(elements
            .map(|element| format!("{name}: {}\n", element.trim()))
            .collect())
    }
}

/// A pod and what its ADD answered.
struct Attached {
    pod: Pod,
    result: Value,
}

impl Attached {
    fn addresses(&self) -> Vec<IpAddr> {
        let ips = self.result["ips"].as_array().into_iter().flatten();
        let ips = ips.filter_map(|ip| ip["address"].as_str()?.split('/').next()?.parse().ok());
        ips.collect()
    }

    fn address(&self, v4: bool) -> Result<IpAddr> {
        let mut all = self.addresses().into_iter();
        all.find(|ip| ip.is_ipv4() == v4)
            .context("an address of that family")
    }
}

/// Both nodes and the world.
struct Scene {
    outside: Node,
    master: Side,
    worker: Side,
    /// Agents, where there are any.
    agents: Vec<Process>,
}

impl Scene {
    fn new(lab: &Lab, kind: Kind) -> Result<Self> {
        let lan = lab.segment("lan")?;
        let start = |name: &str, v4: &str, v6: &str| {
            let node = lab.node(name).uplink(&lan, &[v4, v6]);
            node.gateway("10.128.0.1").gateway("fd00:10:128::1").start()
        };
        let master = start("k8s-master", "10.128.0.2/24", "fd00:10:128::2/64")?;
        let worker = start("k8s-worker", "10.128.0.3/24", "fd00:10:128::3/64")?;
        let mut scene = Self {
            outside: lab.outside(&lan)?,
            master: Side::alone(master, kind, 0)?,
            worker: Side::alone(worker, kind, 1)?,
            agents: Vec::new(),
        };
        match kind {
            Kind::Bridge => scene.routes()?,
            Kind::Routed => scene.agents()?,
        }
        Ok(scene)
    }

    /// What the demo's reader types.
    fn routes(&self) -> Result<()> {
        let route = |side: &Side, to: &str, via: &str| {
            let (to, via) = (to.parse()?, via.parse()?);
            side.node.attempt(|| wire::add_route(to, via))
        };
        route(&self.master, "10.244.1.0/24", "10.128.0.3")?;
        route(&self.worker, "10.244.0.0/24", "10.128.0.2")
    }

    fn agents(&mut self) -> Result<()> {
        for side in [&mut self.master, &mut self.worker] {
            side.node
                .attempt(|| Ok(std::fs::write("/etc/nodes.toml", NODES)?))?;
            let name = side.node.name().to_owned();
            let agent = side
                .node
                .command(programs()?.agent)
                .args(["--nodes", "/etc/nodes.toml", "--node", &name])
                .spawn()?;
            agent.wait_for_line("ready", SOON)?;
            side.conf = side.node.attempt(configured)?;
            self.agents.push(agent);
        }
        Ok(())
    }
}

/// What a runtime makes of the file that an agent wrote: it gives host ports only to who declares to serve them.
fn configured() -> Result<Value> {
    let text = std::fs::read_to_string("/etc/cni/net.d/10-podwire.conflist")?;
    let list: Value = serde_json::from_str(&text)?;
    let mut conf = list["plugins"][0].clone();
    ensure!(conf["capabilities"]["portMappings"] == true, "{text}");
    conf["cniVersion"] = json!("1.1.0");
    conf["name"] = list["name"].clone();
    Ok(conf)
}

/// Output of a program of the machine; the words are separated by spaces.
fn said(place: &Place, words: &str) -> Result<String> {
    let mut words = words.split(' ');
    let program = words.next().context("a program")?;
    let output = place.command(program).args(words).output_within(SOON);
    let output = output.with_context(|| {
        format!("{program}: run `cargo xtask test`, it installs what is needed")
    })?;
    Ok(output.ok()?.stdout)
}

/// Runs `nft` with a script.
fn nft(place: &Place, script: &str) -> Result<()> {
    let command = place.command("nft").args(["-f", "-"]).stdin(script);
    command.output_within(SOON)?.ok().map(drop)
}

/// Answers each datagram with its name, the sender's address and port, and what it was asked, as long as the place lives.
fn echo(place: &Place, port: u16, name: &'static str) -> Result<()> {
    let socket = place.attempt(|| Ok(UdpSocket::bind(("::", port))?))?;
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let question = String::from_utf8_lossy(&buffer[..length]);
            let ip = peer.ip().to_canonical();
            let text = format!("{name} {ip} {} {question}", peer.port());
            // A peer that is gone has its own error to report.
            drop(socket.send_to(text.as_bytes(), peer));
        }
    });
    Ok(())
}

/// One flow of UDP, from one port of one place.
///
/// Its questions are numbered. On a busy machine an answer can come after the question was asked again: then two come, and
/// the second one must not pass for an answer to what is asked later.
struct Talk {
    socket: UdpSocket,
    asked: Cell<u32>,
}

impl Talk {
    fn begin(from: &Place, to: SocketAddr) -> Result<Self> {
        let any: SocketAddr = if to.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0_u16; 8], 0).into()
        };
        from.attempt(|| {
            let socket = UdpSocket::bind(any)?;
            socket.connect(to)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(Self {
                socket,
                asked: Cell::new(0),
            })
        })
    }

    /// What is answered; a question that is lost or refused is asked again.
    fn ask(&self, within: Duration) -> Result<String> {
        let deadline = Instant::now() + within;
        let first = self.asked.get();
        while Instant::now() < deadline {
            let question = self.asked.replace(self.asked.get() + 1).to_string();
            // A refusal of an earlier question is reported by the next call.
            if self.socket.send(question.as_bytes()).is_ok()
                && let Some(answer) = self.answer(first)?
            {
                return Ok(answer);
            }
        }
        anyhow::bail!("no answer over UDP within {within:?}")
    }

    /// The next answer to the question `first` or a later one, if it comes in time.
    fn answer(&self, first: u32) -> Result<Option<String>> {
        let mut buffer = [0; 64];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            let (answer, question) = text.rsplit_once(' ').context("the question's number")?;
            if question.parse::<u32>()? >= first {
                return Ok(Some(answer.to_owned()));
            }
        }
        Ok(None)
    }
}

/// The source that the pod named `name` saw of a question over UDP.
fn udp(from: &Place, to: SocketAddr, name: &str, within: Duration) -> Result<IpAddr> {
    let answer = Talk::begin(from, to)?
        .ask(within)
        .with_context(|| format!("UDP from {} to {to}", from.name()))?;
    let mut words = answer.split(' ');
    let (who, seen) = (words.next(), words.next());
    ensure!(who == Some(name), "{answer}: it is not {name}");
    Ok(seen.context("a source")?.parse()?)
}
