//! A node's files: its own `/run`, `/etc` and `/var`, over those of the machine.
//!
//! `/etc` and `/var` last over a reboot and show the machine's content until the node writes; `/run`
//! is new at each boot, and so is the boot id. All functions act on the mount namespace of the
//! calling thread, which must be private. See mount(2) and the kernel's overlayfs document.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, unmount};

/// First, `/run` carries the node's disk; each boot mounts the real `/run` over it.
const DISK: &str = "/run";
const RUN: &str = "/run";
const SYS: &str = "/sys";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const UUID: &str = "/proc/sys/kernel/random/uuid";

/// What a node writes below `/etc` and `/var`, and must be able to.
const DIRECTORIES: [&str; 3] = ["/etc/cni", "/var/log", "/var/lib/cni"];

/// Gives the calling thread's mount namespace a disk of its own.
pub(crate) fn install() -> Result<()> {
    tmpfs(DISK)?;
    for directory in ["/etc", "/var"] {
        if overlay(directory).is_err() {
            patchwork(directory)
                .with_context(|| format!("give the node a {directory} of its own"))?;
        }
    }
    for directory in DIRECTORIES {
        fs::create_dir_all(directory).with_context(|| format!("make {directory} in the node"))?;
        // Logs, leases and configuration of the machine are none of the node's.
        tmpfs(directory)?;
    }
    fs::create_dir("/etc/cni/net.d").context("make /etc/cni/net.d in the node")
}

/// What a boot makes anew: `/run`, `/sys` of the thread's network namespace, the boot id.
pub(crate) fn boot() -> Result<()> {
    tmpfs(RUN)?;
    fs::create_dir_all("/run/netns").context("make /run/netns in the node")?;
    // A kernel may refuse a fresh sysfs in a user namespace; then the machine's stays, unused.
    let _ = mount("sysfs", SYS, "sysfs", MountFlags::empty(), None);
    let boot_id = fs::read_to_string(UUID).with_context(|| format!("read {UUID}"))?;
    let file = Path::new(RUN).join("boot_id");
    fs::write(&file, boot_id).context("write the node's boot id")?;
    mount_bind(&file, BOOT_ID).with_context(|| format!("mount {BOOT_ID} in the node"))?;
    fs::remove_file(&file).context("hide the source of the node's boot id")
}

/// Undoes [`boot`]; namespaces that were mounted below `/run` go with it.
pub(crate) fn halt() -> Result<()> {
    unmount(BOOT_ID, UnmountFlags::DETACH).with_context(|| format!("unmount {BOOT_ID}"))?;
    // Not mounted where `boot` was not allowed to.
    let _ = unmount(SYS, UnmountFlags::DETACH);
    unmount(RUN, UnmountFlags::DETACH).with_context(|| format!("unmount {RUN}"))
}

fn tmpfs(target: &str) -> Result<()> {
    mount("tmpfs", target, "tmpfs", MountFlags::empty(), c"mode=0755")
        .with_context(|| format!("mount a tmpfs on {target} in the node"))
}

/// The machine's directory below, the node's changes above.
fn overlay(directory: &str) -> Result<()> {
    let name = directory.trim_start_matches('/');
    let upper = format!("{DISK}/{name}/upper");
    let work = format!("{DISK}/{name}/work");
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    // In a user namespace the machine's directories belong to nobody, and nothing can be made in
    // them; a directory that is there in the upper layer belongs to the node.
    for own in DIRECTORIES {
        if let Ok(below) = Path::new(own).strip_prefix(directory) {
            fs::create_dir_all(Path::new(&upper).join(below))?;
        }
    }
    let options = CString::new(format!(
        "lowerdir={directory},upperdir={upper},workdir={work}"
    ))?;
    mount(
        "overlay",
        directory,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )?;
    Ok(())
}

/// For kernels without overlay: a tmpfs in which the machine's entries are mounted one by one.
///
/// The entries themselves then are the machine's, so a node must write to new ones only.
fn patchwork(directory: &str) -> Result<()> {
    let below = format!("{DISK}{directory}-below");
    fs::create_dir_all(&below)?;
    mount_bind_recursive(directory, &below).with_context(|| format!("mount {below}"))?;
    tmpfs(directory)?;
    for entry in fs::read_dir(&below)? {
        let entry = entry?;
        let target = Path::new(directory).join(entry.file_name());
        let kind = entry.file_type()?;
        if ["cni", "log", "lib", "tmp"]
            .iter()
            .any(|own| entry.file_name() == *own)
        {
            continue;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
            continue;
        } else if kind.is_dir() {
            fs::create_dir(&target)?;
        } else {
            drop(fs::File::create(&target)?);
        }
        mount_bind_recursive(entry.path(), &target)
            .with_context(|| format!("mount {} in the node", target.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace;

    #[test]
    fn without_overlay_the_machines_files_are_still_there() {
        let outcome = namespace::apart("patchwork", || -> Result<()> {
            let mounts = namespace::new_mounts()?;
            tmpfs(DISK)?;
            let before = fs::read("/etc/passwd")?;
            patchwork("/etc")?;
            assert_eq!(fs::read("/etc/passwd")?, before);
            fs::create_dir_all("/etc/cni/net.d")?;
            drop(mounts);
            Ok(())
        });
        outcome.expect("a thread").expect("a patchwork");
    }
}
