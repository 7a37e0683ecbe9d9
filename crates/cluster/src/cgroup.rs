//! A machine's cgroups: below the ones that the caller is in, in every hierarchy, and gone with the machine.
//!
//! A machine may have the controllers in hierarchies of their own (version 1, also beside an empty version 2) or all in one
//! (version 2). kubelet and containerd take both; what a node mounts is what the machine has. In version 2 a group that has
//! processes cannot give controllers to the groups below it, so a node's own processes live in a leaf. See cgroups(7).

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, mount};

use crate::Place;

/// Without these no kubelet starts.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];
/// Taken where the machine has them.
const WANTED: [&str; 6] = ["cpu", "memory", "pids", "cpuset", "io", "hugetlb"];
const PROCESSES: &str = "cgroup.procs";
const GIVEN: &str = "cgroup.subtree_control";
/// Where a node's own processes live in version 2.
const LEAF: &str = "system";

/// One tree of cgroups.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    /// Where it is mounted.
    mount: PathBuf,
    kind: Kind,
    /// Our own group's folder.
    own: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// The mount's options: controllers, or a name.
    One(String),
    Two,
}

/// The hierarchies of this machine, as this process sees them.
#[derive(Debug)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

impl Cgroups {
    pub(crate) fn find() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("read {path}"));
        let hierarchies = parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
        if hierarchies.is_empty() {
            bail!("no cgroups are mounted below /sys/fs/cgroup; kubelet cannot live without");
        }
        Ok(Self { hierarchies })
    }

    /// Moves this process into new groups; what is mounted later by [`Cgroups::mount`] begins there.
    pub(crate) fn join(&self, place: &Place, machine: &str) -> Result<Vec<PathBuf>> {
        let mut groups = Vec::new();
        for hierarchy in &self.hierarchies {
            let group = hierarchy.make(place, machine)?;
            write(&group.join(PROCESSES), "0")?;
            groups.push(group);
        }
        Ok(groups)
    }

    /// Mounts what the machine has at `root`, as seen from the calling process's cgroup namespace.
    pub(crate) fn mount(&self, root: &Path) -> Result<()> {
        let shown = root.display();
        if let [
            Hierarchy {
                kind: Kind::Two, ..
            },
        ] = &self.hierarchies[..]
        {
            mount("cgroup", root, "cgroup2", MountFlags::empty(), None)
                .with_context(|| format!("mount cgroup2 on {shown}"))?;
            let leaf = root.join(LEAF);
            fs::create_dir(&leaf).with_context(|| format!("make {}", leaf.display()))?;
            return write(&leaf.join(PROCESSES), "0");
        }
        mount("cgroup", root, "tmpfs", MountFlags::empty(), c"mode=0755")
            .with_context(|| format!("mount a tmpfs on {shown}"))?;
        for hierarchy in &self.hierarchies {
            let Kind::One(options) = &hierarchy.kind else {
                continue;
            };
            let target = root.join(hierarchy.mount.file_name().unwrap_or_default());
            fs::create_dir(&target).with_context(|| format!("make {}", target.display()))?;
            let data = std::ffi::CString::new(options.as_str())?;
            mount(
                "cgroup",
                &target,
                "cgroup",
                MountFlags::empty(),
                data.as_c_str(),
            )
            .with_context(|| format!("mount cgroup {options} on {}", target.display()))?;
        }
        Ok(())
    }
}

