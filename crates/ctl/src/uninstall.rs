//! `podwire uninstall`: takes Podwire off this node, and is the one verb that changes anything.
//!
//! What is to go is decided in `plan::uninstall`; here it is looked at, done and told. Refused while an agent runs, which would
//! put everything back, and while a pod has its network from Podwire. While it works it is in charge of the node itself, so
//! that no agent starts. It ends when a look at the node finds nothing more to do.

mod pods;

use crate::print;
use anyhow::{Context, Result, bail};
use clap::Args;
use host::charge::{self, Charge, Claim};
use host::machine::{Ask, CONFLIST, Machine, Paths};
use host::remains::{self, Places};
use model::change::Change;
use model::remains::Remains;
use model::state::HostState;
use plan::uninstall::Plan;
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Looks at the node: one to close the door, one to do the rest, one to see that it is done, and some for a ruleset that
/// other programs change at the same time.
const LOOKS: usize = 6;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print what would be changed, change nothing, and end
    #[arg(long)]
    dry_run: bool,

    /// Leave the sysctls as they are: another network of this node may rely on them by now
    #[arg(long)]
    keep_sysctls: bool,

    /// Where the node's own files are; in a container a mount of the node's /
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// Folder of Podwire's state, below the root as the others
    #[arg(long, value_name = "DIR", default_value = host::store::ROOT)]
    run_dir: PathBuf,

    /// Folder where the container runtime looks for CNI configuration
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    cni_conf_dir: PathBuf,

    /// Folder where the container runtime looks for CNI plugins
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    plugin_dir: PathBuf,

    /// When it is done, stay until killed: for a DaemonSet, whose pods must not end
    #[arg(long, conflicts_with = "dry_run")]
    stay: bool,
}

pub(crate) fn uninstall(options: &Options) -> Result<ExitCode> {
    let places = places(options);
    let _charge = take_charge(&places.run, options.dry_run)?;
    let mut node = Node::open(places, options)?;
    let outcome = if options.dry_run {
        node.tell()
    } else {
        node.clear()
    };
    if options.stay
        && outcome
            .as_ref()
            .is_ok_and(|done| *done == ExitCode::SUCCESS)
    {
        loop {
            std::thread::park();
        }
    }
    outcome
}

fn places(options: &Options) -> Places {
    let below = |path: &Path| options.root.join(path.strip_prefix("/").unwrap_or(path));
    Places {
        run: below(&options.run_dir),
        conflist: below(&options.cni_conf_dir).join(CONFLIST),
        plugins: below(&options.plugin_dir),
        root: options.root.clone(),
    }
}

/// In charge of the node, as the agent is; a node without a state folder has no agent, and gets no folder.
fn take_charge(run: &Path, only_look: bool) -> Result<Option<Charge>> {
    let hint = "look as root: sudo podwire uninstall";
    if only_look || !run.exists() {
        if charge::is_taken(run).context(hint)? {
            bail!("{}", in_charge(None));
        }
        return Ok(None);
    }
    match charge::take(run).context(hint)? {
        Claim::Ours(charge) => Ok(Some(charge)),
        Claim::Taken(pid) => bail!("{}", in_charge(pid)),
    }
}

fn in_charge(pid: Option<u32>) -> String {
    let pid = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    format!(
        "podwired{pid} runs on this node and would put everything back; nothing was changed. End it first: \
         systemctl disable --now podwired, or on a cluster: kubectl delete -f podwire.yaml"
    )
}

/// What this run has changed, for who is refused on the way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Done {
    Nothing,
    Conflist,
    More,
}

impl Done {
    fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing was changed",
            Self::Conflist => "only the conflist was removed, so no other pod will start by it",
            Self::More => "what is told above was changed; podwired, started again, puts it back",
        }
    }
}

/// What is worked on.
struct Node {
    machine: Machine,
    places: Places,
    keep_sysctls: bool,
    /// What stays, each told once.
    stays: BTreeSet<String>,
}

impl Node {
    fn open(places: Places, options: &Options) -> Result<Self> {
        let paths = Paths {
            sysctls: options.root.join("proc/sys/net"),
            conflist: places.conflist.clone(),
            notes: None,
        };
        Ok(Self {
            machine: Machine::open(paths)?,
            places,
            keep_sysctls: options.keep_sysctls,
            stays: BTreeSet::new(),
        })
    }

    /// What would be done.
    fn tell(&mut self) -> Result<ExitCode> {
        self.refuse_while_pods_live(Done::Nothing.words())?;
        let (_, plan) = self.look()?;
        for change in &plan.changes {
            print(&format!("{change}\n"))?;
        }
        self.end(plan.changes.is_empty())
    }

    /// Does it.
    fn clear(&mut self) -> Result<ExitCode> {
        let mut done = Done::Nothing;
        for _ in 0..LOOKS {
            self.refuse_while_pods_live(done.words())?;
            let (have, plan) = self.look()?;
            if plan.changes.is_empty() {
                return self.end(done == Done::Nothing);
            }
            let conflist = Change::RemoveFile(self.places.conflist.display().to_string());
            let (changes, will_be) = if plan.changes.contains(&conflist) {
                // Nobody starts a pod by it from now on; whoever has begun to is seen by the next look.
                (std::slice::from_ref(&conflist), Done::Conflist)
            } else {
                (plan.changes.as_slice(), Done::More)
            };
            done = done.max(will_be);
            if self.apply(changes, have.generation)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        bail!("other programs change this node's ruleset all the time; run this again")
    }

    fn refuse_while_pods_live(&self, said: &str) -> Result<()> {
        let living = pods::living(&self.places.run, &self.places.root, said)?;
        if living.is_empty() {
            return Ok(());
        }
        bail!("{}", pods::refusal(&living, said))
    }

    fn look(&mut self) -> Result<(HostState, Plan)> {
        let remains: Remains = remains::observe(&self.places)?;
        let have = self.machine.observe(&Ask {
            sysctls: plan::uninstall::sysctls(&remains),
            lookups: Vec::new(),
        })?;
        let plan = plan::uninstall::plan(&have, &remains, self.keep_sysctls);
        self.stays
            .extend(plan.stays.iter().map(ToString::to_string));
        Ok((have, plan))
    }

    /// Makes changes and tells each. Whether one failed for another reason than that the ruleset has changed meanwhile: that
    /// is looked at again. What the rest is known by stays as long as something else does.
    fn apply(&mut self, changes: &[Change], generation: u32) -> Result<bool> {
        let (mut failed, mut stale) = (false, false);
        let (last, rest): (Vec<_>, Vec<_>) = changes
            .iter()
            .cloned()
            .partition(|change| matches!(change, Change::RemoveFolder(_)));
        for part in [rest, last] {
            if failed || stale {
                break;
            }
            let mut told = Ok(());
            self.machine
                .apply_each(&part, generation, |change, outcome| match outcome {
                    Ok(()) if told.is_ok() => told = print(&format!("{change}\n")),
                    Ok(()) => {}
                    Err(error) if error.is_stale() => stale = true,
                    Err(error) => {
                        failed = true;
                        // Where stderr is closed, too, the exit code still tells.
                        drop(writeln!(io::stderr(), "podwire: not done: {error}"));
                    }
                });
            told?;
        }
        Ok(failed)
    }

    fn end(&self, nothing: bool) -> Result<ExitCode> {
        if nothing {
            print("nothing to do\n")?;
        }
        for stays in &self.stays {
            print(&format!("stays: {stays}\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
