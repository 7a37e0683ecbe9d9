//! A machine: a set of namespaces that one process holds, its own process 1, with a disk that lasts over boots.
//!
//! Killing process 1 is a power cut: the kernel kills all else in its pid namespace, and the other namespaces go with the
//! last process. So a machine needs no clean-up but its cgroups. The namespaces are made by the program unshare, and entered
//! by nsenter, because a program that is started in them must be a new process. See namespaces(7), pid_namespaces(7).

use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::process::{ended, feed, first_line, run};
use crate::wait::until;
use crate::{Place, cgroup, lan};

/// Hidden verb: starts process 1 apart from the caller.
pub const START: &str = "start";
/// Hidden verb: is process 1.
pub const INIT: &str = "init";

/// The bridge that is the LAN, in the control plane's network namespace.
pub(crate) const BRIDGE: &str = "lan0";
/// A node's end of its cable.
pub(crate) const UPLINK: &str = "eth0";

const ENDS_WITHIN: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};
/// Whoever starts a process 1 has nothing more to do.
const LEAVES_WITHIN: Duration = Duration::from_secs(20);
const GROUPS_GO_WITHIN: Duration = Duration::from_secs(10);
/// Of a log, in an error.
const LAST_LINES: usize = 15;

/// A machine of the running cluster, on or off.
#[derive(Debug, Clone)]
pub struct Machine {
    place: Place,
    name: String,
}

impl Machine {
    pub(crate) fn new(place: &Place, name: &str) -> Self {
        Self {
            place: place.clone(),
            name: name.to_owned(),
        }
    }

    /// Its name, which is its host's name as well.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its files as the machine outside sees them: its disk, its process number, its cgroups.
    pub(crate) fn folder(&self) -> PathBuf {
        self.place.run().join(&self.name)
    }

    /// The log of one of its programs; process 1 has the machine's own name.
    pub(crate) fn log(&self, program: &str) -> PathBuf {
        let name = match program {
            INIT => format!("{}.log", self.name),
            program => format!("{}-{program}.log", self.name),
        };
        self.place.run().join("log").join(name)
    }

    /// Whether its process 1 lives.
    pub fn is_on(&self) -> bool {
        self.pid().is_ok()
    }

    /// Its process 1, as the caller's pid namespace numbers it.
    ///
    /// # Errors
    /// When it is off.
    pub fn pid(&self) -> Result<u32> {
        let off = || format!("{} is off", self.name);
        let number = fs::read_to_string(self.folder().join("pid")).with_context(off)?;
        let number: u32 = number.trim().parse().with_context(off)?;
        // A number from before a restart of this machine may be somebody else's now.
        let arguments = fs::read(format!("/proc/{number}/cmdline")).with_context(off)?;
        let root = self.place.root().display();
        let ours = format!("\0{INIT}\0{}\0{root}\0", self.name);
        ensure!(arguments.ends_with(ours.as_bytes()), off());
        Ok(number)
    }

    /// Switches it on; a node is plugged into the LAN before its process 1 goes on.
    pub(crate) fn start(&self) -> Result<()> {
        let folder = self.folder();
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let log = self.log(INIT);
        let append = File::options().append(true).create(true).open(&log);
        let append = append.with_context(|| format!("open {}", log.display()))?;
        let mut child = Command::new(program()?)
            .args([START, &self.name])
            .arg(self.place.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(append)
            .spawn()
            .context("start a machine")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = stdout.context("hear of a machine's process 1")?;
        let shown = format!("the start of {}", self.name);
        let number = first_line(&mut BufReader::new(stdout), &shown)?;
        ended(&mut child, &shown, LEAVES_WITHIN)?;
        if number.trim().is_empty() {
            bail!("{} does not start:\n{}", self.name, tail(&log));
        }
        let pid = folder.join("pid");
        fs::write(&pid, &number).with_context(|| format!("write {}", pid.display()))?;
        if self.name != lan::CONTROL {
            self.plug_in()?;
        }
        let mut stdin = stdin.context("speak to process 1")?;
        stdin.write_all(b"\n").context("let process 1 go on")
    }

    /// Ends it as a power cut does; one that is off stays so.
    pub(crate) fn kill(&self) -> Result<()> {
        if let Ok(number) = self.pid() {
            let what = || format!("end {}", self.name);
            let pid = Pid::from_raw(number.cast_signed()).with_context(what)?;
            let process = pidfd_open(pid, PidfdFlags::empty()).with_context(what)?;
            pidfd_send_signal(&process, Signal::KILL).with_context(what)?;
            // Process 1 ends after all others of its pid namespace.
            let ended = poll(
                &mut [PollFd::new(&process, PollFlags::IN)],
                Some(&ENDS_WITHIN),
            );
            ensure!(ended.with_context(what)? > 0, "{} does not end", self.name);
        }
        drop(fs::remove_file(self.folder().join("pid")));
        let groups = fs::read_to_string(self.folder().join("cgroups")).unwrap_or_default();
        for group in groups.lines().map(Path::new) {
            until(GROUPS_GO_WITHIN, "a machine's cgroup is removed", || {
                cgroup::remove(group).with_context(|| format!("remove {}", group.display()))
            })?;
            // Other machines may still be below it.
            drop(group.parent().map(fs::remove_dir));
        }
        Ok(())
    }

    /// A program to be run inside, as root, with the cluster's own programs first on PATH.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = self.enter(&["-m", "-n", "-u", "-i", "-p"])?;
        command.arg(program);
        Ok(command)
    }