/// Removes a machine's groups after its last process has ended; its parent goes with its last machine.
pub(crate) fn remove(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

impl Hierarchy {
    fn make(&self, place: &Place, machine: &str) -> Result<PathBuf> {
        let base = match self.kind {
            Kind::One(_) => self.own.clone(),
            Kind::Two => self.giver()?,
        };
        // Two places on a machine must not share a group.
        let inode = fs::metadata(place.root())?.ino();
        let of_place = base.join(format!("podwire-cluster-{inode}"));
        let group = of_place.join(machine);
        for group in [&of_place, &group] {
            fs::create_dir_all(group)
                .with_context(|| format!("make cgroup {}", group.display()))?;
            // A new group of the controller cpuset has no processors, and so takes no process.
            for list in ["cpuset.cpus", "cpuset.mems"] {
                let above = group.parent().map(|above| above.join(list));
                if let Some(Ok(value)) = above.map(fs::read_to_string)
                    && matches!(self.kind, Kind::One(_))
                {
                    write(&group.join(list), value.trim())?;
                }
            }
        }
        if self.kind == Kind::Two {
            give(&of_place)?;
        }
        Ok(group)
    }

    /// The nearest group from our own upwards that can give the controllers to groups below it.
    fn giver(&self) -> Result<PathBuf> {
        let groups = self.own.ancestors();
        let mut inside = groups.take_while(|group| group.starts_with(&self.mount));
        let found = inside.find(|group| give(group).is_ok());
        found.map(Path::to_path_buf).with_context(|| {
            format!(
                "no cgroup from {} upwards gives {} to groups below it; \
                 as root of the machine or of a privileged container of its own cgroup namespace it would",
                self.own.display(),
                NEEDED.join(", ")
            )
        })
    }
}

/// Lets the groups below have the controllers.
fn give(group: &Path) -> Result<()> {
    let path = group.join(GIVEN);
    for controller in WANTED {
        // One that the machine lacks is refused; the needed ones are looked for below.
        drop(fs::write(&path, format!("+{controller}")));
    }
    let given = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let lacks = |name: &&&str| !given.split_whitespace().any(|word| word == **name);
    match NEEDED.iter().find(lacks) {
        None => Ok(()),
        Some(name) => bail!("{} does not give {name}", group.display()),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {text:?} to {}", path.display()))
}

/// The hierarchies with a controller or a name, from mountinfo and the process's own groups; see proc(5), cgroups(7).
fn parse(mountinfo: &str, own: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let [_, _, _, root, mount, ..] = before.split(' ').collect::<Vec<_>>()[..] else {
                return None;
            };
            let [kind, _, options] = after.split(' ').collect::<Vec<_>>()[..] else {
                return None;
            };
            let (kind, key) = match kind {
                "cgroup" => {
                    let name = options.split(',').filter(|word| !GENERAL.contains(word));
                    let name = name.collect::<Vec<_>>().join(",");
                    let is_named = name.starts_with("name=");
                    let asked = if is_named {
                        format!("none,{name}")
                    } else {
                        name.clone()
                    };
                    (Kind::One(asked), name)
                }
                "cgroup2" => (Kind::Two, String::new()),
                _ => return None,
            };
            let own = own.lines().find_map(|line| {
                let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else {
                    return None;
                };
                (controllers == key).then_some(path)
            })?;
            let mount = PathBuf::from(mount);
            // Where a container sees only its own part, its paths are relative to that.
            let below = Path::new(own)
                .strip_prefix(root)
                .or_else(|_| Path::new(own).strip_prefix("/"));
            let own = mount.join(below.ok()?);
            Some(Hierarchy { mount, kind, own })
        })
        .collect();
    // Beside version 1, the tree of version 2 has no controllers: nobody needs it.
    if found.iter().any(|hierarchy| hierarchy.kind != Kind::Two) {
        found.retain(|hierarchy| hierarchy.kind != Kind::Two);
    }
    found
}

/// Options of every mount, which name no controller.
const GENERAL: [&str; 4] = ["rw", "ro", "clone_children", "xattr"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_controller_is_a_hierarchy_and_the_empty_version_2_is_none() {
        let mounts = "30 20 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
                      31 20 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                      32 20 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      33 20 0:29 / /tmp rw - tmpfs tmpfs rw\n";
        let found = parse(mounts, "2:cpu:/a/b\n1:name=systemd:/\n0::/\n");
        let [cpu, systemd] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(cpu.kind, Kind::One("cpu".to_owned()));
        assert_eq!(cpu.own, Path::new("/sys/fs/cgroup/cpu/a/b"));
        assert_eq!(systemd.kind, Kind::One("none,name=systemd".to_owned()));
        assert_eq!(systemd.own, Path::new("/sys/fs/cgroup/systemd/"));
    }

    #[test]
    fn version_2_alone_is_one_hierarchy() {
        let mounts = "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = parse(mounts, "0::/user.slice/x.scope\n");
        let [only] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(only.kind, Kind::Two);
        assert_eq!(only.own, Path::new("/sys/fs/cgroup/user.slice/x.scope"));
    }
}
