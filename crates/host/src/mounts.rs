//! Whether mounts that others make are seen here: propagation, by folder.
//!
//! A container that was started before a pod sees the pod's network namespace only if the folder that it is mounted in came to
//! the container with propagation (Kubernetes: `HostToContainer`). Follows mount_namespaces(7) and the kernel's
//! `sharedsubtree` document; read from `/proc/thread-self/mountinfo` (proc_pid_mountinfo(5)).

use crate::error::Error;
use model::reclaim::Folder;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// Runtimes name what lies below `/run` by this path. A container may have a folder of this name as well, with nothing in it
/// but the token that every pod gets.
const VAR_RUN: &str = "/var/run";
const RUN: &str = "/run";

/// The mounts of this thread's mount namespace at one moment.
#[derive(Debug)]
pub struct Mounts {
    /// Numbers of those that others' mounts come to.
    propagated: BTreeSet<u64>,
}

impl Mounts {
    /// Reads them.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn read() -> Result<Self, Error> {
        let text = fs::read_to_string(MOUNTINFO)
            .map_err(|error| Error::io(format!("read {MOUNTINFO}"), &error))?;
        Ok(Self {
            propagated: text.lines().filter_map(propagated).collect(),
        })
    }

    /// How this process has the folder of `path`, which is one of [`here`].
    #[must_use]
    pub fn folder(&self, path: &Path) -> Folder {
        let Some(folder) = path.parent() else {
            return Folder::Absent;
        };
        let flags = AtFlags::empty();
        match statx(CWD, folder, flags, StatxFlags::MNT_ID) {
            Ok(seen) if seen.stx_mask & StatxFlags::MNT_ID.bits() == 0 => Folder::Apart,
            Ok(seen) if self.propagated.contains(&seen.stx_mnt_id) => Folder::Propagated,
            Ok(_) => Folder::Apart,
            Err(Errno::NOENT | Errno::NOTDIR) => Folder::Absent,
            Err(_) => Folder::Apart,
        }
    }
}

/// The path by which this process finds what the runtime calls `path`.
#[must_use]
pub fn here(path: &str) -> PathBuf {
    place(Path::new(path), Path::exists)
}

fn place(path: &Path, is_there: impl Fn(&Path) -> bool) -> PathBuf {
    match path.strip_prefix(VAR_RUN) {
        Ok(below) if !path.parent().is_some_and(is_there) => Path::new(RUN).join(below),
        _ => path.to_owned(),
    }
}

/// The number of the mount that a line is about, if what is mounted below it elsewhere is mounted here too. The root of a
/// container is such a mount often enough, and says nothing of the folders that an image has in it.
fn propagated(line: &str) -> Option<u64> {
    let mut fields = line.split(' ');
    let number = fields.next()?.parse().ok()?;
    let place = fields.nth(3)?;
    let optional = fields.skip(1).take_while(|field| *field != "-");
    let mut tags = optional.filter(|tag| tag.starts_with("shared:") || tag.starts_with("master:"));
    (place != "/" && tags.next().is_some()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_says_whether_others_mounts_come_here() {
        let line = |optional: &str| {
            format!("36 35 0:24 /netns /run/netns rw,noatime{optional} - tmpfs tmpfs rw,size=1k")
        };
        for (optional, number) in [
            ("", None),
            (" shared:4", Some(36)),
            (" master:4", Some(36)),
            (" shared:7 master:4", Some(36)),
            (" propagate_from:2", None),
            (" unbindable", None),
        ] {
            assert_eq!(propagated(&line(optional)), number, "{optional}");
        }
        let root = "21 1 0:20 / / rw master:1 - overlay overlay rw";
        assert_eq!(propagated(root), None);
    }

    #[test]
    fn what_is_not_below_var_run_is_below_run() {
        for (path, found) in [
            ("/var/run/no-such-folder/cni-1", "/run/no-such-folder/cni-1"),
            ("/run/no-such-folder/cni-1", "/run/no-such-folder/cni-1"),
            ("/var/running/cni-1", "/var/running/cni-1"),
        ] {
            assert_eq!(here(path), Path::new(found));
        }
        let asked = |folder: &Path| folder == Path::new("/var/run/netns");
        let there = Path::new("/var/run/netns/a");
        assert_eq!(place(there, asked), there);
        assert_eq!(place(there, |_| false), Path::new("/run/netns/a"));
    }
}
