//! Somebody who asks over the network: a machine or a pod, by ping, HTTP or UDP.
//!
//! Whoever is asked is upstream's test program, which tells its own name (`hostname`) and whom it sees (`clientip`). curl,
//! ping and bash do the asking, as a user would; a [`Listener`] is that program on a machine.

use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::lan;
use crate::machine::Machine;
use crate::pod::Pod;
use crate::{process, wait};

/// How long an answer is waited for, in seconds: it takes milliseconds, but a busy machine may let curl wait for its turn.
const PATIENCE: &str = "15";
/// Where none is expected.
const IMPATIENCE: &str = "2";
/// curl's codes for that: no connection, and no answer in time. kubectl passes them on.
const NOBODY: [i32; 2] = [7, 28];
const LISTENS_WITHIN: Duration = Duration::from_secs(10);

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub enum Client<'a> {
    /// A machine far away, with an address that only the nodes' default route leads to.
    Outside(&'a Cluster),
    /// A node itself.
    Node(&'a Machine),
    /// A pod.
    Pod(&'a Cluster, &'a Pod),
}

impl Client<'_> {
    /// Its name, for errors.
    pub fn name(&self) -> String {
        match self {
            Self::Outside(_) => "outside".to_owned(),
            Self::Node(machine) => format!("node {}", machine.name()),
            Self::Pod(_, pod) => format!("pod {} on {}", pod.name, pod.node),
        }
    }

    /// What somebody answers to `GET /PATH`.
    ///
    /// # Errors
    /// When nobody answers in time, or not with success.
    pub fn get(&self, to: SocketAddr, path: &str) -> Result<String> {
        self.curl("-sSfg", PATIENCE, to, path)
    }

    /// Nobody answers HTTP there.
    ///
    /// # Errors
    /// When somebody does, with the answer, or curl fails for another reason than that nobody does.
    pub fn gets_nothing(&self, to: SocketAddr) -> Result<()> {
        match self.curl("-sSg", IMPATIENCE, to, "hostname") {
            Ok(name) => bail!("{name} answers {} at {to}", self.name()),
            Err(error) if process::code(&error).is_some_and(|code| NOBODY.contains(&code)) => {
                Ok(())
            }
            Err(error) => Err(error.context(format!("{} asks nobody at {to}", self.name()))),
        }
    }

    /// Whom somebody at this address sees when it is asked by TCP.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub fn seen_as(&self, to: SocketAddr) -> Result<IpAddr> {
        address(&self.get(to, "clientip")?)
    }

    /// The same by UDP; from outside it is the address on the LAN that asks, because bash binds no address.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub fn seen_as_by_udp(&self, to: SocketAddr) -> Result<IpAddr> {
        address(&self.udp(to, "clientip")?)
    }

    /// What somebody answers to a datagram with this word.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub fn udp(&self, to: SocketAddr, word: &str) -> Result<String> {
        let (host, port) = (to.ip().to_string(), to.port().to_string());
        let script = "exec 3<>/dev/udp/$0/$1 && printf %s \"$2\" >&3 && timeout \"$3\" dd bs=2000 count=1 <&3 2>/dev/null";
        self.run(&["bash", "-c", script, &host, &port, word, PATIENCE])
    }

    /// Sends one echo request.
    ///
    /// # Errors
    /// When no answer comes in time.
    pub fn ping(&self, to: IpAddr) -> Result<()> {
        self.run(&["ping", "-c", "1", "-W", PATIENCE, &to.to_string()])
            .map(drop)
    }

    /// Runs a program there.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        match self {
            Self::Outside(cluster) => cluster.outside().run(words),
            Self::Node(machine) => machine.run(words),
            Self::Pod(cluster, pod) => pod.run(cluster, words),
        }
    }

    fn curl(&self, flags: &str, seconds: &str, to: SocketAddr, path: &str) -> Result<String> {
        let mut words = vec!["curl", flags, "-m", seconds];
        let own = self.far_away(to.ip())?;
        if let Some(own) = &own {
            words.extend(["--interface", own]);
        }
        let url = format!("http://{to}/{path}");
        words.push(&url);
        self.run(&words)
    }

    /// The address to bind, where the kernel would choose another.
    fn far_away(&self, to: IpAddr) -> Result<Option<String>> {
        let Self::Outside(cluster) = self else {
            return Ok(None);
        };
        let own = lan::outside(cluster.shape().family)?;
        let fits = own.iter().find(|own| own.is_ipv4() == to.is_ipv4());
        Ok(fits.map(ToString::to_string))
    }
}

/// Upstream's test program in a machine's network, until this is dropped.
#[derive(Debug)]
pub struct Listener(Child);

impl Listener {
    /// Starts it at all the machine's addresses, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start or listen.
    pub fn new(cluster: &Cluster, machine: &Machine, port: u16) -> Result<Self> {
        let mut command = machine.in_network(&cluster.place().program("agnhost")?)?;
        command
            .arg("netexec")
            .arg(format!("--http-port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let listener = Self(command.spawn().context("start agnhost")?);
        let own = SocketAddr::from(([127, 0, 0, 1], port));
        wait::until(LISTENS_WITHIN, "agnhost listens", || {
            Client::Node(machine).get(own, "hostname")
        })?;
        Ok(listener)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // One that has ended by itself needs no signal, and one that is gone no wait.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Of `ADDRESS:PORT`, an IPv6 address in brackets.
fn address(answer: &str) -> Result<IpAddr> {
    let socket: SocketAddr = answer
        .trim()
        .parse()
        .with_context(|| format!("{answer:?} is no client's address"))?;
    Ok(socket.ip().to_canonical())
}
