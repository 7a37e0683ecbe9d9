//! A laboratory for pod networks: machines and pods made of kernel namespaces, in one process.
//!
//! A [`Lab`] holds LAN segments, nodes, pods and an outside host, and runs real programs in them.
//! Everything lives in namespaces of its own and ends with the [`Lab`]; the machine's interfaces,
//! routes, rules and files are never touched. It needs root, or a user namespace in which it is
//! root. It knows nothing of the network under test: no crate of it is used here.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let lab = lab::Lab::new()?;
//! let lan = lab.segment("lan")?;
//! let master = lab
//!     .node("k8s-master")
//!     .uplink(&lan, &["10.128.0.2/24", "fd00:10:128::2/64"])
//!     .gateway("10.128.0.1")
//!     .start()?;
//! let pod = master.pod("a")?;
//! # Ok(()) }
//! ```

mod book;
mod capture;
mod container;
mod disk;
pub mod firewall;
pub mod flow;
mod namespace;
mod netlink;
mod nftables;
mod node;
mod place;
pub mod plugin;
mod pod;
pub mod probe;
mod process;
mod programs;
mod segment;
pub mod stream;
pub mod walk;
pub mod watch;
pub mod wire;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

pub use container::Container;
pub use node::{Node, NodeBuilder};
pub use place::Place;
pub use pod::Pod;
pub use process::{Command, Mark, Output, Process};
pub use programs::{Programs, programs};
pub use segment::Segment;

use book::Book;

/// What to type when namespaces cannot be made.
pub(crate) const HOW_TO_BE_ROOT: &str =
    "run `cargo xtask test`, or put `unshare -Urnm` before the command";

/// When this is set, a failed laboratory stays up until a line comes from standard input.
const KEEP: &str = "PODWIRE_LAB_KEEP";

/// The router's and outside host's addresses on the LAN segment.
const OUTSIDE_UPLINK: [&str; 2] = ["10.128.0.1/24", "fd00:10:128::1/64"];
/// The addresses that stand for the rest of the world.
const OUTSIDE_ADDRESSES: [&str; 2] = ["108.177.121.113/32", "2001:db8:108::113/128"];

/// Owner of segments, nodes, pods and processes: all of them end when it is dropped.
#[derive(Debug)]
pub struct Lab {
    book: Arc<Book>,
}

impl Lab {
    /// An empty laboratory.
    ///
    /// # Errors
    /// When the caller is not root in its user namespace, or may not make namespaces.
    pub fn new() -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "the laboratory makes network namespaces and needs root: {HOW_TO_BE_ROOT}"
        );
        namespace::apart("permission", namespace::new_network)?
            .context("the laboratory needs network namespaces")?;
        Ok(Self {
            book: Arc::new(Book::default()),
        })
    }

    /// A LAN: an Ethernet switch that nodes are plugged into.
    pub fn segment(&self, name: &str) -> Result<Segment> {
        Segment::new(&self.book, name)
    }

    /// Describes a machine; [`NodeBuilder::start`] switches it on.
    pub fn node(&self, name: &str) -> NodeBuilder {
        NodeBuilder::new(&self.book, name)
    }

    /// The gateway of the segment and, behind it, the rest of the world in one machine.
    ///
    /// It is 10.128.0.1 and fd00:10:128::1 on the segment and owns 108.177.121.113 and
    /// 2001:db8:108::113. It has no route to any pod: what comes with a pod's address gets no answer.
    pub fn outside(&self, segment: &Segment) -> Result<Node> {
        self.node("outside")
            .uplink(segment, &OUTSIDE_UPLINK)
            .addresses(&OUTSIDE_ADDRESSES)
            .forwarding()
            .start()
    }

    /// A network namespace that somebody else made and keeps: work and programs go there as to any place.
    pub fn guest(&self, name: &str, network: impl Into<OwnedFd>) -> Arc<Place> {
        let doors = place::Doors {
            network: Arc::new(network.into()),
            mounts: None,
        };
        Place::new(&self.book, name, doors)
    }

    /// Ends everything now, for whoever cannot wait until it is dropped.
    ///
    /// Work that is going on in it gets an error, and a process that such work starts is killed at once.
    pub fn close(&self) {
        self.book.close();
    }

    /// How to enter each place by hand, and what every process has said.
    pub fn explain(&self) -> String {
        self.book.explain()
    }

    /// Runs one scenario in a laboratory of its own; a failure is explained on standard error.
    pub fn scenario(work: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let lab = Self::new()?;
        let outcome = work(&lab);
        if let Err(error) = &outcome {
            lab.report_failure(&format!("{error:#}"));
        }
        outcome
    }

    fn report_failure(&self, what: &str) {
        let mut stderr = std::io::stderr().lock();
        // Standard error may be closed; the failure itself is reported by the caller all the same.
        drop(writeln!(
            stderr,
            "the laboratory failed: {what}\n{}",
            self.explain()
        ));
        if std::env::var_os(KEEP).is_some() {
            drop(writeln!(
                stderr,
                "{KEEP} is set: everything stays until you press Enter"
            ));
            drop(std::io::stdin().read_line(&mut String::new()));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.report_failure("a panic");
        }
        self.book.close();
    }
}
