//! A node's files: the machine's programs read-only, everything else its own, under its usual names.
//!
//! So hostPath volumes, `/etc/cni/net.d`, `/opt/cni/bin` and `/var/lib/kubelet` are where everybody expects them, and are
//! each node's own. The disk lasts over boots; `/run`, the boot id and all mounts are new at each. See mount(2),
//! pivot_root(2), and the kernel's overlayfs document.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};
use rustix::process::pivot_root;

use crate::Place;
use crate::cgroup::Cgroups;
use crate::machine::Machine;

/// What programs expect to be there, and what the mounts below go on.
const FOLDERS: [&str; 17] = [
    "dev",
    "etc",
    "opt/cni/bin",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var/lib/cni",
    "var/lib/containerd",
    "var/lib/kubelet",
    "var/log/containers",
    "var/log/pods",
    "var/tmp",
    "mnt",
];
/// Links into /usr, where the machine has them so.
const LINKS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Read by everybody; bound over by the node's own.
pub(super) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The source of the bind, which containers get as well.
pub(super) const OWN_BOOT_ID: &str = "/run/boot_id";

/// Sysctls of the whole machine that kubelet writes; a node gets files in their place.
const MACHINE_WIDE: [&str; 6] = [
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Makes the node's root and moves there.
pub(super) fn enter(place: &Place, machine: &Machine, cgroups: &Cgroups) -> Result<()> {
    let folder = machine.folder();
    let root = folder.join("root");
    for name in FOLDERS {
        fs::create_dir_all(root.join(name)).with_context(|| format!("make {name} of the node"))?;
    }
    for name in LINKS {
        if let Ok(target) = fs::read_link(Path::new("/").join(name)) {
            drop(fs::remove_file(root.join(name)));
            symlink(target, root.join(name)).with_context(|| format!("link {name}"))?;
        }
    }
    drop(symlink("/run", root.join("var/run")));
    // What is to become a root must be a mount.
    bind(&root, &root)?;
    bind(Path::new("/usr"), &root.join("usr"))?;
    mount_remount(root.join("usr"), MountFlags::BIND | MountFlags::RDONLY, "")
        .context("make /usr read-only")?;
    mount_bind_recursive("/dev", root.join("dev")).context("mount /dev")?;
    for (kind, target) in [
        ("tmpfs", "dev/shm"),
        ("tmpfs", "run"),
        ("proc", "proc"),
        ("sysfs", "sys"),
    ] {
        mount(kind, root.join(target), kind, MountFlags::empty(), None)
            .with_context(|| format!("mount {kind} on /{target}"))?;
    }
    overlay_etc(&folder, &root)?;
    cgroups.mount(&root.join("sys/fs/cgroup"))?;
    // Not every kernel has it, and only few pods want it.
    let _ = mount(
        "bpf",
        root.join("sys/fs/bpf"),
        "bpf",
        MountFlags::empty(),
        None,
    );
    for shared in [
        place.bin(),
        place.images(),
        place.run().join("keys"),
        place.run().join("log"),
    ] {
        let target = root.join(shared.strip_prefix("/").unwrap_or(&shared));
        fs::create_dir_all(&target).with_context(|| format!("make {}", target.display()))?;
        bind(&shared, &target)?;
    }
    pivot(&root)
}

/// What is new at each boot, once inside.
pub(super) fn boot() -> Result<()> {
    for folder in ["/run/netns", "/run/lock", "/run/sysctl"] {
        fs::create_dir_all(folder).with_context(|| format!("make {folder}"))?;
    }
    let uuid = "/proc/sys/kernel/random/uuid";
    let boot_id = fs::read_to_string(uuid).with_context(|| format!("read {uuid}"))?;
    fs::write(OWN_BOOT_ID, boot_id).with_context(|| format!("write {OWN_BOOT_ID}"))?;
    bind(Path::new(OWN_BOOT_ID), Path::new(BOOT_ID))?;
    for key in MACHINE_WIDE {
        let (real, own) = (
            format!("/proc/sys/{key}"),
            format!("/run/sysctl/{}", key.replace('/', ".")),
        );
        fs::copy(&real, &own).with_context(|| format!("copy {real}"))?;
        bind(Path::new(&own), Path::new(&real))?;
    }
    Ok(())
}

fn overlay_etc(folder: &Path, root: &Path) -> Result<()> {
    let (upper, work) = (folder.join("etc/upper"), folder.join("etc/work"));
    for folder in [&upper, &work] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let options = CString::new(format!(
        "lowerdir=/etc,upperdir={},workdir={}",
        upper.display(),
        work.display()
    ))?;
    mount(
        "etc",
        root.join("etc"),
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .context("mount an overlay on /etc")
}

fn pivot(root: &Path) -> Result<()> {
    std::env::set_current_dir(root).context("go to the node's root")?;
    fs::create_dir_all(".old").context("make the old root's place")?;
    pivot_root(".", ".old").context("change the root")?;
    std::env::set_current_dir("/").context("go to the node's root")?;
    unmount("/.old", UnmountFlags::DETACH).context("leave the old root")?;
    fs::remove_dir("/.old").context("remove the old root's place")?;
    // Mounts of kubelet and containerd must reach pods, and those of some pods the node.
    mount_change(
        "/",
        MountPropagationFlags::SHARED | MountPropagationFlags::REC,
    )
    .context("share the node's mounts")
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    mount_bind(source, target)
        .with_context(|| format!("mount {} on {}", source.display(), target.display()))
}
