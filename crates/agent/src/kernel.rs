//! The one thread that owns the machine.
//!
//! Netlink and files block, so they have a thread of their own; commands go in and answers come out, one at a time. It
//! decides nothing: what is to be looked at is asked of `plan`, and what is to be done comes as a list of changes.

mod apart;
mod ports;
mod reclaim;

pub(crate) use reclaim::Swept;

use anyhow::{Context, Result, bail};
use host::events::Port;
use host::machine::{Ask, Glance, Machine, Paths};
use host::store::Store;
use host::sysctl::Sysctls;
use host::{Error, Report};
use model::attachment::Mode;
use model::change::Change;
use model::cluster::Cluster;
use model::name::NodeName;
use model::state::{HostState, Lookup};
use plan::node::IPV6_FORWARD;
use reclaim::Reclaimer;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Commands and answers that may wait: each command waits for its answer.
const QUEUE: usize = 1;

/// An answer to another command.
const STRANGE: &str = "the kernel thread answered something else";

/// Whose machine it is, and where things lie on it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The node.
    pub(crate) own: NodeName,
    /// The writable sysctls and the conflist.
    pub(crate) paths: Paths,
    /// The state of all networks.
    pub(crate) run: PathBuf,
    /// How long a pod must have been dead before what it has left is reclaimed.
    pub(crate) grace: Duration,
}

/// The near end of the thread.
pub(crate) struct Kernel {
    commands: Sender<Command>,
    answers: Receiver<Answer>,
    ports: [Port; 2],
}

enum Command {
    /// The second says whether the ways to the nodes are all to be asked for anew.
    Observe(Arc<Cluster>, bool),
    Glance(Vec<IpAddr>),
    Apply(Vec<Change>, u32),
    Sweep,
}

enum Answer {
    Observed(Box<Result<HostState, Error>>),
    Glanced(Result<Glance, Error>),
    Applied(Report),
    Swept(Box<Result<Swept, Error>>),
}

impl Kernel {
    /// Starts the thread, in the namespaces of this one.
    pub(crate) fn start(place: Place) -> Result<Self> {
        let mut owner = Owner::open(place)?;
        let ports = owner.machine.ports()?;
        let (commands, orders) = channel(QUEUE);
        let (reports, answers) = channel(QUEUE);
        std::thread::Builder::new()
            .name("kernel".into())
            .spawn(move || owner.serve(orders, &reports))
            .context("start the kernel thread")?;
        Ok(Self {
            commands,
            answers,
            ports,
        })
    }

    /// Through which changes are made: events of these are our own doing.
    pub(crate) fn ports(&self) -> [Port; 2] {
        self.ports
    }

    /// Everything on the node that `plan` compares with the cluster. The ways to the nodes' addresses are one question each:
    /// unless they are to be `fresh`, those that are known stay.
    pub(crate) async fn observe(
        &mut self,
        cluster: &Arc<Cluster>,
        fresh: bool,
    ) -> Result<Result<HostState, Error>> {
        let command = Command::Observe(Arc::clone(cluster), fresh);
        match self.ask(command).await? {
            Answer::Observed(state) => Ok(*state),
            Answer::Glanced(_) | Answer::Applied(_) | Answer::Swept(_) => bail!(STRANGE),
        }
    }

    /// How the kernel would reach these addresses, and what the runtime is told.
    pub(crate) async fn glance(&mut self, to: Vec<IpAddr>) -> Result<Result<Glance, Error>> {
        match self.ask(Command::Glance(to)).await? {
            Answer::Glanced(glance) => Ok(glance),
            Answer::Observed(_) | Answer::Applied(_) | Answer::Swept(_) => bail!(STRANGE),
        }
    }

    /// Makes changes, on the ruleset of this generation.
    pub(crate) async fn apply(&mut self, changes: Vec<Change>, generation: u32) -> Result<Report> {
        match self.ask(Command::Apply(changes, generation)).await? {
            Answer::Applied(report) => Ok(report),
            Answer::Observed(_) | Answer::Glanced(_) | Answer::Swept(_) => bail!(STRANGE),
        }
    }

    /// Looks for what dead pods have left, and reclaims what is due.
    pub(crate) async fn sweep(&mut self) -> Result<Result<Swept, Error>> {
        match self.ask(Command::Sweep).await? {
            Answer::Swept(swept) => Ok(*swept),
            Answer::Observed(_) | Answer::Glanced(_) | Answer::Applied(_) => bail!(STRANGE),
        }
    }