    /// Runs a program inside to its end, and gives what it wrote to standard output.
    ///
    /// # Errors
    /// When it fails, with all that it said.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        self.feed(words, "")
    }

    /// The same, with something to read on standard input.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn feed(&self, words: &[&str], input: &str) -> Result<String> {
        let (program, arguments) = words.split_first().context("a command has a program")?;
        feed(self.command(program)?.args(arguments), input)
            .with_context(|| format!("on {}", self.name))
    }

    /// The processes of a program, as the machine numbers them; those in containers as well.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn pids_of(&self, program: &str) -> Result<Vec<u32>> {
        let inside = PathBuf::from(format!("/proc/{}/root/proc", self.pid()?));
        let entries = fs::read_dir(&inside)
            .with_context(|| format!("look at the processes of {}", self.name))?;
        let numbers = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            // Processes end at any time.
            .filter(|number| {
                fs::read_link(inside.join(format!("{number}/exe")))
                    .is_ok_and(|file| file.file_name().is_some_and(|name| name == program))
            });
        let mut numbers: Vec<_> = numbers.collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The network namespace of this name, `net:[NUMBER]`, of a process on it.
    ///
    /// # Errors
    /// When no process is in it.
    pub fn network(&self, name: &Path) -> Result<File> {
        let inside = PathBuf::from(format!("/proc/{}/root/proc", self.pid()?));
        let entries = fs::read_dir(&inside)
            .with_context(|| format!("look at the processes of {}", self.name))?;
        let mut doors = entries.filter_map(|entry| Some(entry.ok()?.path().join("ns/net")));
        let door = doors.find(|door| fs::read_link(door).is_ok_and(|target| target == name));
        let door =
            door.with_context(|| format!("no process of {} is in {}", self.name, name.display()))?;
        File::open(&door).with_context(|| format!("open {}", door.display()))
    }

    /// Kills all processes of a program at once, as `kill -9` does.
    ///
    /// # Errors
    /// When there is none.
    pub fn kill_all(&self, program: &str) -> Result<Vec<u32>> {
        let numbers = self.pids_of(program)?;
        ensure!(!numbers.is_empty(), "no {program} runs on {}", self.name);
        let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        let mut words = vec!["kill", "-9"];
        words.extend(texts.iter().map(String::as_str));
        self.run(&words)?;
        Ok(numbers)
    }

    /// A command in its network only, with the caller's files: for the cluster's own programs.
    pub(crate) fn in_network(&self, program: &Path) -> Result<Command> {
        let mut command = self.enter(&["-n"])?;
        command.arg(program);
        Ok(command)
    }

    fn enter(&self, namespaces: &[&str]) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.pid()?.to_string()])
            .args(namespaces)
            .arg("--")
            .env("PATH", self.place.search_path());
        Ok(command)
    }

    /// Lays the cable: a port of the bridge on one side, the node's link on the other.
    fn plug_in(&self) -> Result<()> {
        let control = Self::new(&self.place, lan::CONTROL);
        let (port, number) = (&format!("to-{}", self.name), self.pid()?);
        let ip = Path::new("ip");
        // The port of an earlier life goes with its namespace, but not at once.
        drop(run(control.in_network(ip)?.args(["link", "delete", port])));
        let node = format!("/proc/{number}/ns/net");
        run(control.in_network(ip)?.args([
            "link", "add", port, "master", BRIDGE, "up", "type", "veth", "peer", "name", UPLINK,
            "netns", &node,
        ]))
        .with_context(|| format!("plug {port} into the LAN"))
        .map(drop)
    }
}

/// Hidden verb `start`: makes the namespaces and leaves; what it starts belongs to nobody.
///
/// # Errors
/// When namespaces cannot be made.
pub fn start(place: &Place, name: &str) -> Result<()> {
    // A signal to the caller's terminal is none to the machines.
    rustix::process::setsid().context("begin a session")?;
    let mut unshare = Command::new("unshare");
    unshare
        .args([
            "--net",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child",
        ])
        .arg("--")
        .arg(program()?)
        .args([INIT, name])
        .arg(place.root());
    drop(
        unshare
            .spawn()
            .context("start unshare (package util-linux)")?,
    );
    Ok(())
}

/// The program that this crate builds: ourselves, or beside a test program, which cargo puts one folder below.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the own program")?;
    let folders = own.ancestors().skip(1).take(2);
    let found = folders
        .map(|folder| folder.join("cluster"))
        .find(|file| file.is_file());
    found.with_context(|| {
        format!(
            "there is no program `cluster` near {}; type: cargo xtask cluster test",
            own.display()
        )
    })
}

/// The last lines of a file.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let first = lines.len().saturating_sub(LAST_LINES);
    format!(
        "{} ends with:\n  {}",
        log.display(),
        lines[first..].join("\n  ")
    )
}
