//! The running cluster: what a test, the demo and the benchmark hold in their hands.
//!
//! There is at most one in a place, and at most one process that may change it: that one holds the lock. How it comes up
//! is told in `up`. kubectl runs in the control plane's network, where the API server is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::Value;

use crate::keys::{ADMIN, Keys};
use crate::machine::Machine;
use crate::node::Node;
use crate::process::{feed, run};
use crate::{Place, Shape, lan, network, up, wait};

/// A cluster that is up, as far as its tests have left it so.
#[derive(Debug)]
pub struct Cluster {
    place: Place,
    shape: Shape,
    /// Nobody else changes it while this is open.
    _lock: Option<File>,
}

impl Cluster {
    /// A cluster of this shape, with all nodes on: the running one, or a new one in its place.
    ///
    /// # Errors
    /// When another process holds it, something is missing, or a node does not become Ready; with what is known of it.
    pub fn with(shape: &Shape) -> Result<Self> {
        Self::at(&Place::find()?, shape)
    }

    /// The same, in this place.
    ///
    /// # Errors
    /// As [`Cluster::with`].
    pub fn at(place: &Place, shape: &Shape) -> Result<Self> {
        let lock = lock(place)?;
        up::up(place, *shape)?;
        Ok(Self {
            place: place.clone(),
            shape: *shape,
            _lock: Some(lock),
        })
    }

    /// The running cluster, only to look at; somebody else may be changing it.
    ///
    /// # Errors
    /// When none is up.
    pub fn running(place: &Place) -> Result<Self> {
        be_root()?;
        let cluster = Self {
            place: place.clone(),
            shape: shape(place)?,
            _lock: None,
        };
        ensure!(cluster.outside().is_on(), NOT_UP);
        Ok(cluster)
    }

    /// For `up`, which holds the lock.
    pub(crate) fn begun(place: &Place, shape: Shape) -> Self {
        Self {
            place: place.clone(),
            shape,
            _lock: None,
        }
    }

    /// Ends the cluster of a place; nothing of it stays but programs and images.
    ///
    /// # Errors
    /// When another process holds it, or something cannot be removed.
    pub fn down(place: &Place) -> Result<()> {
        let _lock = lock(place)?;
        up::down(place)
    }

    /// From here on it is not what an `up` would make, and the next one makes a new one; but see [`Cluster::mark_restored`].
    pub(crate) fn mark_changed(&self) -> Result<()> {
        up::unmark(&self.place)
    }

    /// All that was changed has been put back.
    pub(crate) fn mark_restored(&self) -> Result<()> {
        up::mark(&self.place)
    }

