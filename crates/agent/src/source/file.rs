//! The cluster from a file, `nodes.toml`.
//!
//! The file's folder is watched, not the file: editors put a new file in its place, and Kubernetes swaps a symlink in the
//! folder. Whatever happens there, the file is read again, and only a text that is new counts.

mod text;

use super::{Reading, touched};
use crate::wake::listen;
use host::Error;
use host::watch::Watch;
use model::cluster::Cluster;
use model::name::NodeName;
use model::status::Finding;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::unix::AsyncFd;
use tracing::warn;

/// `nodes.toml`, as this node reads it.
pub(crate) struct File {
    path: PathBuf,
    own: NodeName,
    watch: AsyncFd<Watch>,
    /// The text that was read last, or why it could not be.
    seen: Result<String, String>,
    /// Everything that is wrong in it.
    problems: Vec<String>,
}

impl File {
    /// Starts to watch, then reads for the first time.
    ///
    /// # Errors
    /// Everything that is wrong in the file, each on its line.
    pub(crate) fn open(path: &Path, own: &NodeName) -> Result<(Self, Cluster), Vec<String>> {
        let failed = |error: &dyn std::fmt::Display| vec![error.to_string()];
        let watch = Watch::open().map_err(|error| failed(&error))?;
        let mut source = Self {
            path: path.to_owned(),
            own: own.clone(),
            watch: listen(watch).map_err(|error| failed(&error))?,
            seen: Err(String::new()),
            problems: Vec::new(),
        };
        match source.again() {
            Reading::New(cluster) => Ok((source, cluster)),
            Reading::Same | Reading::Told => Err(source.problems),
        }
    }

    /// Waits until something has happened in the file's folder.
    pub(crate) async fn touched(&mut self) -> Result<(), Error> {
        touched(&mut self.watch).await
    }

    /// Reads the file again.
    pub(crate) fn again(&mut self) -> Reading {
        self.look();
        let text = std::fs::read_to_string(&self.path)
            .map_err(|error| format!("{}: {}", self.path.display(), reason(&error)));
        if text == self.seen {
            return Reading::Same;
        }
        self.seen = text;
        let read = match &self.seen {
            Ok(text) => text::read(text, &self.own).map_err(|problems| {
                let name = self.path.display();
                let told = problems.iter().map(|problem| format!("{name}:{problem}"));
                told.collect()
            }),
            Err(why) => Err(vec![why.clone()]),
        };
        match read {
            Ok(cluster) => {
                self.problems.clear();
                Reading::New(cluster)
            }
            Err(problems) => {
                self.problems = problems;
                Reading::Told
            }
        }
    }

    /// What is wrong in the file now.
    pub(crate) fn findings(&self) -> impl Iterator<Item = Finding> + '_ {
        self.problems.iter().map(|problem| Finding {
            what: problem.clone(),
            hint: "correct the file; until then the node stays as the last right one wanted it"
                .into(),
        })
    }

    /// Watches the folder of the file and, if the file is a symlink, the folder that it leads to. Where a folder is
    /// missing, the nearest one above it tells when it comes.
    fn look(&mut self) {
        let target = std::fs::canonicalize(&self.path).ok();
        let named = std::path::absolute(&self.path).ok();
        for path in named.iter().chain(target.iter()) {
            let mut folders = path.ancestors().skip(1);
            let watch = self.watch.get_mut();
            let found = folders.try_for_each(|folder| match watch.entries(folder) {
                Ok(()) => Err(None),
                Err(error) if error.is_gone() => Ok(()),
                Err(error) => Err(Some(error)),
            });
            if let Err(Some(error)) = found {
                warn!(
                    "{error}; a change of {} is seen by the next round only",
                    path.display()
                );
            }
        }
    }
}

fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "there is no such file".into()
    } else {
        error.to_string()
    }
}