    async fn ask(&mut self, command: Command) -> Result<Answer> {
        const GONE: &str = "the kernel thread has ended";
        self.commands.send(command).await.ok().context(GONE)?;
        self.answers.recv().await.context(GONE)
    }
}

/// The far end.
struct Owner {
    own: NodeName,
    machine: Machine,
    sysctls: Sysctls,
    run: PathBuf,
    reclaimer: Reclaimer,
    /// How the kernel reached the nodes' addresses when it was asked.
    ways: BTreeMap<IpAddr, Lookup>,
}

impl Owner {
    fn open(place: Place) -> Result<Self, Error> {
        Ok(Self {
            sysctls: Sysctls::below(&place.paths.sysctls),
            machine: Machine::open(place.paths)?,
            own: place.own,
            run: place.run,
            reclaimer: Reclaimer::new(place.grace),
            ways: BTreeMap::new(),
        })
    }

    fn serve(mut self, mut orders: Receiver<Command>, reports: &Sender<Answer>) {
        while let Some(command) = orders.blocking_recv() {
            let answer = match command {
                Command::Observe(cluster, fresh) => {
                    Answer::Observed(Box::new(self.observe(&cluster, fresh)))
                }
                Command::Glance(to) => Answer::Glanced(self.glance(&to)),
                Command::Apply(changes, generation) => {
                    let (machine, run) = (&mut self.machine, &self.run);
                    Answer::Applied(ports::apply(machine, run, changes, generation))
                }
                Command::Sweep => Answer::Swept(Box::new(self.reclaimer.sweep(&self.run))),
            };
            if reports.blocking_send(answer).is_err() {
                return;
            }
        }
    }

    /// The look that follows need not ask for the same ways.
    fn glance(&mut self, to: &[IpAddr]) -> Result<Glance, Error> {
        let glance = self.machine.glance(to)?;
        self.ways.extend(glance.ways.clone());
        Ok(glance)
    }

    fn observe(&mut self, cluster: &Cluster, fresh: bool) -> Result<HostState, Error> {
        let mut known = std::mem::take(&mut self.ways);
        if fresh {
            known.clear();
        }
        let (kept, lookups): (Vec<_>, Vec<_>) = plan::node::lookups(cluster, &self.own)
            .into_iter()
            .partition(|ip| known.contains_key(ip));
        let mut have = self.machine.observe(&Ask {
            sysctls: Vec::new(),
            lookups,
        })?;
        have.lookups
            .extend(kept.iter().filter_map(|ip| known.remove_entry(ip)));
        self.ways.clone_from(&have.lookups);
        if self.sysctls.read(IPV6_FORWARD)?.as_deref() == Some("0") {
            have.advertised = self.machine.advertised()?;
        }
        for key in plan::node::sysctls(cluster, &self.own, &have) {
            if let Some(value) = self.sysctls.read(&key)? {
                have.sysctls.insert(key, value);
            }
        }
        self.observe_pods(cluster, &mut have)?;
        Ok(have)
    }

    /// All networks', not only the cluster's: a range is not given up while anybody's pod lives in it.
    fn observe_pods(&self, cluster: &Cluster, have: &mut HostState) -> Result<(), Error> {
        for store in Store::all(&self.run)? {
            for name in store.attachments()? {
                let Some(attachment) = store.peek(&name)? else {
                    continue;
                };
                let ranges = || attachment.addresses.iter().map(|address| address.range);
                // What another plugin asked for, or a bridge of somebody's own, is none of the cluster's.
                if attachment.is_of_the_node() {
                    have.inhabited.extend(ranges());
                    if *store.network() == cluster.network {
                        have.peopled.extend(ranges());
                    }
                }
                if let Mode::Bridge(bridge) | Mode::Chained(bridge) = &attachment.mode
                    && have.links.get(bridge).is_some_and(|link| link.bridge)
                {
                    have.bridges.insert(bridge.clone());
                    if attachment.bridged.is_some() {
                        have.shared.extend(ranges().map(|range| range.net()));
                    }
                }
                if attachment.has_elements() {
                    let settled = ports::settled(&store, &name, attachment, have.table.as_ref())?;
                    have.publishing.extend(settled);
                }
            }
        }
        Ok(())
    }
}
