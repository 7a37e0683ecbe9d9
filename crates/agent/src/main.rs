//! `podwired`, the node agent: everything on a node that is not one pod.
//!
//! Cluster from the source, observation from the kernel, `plan` compares, the kernel thread applies, the status file tells.
//! Crash-only: the kernel's state outlives the agent, a start is a look and a difference, and an end tears nothing down.

mod args;
mod control;
mod kernel;
mod listen;
mod metrics;
mod pace;
mod report;
mod source;
mod verdict;
mod vitals;
mod wake;

use anyhow::{Context, Result, bail};
use args::{Args, Listen};
use clap::Parser;
use control::Control;
use host::charge::{self, Charge, Claim};
use host::machine::{CONFLIST, Paths};
use host::program::{self, Taken};
use kernel::{Kernel, Place};
use model::cluster::Cluster;
use model::cni::MARK;
use model::name::NodeName;
use source::{Reading, Source};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{Level, error, info};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use vitals::Vitals;

/// The plugin's program, the name by which the conflist calls it, and one by which a runtime calls it or another's plugin.
const PLUGIN: &str = "podwire-cni";
const CALLED: &str = "podwire";
const LOOPBACK: &str = "loopback";

/// How often the lock is tried: somebody who only asks who is in charge holds it for a moment.
const TRIES: usize = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// How long `--dry-run` waits for the cluster.
const FIRST: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let args = Args::parse();
    start_log(args.verbose);
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let own = args.own()?;
        // A dry run needs no care: any signal may end it where it is.
        let end = if args.dry_run {
            None
        } else {
            Some(End::listen()?)
        };
        let vitals = Arc::new(Vitals::new(&args.run_dir, args.kubernetes));
        let (source, cluster) = match open(args, &own, &vitals) {
            Ok(opened) => opened,
            Err(problems) => return refuse(&problems),
        };
        let Some(end) = end else {
            let cluster = match cluster {
                Some(cluster) => cluster,
                None => first(source).await?,
            };
            return dry_run(args, &own, cluster).await;
        };
        let _charge = take_charge(&args.run_dir).await?;
        if let Some(folder) = &args.install_plugin {
            install_plugin(folder)?;
        }
        let kernel = Kernel::start(place(args, &own))?;
        let network = match &cluster {
            Some(cluster) => cluster.network.clone(),
            None => args.network.clone(),
        };
        let conflist = args.cni_conf_dir.join(CONFLIST);
        if let Listen::At(address) = args.listen {
            listen::listen(address, Arc::clone(&vitals)).await;
        }
        let control = Control::new(
            (source, cluster),
            (&own, network),
            (kernel, args.grace()),
            (&args.run_dir, &conflist),
            vitals,
        )?;
        until_told(control, end).await
    })
}

fn start_log(verbose: bool) {
    let level = if verbose { Level::DEBUG } else { Level::INFO };
    // Only what we say ourselves: the HTTP client's every failure is told once, as a finding.
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false)
        .finish()
        .with(ours)
        .init();
}

/// A wrong file at the start: nothing is touched.
fn refuse(problems: &[String]) -> Result<ExitCode> {
    let mut stderr = std::io::stderr().lock();
    for problem in problems {
        writeln!(stderr, "{problem}")?;
    }
    Ok(ExitCode::FAILURE)
}

/// The source that is asked for. A file tells of the cluster at once; the API server, which may be away, later.
fn open(
    args: &Args,
    own: &NodeName,
    vitals: &Arc<Vitals>,
) -> Result<(Source, Option<Cluster>), Vec<String>> {
    match &args.nodes {
        Some(nodes) => {
            let (source, cluster) = Source::file(nodes, own)?;
            Ok((source, Some(cluster)))
        }
        None => {
            let settings = args.settings(own);
            let source = Source::kube(args.access(), settings, vitals, &args.run_dir);
            Ok((source, None))
        }
    }
}

/// Before the conflist can be there: the runtime must find the program that it names, and containerd a loopback.
fn install_plugin(folder: &Path) -> Result<()> {
    const FAILED: &str = "--install-plugin cannot be done";
    let own = std::env::current_exe().context("find this program's folder")?;
    let plugin = own.with_file_name(PLUGIN);
    let place = folder.join(CALLED);
    if program::put(&plugin, &place).context(FAILED)? {
        info!("the plugin is installed: {}", place.display());
    }
    let place = folder.join(LOOPBACK);
    match program::put_unless_others(&plugin, &place, MARK).context(FAILED)? {
        Taken::New => info!("the loopback is installed: {}", place.display()),
        Taken::Already | Taken::ByAnother => {}
    }
    Ok(())
}

/// The first thing that a source tells of the cluster.
async fn first(mut source: Source) -> Result<Cluster> {
    let told = async {
        loop {
            if let Reading::New(cluster) = source.again()
                && !source.is_remembered()
            {
                return Ok::<_, host::Error>(cluster);
            }
            source.touched().await?;
        }
    };
    if let Ok(told) = tokio::time::timeout(FIRST, told).await {
        return Ok(told?);
    }
    let findings: Vec<String> = source.findings().iter().map(ToString::to_string).collect();
    bail!("{}", findings.join("\n"))
}

async fn dry_run(args: &Args, own: &NodeName, cluster: Cluster) -> Result<ExitCode> {
    let cluster = Arc::new(cluster);
    let mut kernel = Kernel::start(place(args, own))?;
    let have = kernel.observe(&cluster, true).await??;
    let plan = plan::node::plan(&cluster, own, &have);
    let mut stdout = std::io::stdout().lock();
    for change in plan.changes.iter().chain(&plan.conflist) {
        writeln!(stdout, "{}", control::line(change))?;
    }
    if plan.changes.is_empty() && plan.conflist.is_none() {
        writeln!(stdout, "nothing to do")?;
    }
    let mut stderr = std::io::stderr().lock();
    for finding in &plan.findings {
        writeln!(stderr, "wrong: {finding}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn place(args: &Args, own: &NodeName) -> Place {
    Place {
        own: own.clone(),
        paths: Paths {
            sysctls: args.proc_sys_net.clone(),
            conflist: args.cni_conf_dir.join(CONFLIST),
            notes: Some(args.run_dir.clone()),
        },
        run: args.run_dir.clone(),
        grace: args.grace(),
    }
}

async fn take_charge(run: &Path) -> Result<Charge> {
    for _ in 1..TRIES {
        if let Claim::Ours(charge) = charge::take(run)? {
            return Ok(charge);
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    match charge::take(run)? {
        Claim::Ours(charge) => Ok(charge),
        Claim::Taken(pid) => {
            let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
            bail!(
                "another podwired (process {pid}) is in charge of {}; end it first: kill {pid}",
                run.display()
            )
        }
    }
}

/// The signals that end the agent; listened to before anything is done, so that one that comes early ends it as well.
struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl End {
    fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listen to SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listen to SIGINT")?,
        })
    }
}

/// Works until SIGTERM or SIGINT. The node stays as it is.
async fn until_told(control: Control, mut end: End) -> Result<ExitCode> {
    let name = tokio::select! {
        broken = control.run() => return broken.map(|never| match never {}),
        _ = end.terminate.recv() => "SIGTERM",
        _ = end.interrupt.recv() => "SIGINT",
    };
    info!("{name}: ending; the node stays as it is");
    Ok(ExitCode::SUCCESS)
}