    /// What it is like.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its nodes, also those that are off.
    pub fn nodes(&self) -> Vec<Node<'_>> {
        names(&self.place, &self.shape)
            .iter()
            .map(|name| Node::new(self, name))
            .collect()
    }

    /// A node by its name.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node(&self, name: &str) -> Result<Node<'_>> {
        let names = names(&self.place, &self.shape);
        ensure!(
            names.iter().any(|known| known == name),
            "there is no node {name:?}, only {}",
            names.join(", ")
        );
        Ok(Node::new(self, name))
    }

    /// Adds a node, `worker` and a number, and waits until it is Ready. With pod ranges it gets these, as a cloud's
    /// controller would give them; without, the controller manager's next.
    ///
    /// # Errors
    /// When there is such a node already, or it is not Ready in time.
    pub fn add_node(&self, name: &str, ranges: &[String]) -> Result<()> {
        let mut names = names(&self.place, &self.shape);
        ensure!(
            !names.iter().any(|known| known == name),
            "there is a node {name:?} already"
        );
        names.push(name.to_owned());
        note(&self.place, &names)?;
        up::add(self, name, ranges)
    }

    /// Removes a node as its owner does who has destroyed the machine: no drain, no disk left, then its object. Its pods
    /// stay in the API until the controllers find out.
    ///
    /// # Errors
    /// When there is no such node, or something of it cannot be removed.
    pub fn remove_node(&self, name: &str) -> Result<()> {
        up::remove(self, name)?;
        let mut names = names(&self.place, &self.shape);
        names.retain(|known| known != name);
        note(&self.place, &names)
    }

    /// Replaces the authority and every key and certificate of the cluster, those included that sign the tokens of service
    /// accounts: what was signed or issued before is worth nothing any more. The cluster's own daemons start anew with the
    /// new ones; pods are left to themselves.
    ///
    /// # Errors
    /// When a key cannot be made, or a daemon does not come back.
    pub fn replace_keys(&self) -> Result<()> {
        up::rekey(self)
    }

    /// Podwire's manifest as it is applied here: deploy/podwire.yaml with the lines that a user changes.
    ///
    /// # Errors
    /// When it has no such lines.
    pub fn manifest(&self) -> Result<String> {
        network::manifest(self)
    }

    /// A machine on the LAN that is no node: the control plane's.
    pub fn outside(&self) -> Machine {
        Machine::new(&self.place, lan::CONTROL)
    }

    /// kubectl as the administrator, to be given arguments.
    ///
    /// # Errors
    /// When the control plane is off.
    pub fn kubectl_command(&self) -> Result<Command> {
        let mut command = self.outside().in_network(&self.place.program("kubectl")?)?;
        command.arg("--kubeconfig").arg(self.kubeconfig());
        Ok(command)
    }

    /// The administrator's.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        Keys::of(&self.place).kubeconfig(ADMIN)
    }

    /// Runs kubectl, and gives what it wrote.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run(self.kubectl_command()?.args(arguments))
    }

    /// `kubectl apply` of these objects.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        let mut command = self.kubectl_command()?;
        feed(command.args(["apply", "-f", "-"]), yaml).map(drop)
    }

    /// `kubectl delete` of these objects; waits until they are gone.
    ///
    /// # Errors
    /// When one is not there or does not go, with what kubectl said.
    pub fn delete(&self, yaml: &str) -> Result<()> {
        let mut command = self.kubectl_command()?;
        feed(command.args(["delete", "--timeout=120s", "-f", "-"]), yaml).map(drop)
    }

    /// `kubectl get` of these, as JSON.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut words = vec!["get", "-o", "json"];
        words.extend(arguments);
        let text = self.kubectl(&words)?;
        serde_json::from_str(&text).context("kubectl get: no JSON")
    }

    /// Waits until the question gives no error.
    ///
    /// # Errors
    /// Past the deadline, with the last answer and what is known of the cluster.
    pub fn until<T>(
        &self,
        within: Duration,
        what: &str,
        question: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        wait::until(within, what, question)
            .map_err(|error| anyhow!("{error:#}\n{}", self.explain()))
    }

    /// What is not as it should be, and the last words of those who may know why.
    pub fn explain(&self) -> String {
        let mut text = format!("the cluster, {}:\n", self.shape);
        let questions: [&[&str]; 4] = [
            &["get", "nodes", "-o", "wide"],
            &["get", "pods", "-A", "-o", "wide"],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
            &[
                "-n",
                "kube-system",
                "logs",
                "-l",
                "app.kubernetes.io/name=podwire",
                "--prefix",
            ],
        ];
        for question in questions {
            let mut words = vec!["--request-timeout=5s"];
            words.extend(question);
            let answer = self
                .kubectl(&words)
                .unwrap_or_else(|error| format!("{error:#}"));
            let lines: Vec<_> = answer.lines().collect();
            let first = lines.len().saturating_sub(EXPLAINED_LINES);
            text.push_str(&format!("$ kubectl {}\n", question.join(" ")));
            text.push_str(&lines[first..].join("\n"));
            text.push('\n');
        }
        text.push_str(&format!(
            "logs: {}; to look around: cargo xtask cluster k ..., cargo xtask cluster inside NODE ...",
            self.place.run().join("log").display()
        ));
        text
    }
}

const NOT_UP: &str = "no cluster is up; type: cargo xtask cluster up";
const EXPLAINED_LINES: usize = 30;

/// The shape of the cluster in a place, also while it comes up.
pub(crate) fn shape(place: &Place) -> Result<Shape> {
    let text = fs::read_to_string(place.run().join("shape")).context(NOT_UP)?;
    Shape::parse(text.split_whitespace())
}

/// The nodes of the cluster in a place: those of its shape, until one is added or removed.
pub(crate) fn names(place: &Place, shape: &Shape) -> Vec<String> {
    match fs::read_to_string(place.run().join("nodes")) {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(_) => shape.names(),
    }
}

/// Remembers the nodes.
fn note(place: &Place, names: &[String]) -> Result<()> {
    fs::write(place.run().join("nodes"), names.join("\n")).context("note the nodes")
}

fn be_root() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "the cluster's machines are namespaces with mounts and cgroups, which only root can make and enter; \
         type: sudo -E env PATH=\"$PATH\" cargo xtask cluster ..."
    );
    Ok(())
}

fn lock(place: &Place) -> Result<File> {
    be_root()?;
    let root = place.root();
    fs::create_dir_all(root).with_context(|| format!("make {}", root.display()))?;
    let path: &Path = &root.join("lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => bail!(
            "another process works with the cluster in {}; wait for its end, or set {} to another folder",
            root.display(),
            crate::place::VARIABLE
        ),
        Err(errno) => Err(errno).with_context(|| format!("lock {}", path.display())),
    }
}
