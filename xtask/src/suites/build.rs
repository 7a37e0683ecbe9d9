//! From modules to programs: the tests, and the reference plugins that stand beside ours.
//!
//! Each module is copied out of Go's own cache, which may not be written to. Where a suite is aimed at functions, the plugin's
//! own get another name in the copy and `shim.go` takes theirs. Where modules come from (GOPROXY) is the user's business;
//! GOCACHE and GOMODCACHE are below cargo's target directory unless the user has set them.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::place::PLUGINS_FOLDER;
use super::table::{Aim, Module, PLUGINS, Suite};
use crate::dist;
use crate::shell::{find_program, output, run, say};

/// Stands in for the functions that a suite was compiled with.
const SHIM: &str = include_str!("shim.go");
const VERBS: [&str; 4] = ["Add", "Del", "Check", "Status"];
/// Called by name in the reference's place.
const OURS: [&str; 4] = ["bridge", "loopback", "host-local", "portmap"];
const CNITOOL: &str = "github.com/containernetworking/cni/cnitool";

/// Everything that was built, below one folder.
pub(super) struct Built {
    pub(super) folder: PathBuf,
}

impl Built {
    /// Builds what these suites need.
    pub(super) fn new(folder: &Path, suites: &[&Suite]) -> Result<Self> {
        ensure!(
            find_program("go").is_some(),
            "Go 1.25 or newer is needed to build the suites, and is not on PATH; \
             see https://go.dev/doc/install"
        );
        let built = Self {
            folder: folder.to_owned(),
        };
        let source = built.copy(&PLUGINS, PLUGINS.name)?;
        built.reference(&source)?;
        let mut copied = BTreeSet::from([PLUGINS.name]);
        for suite in suites {
            let name = source_name(suite);
            if copied.insert(name) {
                built.copy(suite.module, name)?;
            }
            built.change(suite)?;
            built.test(suite)?;
        }
        Ok(built)
    }

    /// Where the suite's package lies, and where it runs.
    pub(super) fn package(&self, suite: &Suite) -> PathBuf {
        self.source(source_name(suite)).join(suite.package)
    }

    /// The suite as a program.
    pub(super) fn program(&self, suite: &Suite) -> PathBuf {
        self.folder.join("tests").join(suite.name)
    }

    /// The variables that Go's own programs are called with.
    pub(super) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let ours = [("GOCACHE", "gocache"), ("GOMODCACHE", "gomod")];
        let unset = ours
            .into_iter()
            .filter(|(name, _)| env::var_os(name).is_none());
        unset
            .map(|(name, place)| (name, self.folder.join(place)))
            .collect()
    }

    fn source(&self, name: &str) -> PathBuf {
        self.folder.join("source").join(name)
    }

    /// A copy of a module that can be changed.
    fn copy(&self, module: &Module, name: &str) -> Result<PathBuf> {
        let into = self.source(name);
        if into.exists() {
            fs::remove_dir_all(&into).with_context(|| format!("remove {}", into.display()))?;
        }
        if let Some(tests) = module.tests {
            let head = format!(
                "module suites\n\ngo 1.25\n\nrequire {} {}\n",
                module.path, module.version
            );
            fs::create_dir_all(&into)?;
            fs::write(into.join("go.mod"), head)?;
            fs::write(into.join("suites_test.go"), tests)?;
            return Ok(into);
        }
        let from = self.download(module)?;
        copy_tree(&from, &into).with_context(|| format!("copy {}", from.display()))?;
        Ok(into)
    }

    fn download(&self, module: &Module) -> Result<PathBuf> {
        let what = format!("{}@{}", module.path, module.version);
        say(format!("suites: fetching {what}"));
        let answer = output(
            self.go(&self.folder)?
                .args(["mod", "download", "-json", &what]),
        )?;
        let answer: Value = serde_json::from_str(&answer).context("go mod download -json")?;
        let folder = answer["Dir"]
            .as_str()
            .context("go mod download names no Dir")?;
        Ok(PathBuf::from(folder))
    }

    /// The reference plugins, and beside them a folder in which ours take the places of theirs.
    fn reference(&self, source: &Path) -> Result<()> {
        let (theirs, ours) = (self.folder.join("reference"), self.folder.join("ours"));
        fs::create_dir_all(&theirs)?;
        let words = [
            "./plugins/main/...",
            "./plugins/ipam/...",
            "./plugins/meta/...",
            CNITOOL,
        ];
        let mut command = self.go(source)?;
        command.args(["build", "-o"]).arg(&theirs).args(words);
        run(&mut command)?;
        copy_tree(&theirs, &ours).context("copy the reference plugins")?;
        for name in OURS {
            let program = dist::directory("cni").join(name);
            fs::copy(&program, ours.join(name))
                .with_context(|| format!("copy {}", program.display()))?;
        }
        // The suite named integration looks for its plugins here.
        symlink(PLUGINS_FOLDER, source.join("bin")).context("make the link bin")
    }

    fn change(&self, suite: &Suite) -> Result<()> {
        let package = self.package(suite);
        for change in suite.changes {
            let file = package.join(change.file);
            let text = read(&file)?;
            ensure!(
                text.contains(change.from),
                "{} has no {:?} any more",
                file.display(),
                change.from
            );
            fs::write(
                &file,
                text.replacen(change.from, change.to, times(change.to)),
            )?;
        }
        if suite.aim == Aim::Called {
            return Ok(());
        }
        for entry in fs::read_dir(&package)? {
            let file = entry?.path();
            let name = file.to_string_lossy().into_owned();
            if name.ends_with(".go") && !name.ends_with("_test.go") {
                let renamed = VERBS.iter().fold(read(&file)?, |text, verb| {
                    text.replace(
                        &format!("func cmd{verb}(args"),
                        &format!("func reference{verb}(args"),
                    )
                });
                fs::write(&file, renamed)?;
            }
        }
        let program = format!("{PLUGINS_FOLDER}/{}", suite.plugin());
        fs::write(package.join("shim.go"), SHIM.replace("PROGRAM", &program))?;
        Ok(())
    }

    fn test(&self, suite: &Suite) -> Result<()> {
        let program = self.program(suite);
        let mut command = self.go(&self.source(source_name(suite)))?;
        command.args(["test", "-vet=off", "-c", "-tags", suite.module.tags, "-o"]);
        command.arg(&program).arg(format!("./{}", suite.package));
        run(&mut command)
    }

    fn go(&self, folder: &Path) -> Result<Command> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let mut command = Command::new("go");
        command.current_dir(folder).envs(self.environment());
        command.env("CGO_ENABLED", "0");
        command.env("GOFLAGS", "-mod=mod -buildvcs=false");
        Ok(command)
    }
}

/// A suite that is changed has a copy of its own.
fn source_name(suite: &Suite) -> &'static str {
    let is_whole = suite.aim == Aim::Called && suite.changes.is_empty();
    if is_whole {
        suite.module.name
    } else {
        suite.name
    }
}

/// What is taken out is taken out once, what has another name has it everywhere.
fn times(to: &str) -> usize {
    if to.starts_with("Have") {
        usize::MAX
    } else {
        1
    }
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
}

/// Copies a folder; what Go's cache has may not be written to, a copy may.
fn copy_tree(from: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, into) = (entry.path(), into.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_tree(&from, &into)?;
            continue;
        }
        fs::copy(&from, &into)?;
        let mut rights = fs::metadata(&into)?.permissions();
        rights.set_mode(rights.mode() | 0o600);
        fs::set_permissions(&into, rights)?;
    }
    Ok(())
}
