//! A program in a container on a node, as a container runtime starts it.
//!
//! A root of its own that cannot be written, folders of the node at the places where somebody wants them, `/proc/sys`
//! read-only, few capabilities, and none to be gained. The network is the node's. See mount_namespaces(7), capabilities(7).

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive, mount_remount};
use rustix::process::{chdir, chroot};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set, set_no_new_privs};

use crate::{Command, Node, namespace};

/// Where its root is put together, in a mount namespace that only it has.
const ROOT: &str = "/run/container";

/// What a mount of the machine's may have locked in a user namespace, and what a runtime gives anyway.
const LOCKED: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// Describes a container.
#[derive(Debug, Clone)]
pub struct Container {
    programs: Vec<PathBuf>,
    folders: Vec<Folder>,
    capabilities: CapabilitySet,
}

#[derive(Debug, Clone)]
struct Folder {
    of_node: PathBuf,
    inside: PathBuf,
    read_only: bool,
}

impl Default for Container {
    fn default() -> Self {
        Self {
            programs: Vec::new(),
            folders: Vec::new(),
            capabilities: CapabilitySet::empty(),
        }
    }
}

impl Container {
    /// Puts a program into its root.
    #[must_use]
    pub fn program(mut self, path: &Path) -> Self {
        self.programs.push(path.to_owned());
        self
    }

    /// Mounts a folder of the node.
    #[must_use]
    pub fn folder(mut self, of_node: &str, inside: &str, read_only: bool) -> Self {
        self.folders.push(Folder {
            of_node: of_node.into(),
            inside: inside.into(),
            read_only,
        });
        self
    }

    /// Leaves it a capability, by its name without `CAP_`.
    pub fn capability(mut self, name: &str) -> Result<Self> {
        let flag = CapabilitySet::from_name(name);
        self.capabilities |= flag.with_context(|| format!("there is no capability {name:?}"))?;
        Ok(self)
    }

    /// The mask of its capabilities, as `/proc/<pid>/status` shows it.
    pub fn capability_mask(&self) -> u64 {
        self.capabilities.bits()
    }

    /// Prepares one of its programs to run.
    pub fn command<'n>(&self, node: &'n Node, program: impl AsRef<OsStr>) -> Command<'n> {
        node.command(program).inside(self.clone())
    }

    /// Moves the calling thread into it, for good.
    pub(crate) fn enter(&self) -> Result<()> {
        // What keeps the namespace is the process that is about to start.
        drop(namespace::new_mounts()?);
        fs::create_dir_all(ROOT).with_context(|| format!("make {ROOT}"))?;
        mount("tmpfs", ROOT, "tmpfs", MountFlags::empty(), c"mode=0755")
            .context("mount the container's root")?;
        for program in &self.programs {
            put(program)?;
        }
        proc()?;
        null()?;
        for folder in &self.folders {
            folder.mount()?;
        }
        mount_remount(ROOT, MountFlags::RDONLY, "")
            .context("make the container's root read-only")?;
        chroot(ROOT).context("enter the container's root")?;
        chdir("/").context("enter the container's root")?;
        for (name, capability) in CapabilitySet::all().iter_names() {
            if !self.capabilities.contains(capability) {
                remove_capability_from_bounding_set(capability)
                    .with_context(|| format!("give up capability {name}"))?;
            }
        }
        set_no_new_privs(true).context("give up gaining privileges")
    }
}

impl Folder {
    fn mount(&self) -> Result<()> {
        let (from, to) = (&self.of_node, below_root(&self.inside));
        let context = || format!("mount {} in the container", from.display());
        fs::create_dir_all(&to).with_context(context)?;
        mount_bind_recursive(from, &to).with_context(context)?;
        if self.read_only {
            let flags = MountFlags::BIND | MountFlags::RDONLY | LOCKED;
            mount_remount(&to, flags, "").with_context(context)?;
        }
        Ok(())
    }
}

fn below_root(path: &Path) -> PathBuf {
    Path::new(ROOT).join(path.strip_prefix("/").unwrap_or(path))
}

fn put(program: &Path) -> Result<()> {
    let name = program.file_name().context("a program's name")?;
    mount_file(program, &Path::new(ROOT).join(name))
}

/// Mounts a file. Its place is made without being opened: a child that another thread has just started would hold it open for
/// a moment, and what is open for writing keeps the root from becoming read-only.
fn mount_file(file: &Path, place: &Path) -> Result<()> {
    let mode = Mode::from_raw_mode(0o644);
    mknodat(CWD, place, FileType::RegularFile, mode, 0)
        .with_context(|| format!("make {}", place.display()))?;
    mount_bind(file, place).with_context(|| format!("mount {} in the container", file.display()))
}

/// `/proc`, with `/proc/sys` read-only.
fn proc() -> Result<()> {
    let proc = below_root(Path::new("/proc"));
    let sys = proc.join("sys");
    fs::create_dir_all(&proc).context("make the container's /proc")?;
    mount_bind_recursive("/proc", &proc).context("mount the container's /proc")?;
    // With what is mounted below, such as the node's own boot id.
    mount_bind_recursive(&sys, &sys).context("mount the container's /proc/sys")?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | LOCKED;
    mount_remount(&sys, flags, "").context("make the container's /proc/sys read-only")
}

/// Of the devices the one that every program is started with.
fn null() -> Result<()> {
    fs::create_dir_all(below_root(Path::new("/dev"))).context("make the container's /dev")?;
    let null = Path::new("/dev/null");
    mount_file(null, &below_root(null))
}
