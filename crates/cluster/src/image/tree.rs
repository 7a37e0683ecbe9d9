//! The files of an image, in memory until they are a layer.
//!
//! Directories above an entry come by themselves; entries are kept in the order of their names, so that neither the order of
//! the recipe nor the source's times and owners are seen in the layer.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::tar::{Archive, Kind};

enum Entry {
    Directory { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Link { target: String },
}

/// What `/` of a container will be.
#[derive(Default)]
pub(super) struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// An empty directory, or one of another mode than the usual.
    pub(super) fn directory(&mut self, path: &str, mode: u32) -> Result<()> {
        self.put(path, Entry::Directory { mode })
    }

    /// A program of the machine.
    pub(super) fn program(&mut self, path: &str, source: &Path) -> Result<()> {
        self.copy(path, source, 0o755)
    }

    /// A file of the machine.
    pub(super) fn copy(&mut self, path: &str, source: &Path, mode: u32) -> Result<()> {
        let content = fs::read(source).with_context(|| format!("read {}", source.display()))?;
        self.put(path, Entry::File { mode, content })
    }

    /// A file with this content.
    pub(super) fn text(&mut self, path: &str, content: &str) -> Result<()> {
        let content = content.as_bytes().to_vec();
        let mode = 0o644;
        self.put(path, Entry::File { mode, content })
    }

    /// A symbolic link; whatever was there is replaced.
    pub(super) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let target = target.to_owned();
        self.put(path, Entry::Link { target })
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(relative(path))
    }

    /// The layer: one archive, not compressed, because it goes from one folder of a machine to another.
    pub(super) fn layer(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::new(Vec::new());
        for (path, entry) in &self.entries {
            match entry {
                Entry::Directory { mode } => archive.add(path, *mode, Kind::Directory, &[]),
                Entry::File { mode, content } => archive.add(path, *mode, Kind::File, content),
                Entry::Link { target } => archive.add(path, 0o777, Kind::Link(target), &[]),
            }?;
        }
        archive.finish()
    }

    fn put(&mut self, path: &str, entry: Entry) -> Result<()> {
        let path = relative(path);
        for (at, _) in path.match_indices('/') {
            let above = self
                .entries
                .entry(path[..at].to_owned())
                .or_insert(Entry::Directory { mode: 0o755 });
            ensure!(
                matches!(above, Entry::Directory { .. }),
                "{path} of an image lies below something that is no directory"
            );
        }
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_does_not_show_in_which_order_its_tree_was_made() {
        let (mut one, mut other) = (Tree::default(), Tree::default());
        one.text("/etc/passwd", "root").unwrap();
        one.link("/bin/sh", "bash").unwrap();
        other.link("/bin/sh", "bash").unwrap();
        other.text("/etc/passwd", "root").unwrap();
        assert_eq!(one.layer().unwrap(), other.layer().unwrap());
    }

    #[test]
    fn the_directories_above_a_file_stand_before_it() {
        let mut tree = Tree::default();
        tree.text("/a/b/c", "").unwrap();
        let paths: Vec<_> = tree.entries.keys().map(String::as_str).collect();
        assert_eq!(paths, ["a", "a/b", "a/b/c"]);
    }

    #[test]
    fn nothing_lies_below_a_link() {
        let mut tree = Tree::default();
        tree.link("/lib", "usr/lib").unwrap();
        assert!(tree.text("/lib/libc.so.6", "").is_err());
    }
}
