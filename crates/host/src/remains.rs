//! What of Podwire lies on a node's disks, for taking it off.
//!
//! Only looks. A file is ours by what it holds, not by its name alone: the plugin by its mark, the log by its first line, a
//! configuration by the types that it asks for. What is to become of it is decided elsewhere.

use crate::error::Error;
use crate::store::Store;
use crate::{program, sysctl};
use model::cni::{BASH_CNI_LOG, Kind, MARK};
use model::remains::Remains;
use model::status;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// How configurations for a runtime end.
const CONFIGURATIONS: [&str; 3] = ["conf", "conflist", "json"];

/// No line of ours is longer; what is longer is somebody else's.
const LINE: u64 = 1 << 16;

/// Where things lie on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The state folder.
    pub run: PathBuf,
    /// The agent's file for the runtime; others lie beside it.
    pub conflist: PathBuf,
    /// The folder in which the runtime looks for plugins.
    pub plugins: PathBuf,
    /// What stands before the paths that nobody can choose.
    pub root: PathBuf,
}

/// Looks at all of them.
///
/// # Errors
/// Something is there and cannot be read.
pub fn observe(places: &Places) -> Result<Remains, Error> {
    let mut remains = Remains {
        conflist: shown(&places.conflist),
        ..Remains::default()
    };
    let beside = places.conflist.parent().unwrap_or_else(|| Path::new("/"));
    for path in entries(beside)? {
        let ends = path.extension().unwrap_or_default();
        if CONFIGURATIONS.iter().any(|end| ends == *end)
            && let Some(text) = text(&path)?
        {
            // Anybody may ask for a loopback.
            let mut kinds = Kind::all_in(&text);
            kinds.remove(&Kind::Loopback);
            if kinds.is_empty() {
                remains.foreign.insert(shown(&path));
            } else {
                remains.configurations.insert(shown(&path), kinds);
            }
        }
    }
    for path in entries(&places.plugins)? {
        if program::bears(&path, MARK)? {
            remains.files.insert(shown(&path));
        }
    }
    let unfinished = places.conflist.with_extension("unfinished");
    let log = places.root.join(BASH_CNI_LOG.trim_start_matches('/'));
    if fs::symlink_metadata(&unfinished).is_ok() {
        remains.files.insert(shown(&unfinished));
    }
    if is_our_log(&log)? {
        remains.files.insert(shown(&log));
    }
    state(&places.run, &mut remains)?;
    Ok(remains)
}

fn state(run: &Path, remains: &mut Remains) -> Result<(), Error> {
    if fs::symlink_metadata(run).is_err() {
        return Ok(());
    }
    remains.run = Some(shown(run));
    remains.former = sysctl::former(run)?;
    for store in Store::all(run)? {
        remains.ranges.extend(store.ranges()?);
    }
    let report = text(&run.join(status::FILE))?.unwrap_or_default();
    // That of another version may not be understood; then it says nothing.
    if let Ok(report) = serde_json::from_str::<status::Status>(&report) {
        remains.ranges.extend(report.ranges);
    }
    Ok(())
}

/// The demo's script wrote plain words into the same file; it is ours only if it begins with a line of ours.
fn is_our_log(path: &Path) -> Result<bool, Error> {
    if !fs::metadata(path).is_ok_and(|there| there.is_file()) {
        return Ok(false);
    }
    let failed = |error| Error::io(format!("read {}", path.display()), &error);
    let file = File::open(path).map_err(failed)?;
    let mut line = Vec::new();
    let mut reader = BufReader::new(file.take(LINE));
    reader.read_until(b'\n', &mut line).map_err(failed)?;
    let line = serde_json::from_slice::<serde_json::Value>(&line);
    Ok(line.is_ok_and(|line| line["verb"].is_string() && line["network"].is_string()))
}

/// What lies in a folder, in order; nothing if it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::io(format!("list {}", folder.display()), &error);
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in listed {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// A file's text; none if it is not there, or is no text.
fn text(path: &Path) -> Result<Option<String>, Error> {
    if !fs::metadata(path).is_ok_and(|there| there.is_file()) {
        return Ok(None);
    }
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            Ok(None)
        }
        Err(error) => Err(Error::io(format!("read {}", path.display()), &error)),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_ours_by_what_it_holds() {
        let root = std::env::temp_dir().join(format!("podwire-remains-{}", std::process::id()));
        let line = r#"{"ifname":"eth0","network":"mynet","verb":"ADD"}"#;
        let plugin = format!("ELF{MARK}0.1.0");
        for (path, text) in [
            (
                "etc/10-podwire.conflist",
                r#"{"plugins":[{"type":"podwire"}]}"#,
            ),
            ("etc/10-podwire.unfinished", "{"),
            ("etc/20-theirs.conf", r#"{"type":"bridge"}"#),
            ("etc/30-loopback.conf", r#"{"type":"loopback"}"#),
            ("etc/40-demo.conf", r#"{"type":"bash-cni"}"#),
            ("etc/50-old.bak", r#"{"type":"bash-cni"}"#),
            ("bin/podwire", plugin.as_str()),
            ("bin/podwire.unfinished", plugin.as_str()),
            ("bin/loopback", "theirs"),
            ("var/log/bash-cni-plugin.log", line),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let places = Places {
            run: root.join("run"),
            conflist: root.join("etc/10-podwire.conflist"),
            plugins: root.join("bin"),
            root: root.clone(),
        };
        let remains = observe(&places).unwrap();
        let own = |path: &String| path[root.display().to_string().len() + 1..].to_owned();
        let files: Vec<_> = remains.files.iter().map(own).collect();
        assert_eq!(
            files,
            [
                "bin/podwire",
                "bin/podwire.unfinished",
                "etc/10-podwire.unfinished",
                "var/log/bash-cni-plugin.log"
            ]
        );
        let asking: Vec<_> = remains.configurations.keys().map(own).collect();
        assert_eq!(asking, ["etc/10-podwire.conflist", "etc/40-demo.conf"]);
        let foreign: Vec<_> = remains.foreign.iter().map(own).collect();
        assert_eq!(foreign, ["etc/20-theirs.conf", "etc/30-loopback.conf"]);
        assert_eq!(remains.run, None);

        fs::write(
            root.join("var/log/bash-cni-plugin.log"),
            "CNI command: ADD\n",
        )
        .unwrap();
        let files = observe(&places).unwrap().files;
        assert!(!files.iter().any(|path| path.ends_with(".log")));
        fs::remove_dir_all(root).unwrap();
    }
}
