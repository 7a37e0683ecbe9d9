//! Making and entering kernel namespaces: the only module that calls unshare and setns.
//!
//! A namespace lives as long as a descriptor of it is open; no thread has to sit in it. Each
//! function here is called on a fresh thread, which then is, for the rest of its life, inside.
//! It does not know what a node or a pod is. See namespaces(7), network_namespaces(7).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Moves the calling thread into a new, empty network namespace and returns what keeps it alive.
pub(crate) fn new_network() -> Result<OwnedFd> {
    unshare(UnshareFlags::NEWNET, "a network namespace")?;
    own("net")
}

/// Moves the calling thread into a new mount namespace, a private copy of the current one.
///
/// Nothing that is mounted in it is seen outside of it.
pub(crate) fn new_mounts() -> Result<OwnedFd> {
    unshare(UnshareFlags::NEWNS, "a mount namespace")?;
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
    )
    .context("make all mounts private")?;
    own("mnt")
}

/// Moves the calling thread into the given namespaces.
pub(crate) fn enter(network: BorrowedFd<'_>, mounts: Option<BorrowedFd<'_>>) -> Result<()> {
    if let Some(mounts) = mounts {
        // A thread that shares its root and working directory with others cannot change mounts.
        unshare(
            UnshareFlags::FS,
            "root and working directory of a thread of its own",
        )?;
        move_into_link_name_space(mounts, Some(LinkNameSpaceType::Mount))
            .context("enter a mount namespace")?;
    }
    move_into_link_name_space(network, Some(LinkNameSpaceType::Network))
        .context("enter a network namespace")
}

/// Runs the work on a fresh thread, whose namespaces the work may change, and carries a panic back.
pub(crate) fn apart<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, work)
            .with_context(|| format!("start a thread for {name}"))?;
        match thread.join() {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn own(kind: &str) -> Result<OwnedFd> {
    let path = format!("/proc/thread-self/ns/{kind}");
    let file = File::open(&path).with_context(|| format!("open {path}"))?;
    Ok(file.as_fd().try_clone_to_owned()?)
}

fn unshare(flags: UnshareFlags, what: &str) -> Result<()> {
    #[allow(
        deprecated,
        reason = "unsafe only for UnshareFlags::FILES, which is never asked for here"
    )]
    let outcome = rustix::thread::unshare(flags);
    match outcome {
        Err(Errno::PERM) => Err(Errno::PERM)
            .with_context(|| format!("make {what}: not permitted here; {}", crate::HOW_TO_BE_ROOT)),
        outcome => outcome.with_context(|| format!("make {what}")),
    }
}
