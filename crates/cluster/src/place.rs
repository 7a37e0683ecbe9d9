//! Where everything big lies: `$PODWIRE_CLUSTER`, by default `podwire-cluster` in the user's cache.
//!
//! `bin` has the built programs (`bin/cni` the reference plugins), `images` the OCI archives, `gocache` and `gomod` what Go
//! keeps, `run` the one running cluster. Everything but `run` may be thrown away and is made again by a build.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Names the place.
pub const VARIABLE: &str = "PODWIRE_CLUSTER";

const SYSTEM_PROGRAMS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A folder for programs, images and one running cluster.
#[derive(Debug, Clone)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    /// The place that the environment names.
    ///
    /// # Errors
    /// When there is neither the variable nor a home, or the path is not absolute.
    pub fn find() -> Result<Self> {
        let folder = |name: &str| env::var_os(name).map(PathBuf::from);
        let root = folder(VARIABLE)
            .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("podwire-cluster")))
            .or_else(|| Some(folder("HOME")?.join(".cache/podwire-cluster")))
            .with_context(|| format!("neither {VARIABLE} nor HOME is set; set {VARIABLE} to a folder with 20 GB to spare"))?;
        ensure!(
            root.is_absolute(),
            "{} is not an absolute path; set {VARIABLE} to one",
            root.display()
        );
        Ok(Self { root })
    }

    /// The place in this folder.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Built programs.
    pub fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// OCI archives.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Go's build cache.
    pub fn gocache(&self) -> PathBuf {
        self.root.join("gocache")
    }

    /// Go's module cache.
    pub fn gomod(&self) -> PathBuf {
        self.root.join("gomod")
    }

    /// The running cluster.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// `PATH` for everything that runs in the cluster: its own programs come before the machine's.
    pub(crate) fn search_path(&self) -> String {
        format!("{}:{SYSTEM_PROGRAMS}", self.bin().display())
    }

    /// A built program.
    ///
    /// # Errors
    /// When it is missing, with the command that builds it.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.bin().join(name);
        ensure!(
            path.is_file(),
            "{} is missing; type: cargo xtask cluster build",
            path.display()
        );
        Ok(path)
    }

    /// The name under which pods ask for an image, by the name of its archive.
    ///
    /// # Errors
    /// When it is missing, with the command that makes it.
    pub fn image(&self, archive: &str) -> Result<String> {
        let path = self.images().join(format!("{archive}.name"));
        let name = fs::read_to_string(&path)
            .with_context(|| format!("read {}; type: cargo xtask cluster build", path.display()))?;
        Ok(name.trim().to_owned())
    }
}
