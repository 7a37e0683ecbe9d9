//! What the node's sysctls were before Podwire changed them, noted in the state folder, so that they can be put back.
//!
//! One file, `sysctls`: the boot id, then a line for each in the order of the changes. The first note about a sysctl holds; another
//! life of the kernel begins anew. Writing a switch for forwarding changes others along with it (kernel documentation, "IP
//! Sysctl": `ip_forward`); of those it is noted which ones a change back would not bring back.

use super::Sysctls;
use crate::clock::boot_id;
use crate::error::Error;
use model::net::{Former, Sysctl};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The file's name in the state folder.
const FILE: &str = "sysctls";

/// The switches for forwarding, each with the folder of the links' own.
const SWITCHES: [(&str, &str); 2] = [
    ("ipv4/ip_forward", "ipv4/conf"),
    ("ipv6/conf/all/forwarding", "ipv6/conf"),
];

/// What a node that forwards IPv4 does not do, unless it is said afterwards.
const REDIRECTS: &str = "ipv4/conf/all/accept_redirects";

impl Sysctls {
    /// Notes below `run` what a sysctl is, if it is another value than that which it is about to be given.
    ///
    /// # Errors
    /// It cannot be noted.
    pub(super) fn note(&self, sysctl: &Sysctl, run: &Path) -> Result<(), Error> {
        let Some(was) = self.read(&sysctl.key)?.filter(|was| *was != sysctl.value) else {
            return Ok(());
        };
        let mut notes = self.alongside(sysctl)?;
        notes.push(Former {
            key: sysctl.key.clone(),
            was,
            set: sysctl.value.clone(),
        });
        let path = run.join(FILE);
        append(&path, &boot_id()?, &notes)
            .map_err(|error| Error::io(format!("write {}", path.display()), &error))
    }

    /// What changes along with it and would not change back with it: it has the value already that it will be given.
    fn alongside(&self, sysctl: &Sysctl) -> Result<Vec<Former>, Error> {
        let Some((switch, folder)) = SWITCHES.iter().find(|(key, _)| *key == sysctl.key) else {
            return Ok(Vec::new());
        };
        let links = self.list(folder)?.into_iter();
        let links = links.map(|link| format!("{folder}/{link}/forwarding"));
        let mut given: Vec<(String, &str)> = links
            .filter(|key| key != switch && key != "ipv4/conf/all/forwarding")
            .map(|key| (key, sysctl.value.as_str()))
            .collect();
        if *folder == "ipv4/conf" {
            let redirects = if sysctl.value == "0" { "1" } else { "0" };
            given.push((REDIRECTS.into(), redirects));
        }
        let mut notes = Vec::new();
        for (key, value) in given {
            if self.read(&key)?.as_deref() == Some(value) {
                notes.push(Former {
                    key,
                    was: value.into(),
                    set: value.into(),
                });
            }
        }
        Ok(notes)
    }

    /// The names in a folder of sysctls.
    fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let path = self.root.join(folder);
        let failed = |error| Error::io(format!("list {}", path.display()), &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into());
        }
        names.sort();
        Ok(names)
    }
}

/// All that is noted below `run`.
///
/// # Errors
/// The file is there and cannot be read.
pub fn former(run: &Path) -> Result<Vec<Former>, Error> {
    let path = run.join(FILE);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io(format!("read {}", path.display()), &error)),
        Ok(text) => Ok(of_this_life(&text, &boot_id()?)),
    }
}

fn append(path: &Path, life: &str, notes: &[Former]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file: File = options
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    // Many ADDs may begin on a fresh node at once.
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let mut new = String::new();
    if text.lines().next() != Some(life) {
        file.set_len(0)?;
        new = format!("{life}\n");
    }
    let known = of_this_life(&text, life);
    for note in notes {
        if !known.iter().any(|known| known.key == note.key) {
            new.push_str(&format!("{note}\n"));
        }
    }
    // In one piece: a reader takes no lock.
    file.write_all(new.as_bytes())
}

fn of_this_life(text: &str, life: &str) -> Vec<Former> {
    let mut lines = text.lines();
    if lines.next() != Some(life) {
        return Vec::new();
    }
    lines.filter_map(Former::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(key: &str, was: &str, set: &str) -> Former {
        let [key, was, set] = [key, was, set].map(String::from);
        Former { key, was, set }
    }

    /// A folder that looks like `/proc/sys/net`, and one for the notes.
    fn folders(name: &str, files: &[(&str, &str)]) -> (Sysctls, std::path::PathBuf) {
        let root = std::env::temp_dir().join(format!("podwire-{name}-{}", std::process::id()));
        for (key, value) in files {
            let path = root.join("net").join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        }
        (Sysctls::below(&root.join("net")), root)
    }

    fn sysctl(key: &str, value: &str) -> Sysctl {
        let [key, value] = [key, value].map(String::from);
        Sysctl { key, value }
    }

    #[test]
    fn the_first_value_of_each_is_kept_and_an_equal_one_is_no_news() {
        let key = "ipv4/conf/eth0.7/rp_filter";
        let (sysctls, run) = folders("noted", &[(key, "1"), ("ipv6/conf/a/accept_ra", "1")]);
        assert_eq!(former(&run), Ok(vec![]));
        let loose = sysctl(key, "2");
        sysctls.note(&sysctl(key, "1"), &run).unwrap();
        assert_eq!(former(&run), Ok(vec![]), "nothing is changed by that");
        sysctls.note(&loose, &run).unwrap();
        fs::write(run.join("net").join(key), "0\n").unwrap();
        sysctls.note(&loose, &run).unwrap();
        sysctls.note(&sysctl("ipv4/none", "1"), &run).unwrap();
        let accept = sysctl("ipv6/conf/a/accept_ra", "2");
        sysctls.note(&accept, &run).unwrap();
        let all = vec![note(key, "1", "2"), note("ipv6/conf/a/accept_ra", "1", "2")];
        assert_eq!(former(&run), Ok(all));
        fs::remove_dir_all(run).unwrap();
    }

    #[test]
    fn another_life_of_the_kernel_begins_anew() {
        let (sysctls, run) = folders("lives", &[("ipv4/conf/a/rp_filter", "1")]);
        fs::write(run.join(FILE), "another\nnet/ipv4/ip_forward 0 -> 1\n").unwrap();
        assert_eq!(former(&run), Ok(vec![]));
        let loose = sysctl("ipv4/conf/a/rp_filter", "2");
        sysctls.note(&loose, &run).unwrap();
        let one = vec![note("ipv4/conf/a/rp_filter", "1", "2")];
        assert_eq!(former(&run), Ok(one));
        fs::remove_dir_all(run).unwrap();
    }

    #[test]
    fn a_switch_is_noted_with_what_would_not_come_back_with_it() {
        let files = [
            ("ipv4/ip_forward", "0"),
            ("ipv4/conf/all/forwarding", "0"),
            ("ipv4/conf/all/accept_redirects", "0"),
            ("ipv4/conf/eth0/forwarding", "0"),
            ("ipv4/conf/eth1/forwarding", "1"),
        ];
        let (sysctls, run) = folders("switch", &files);
        sysctls.note(&sysctl("ipv4/ip_forward", "1"), &run).unwrap();
        let all = vec![
            note("ipv4/conf/eth1/forwarding", "1", "1"),
            note(REDIRECTS, "0", "0"),
            note("ipv4/ip_forward", "0", "1"),
        ];
        assert_eq!(former(&run), Ok(all));
        fs::remove_dir_all(run).unwrap();
    }
}
