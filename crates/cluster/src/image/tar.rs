//! A tar archive in the form `ustar` (POSIX.1-1988), which every reader of container images knows.
//!
//! Only what an image needs: directories, files, symbolic links, all root's and all from 1970, so that the same input
//! gives the same bytes. Nothing is read from here, and neither long names nor big files have a way around the form's
//! limits: they are refused.

use std::io::Write;

use anyhow::{Context, Result, ensure};

const BLOCK: usize = 512;

/// What an entry is; the content of a file is given beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Directory,
    File,
    /// Leads there.
    Link(&'a str),
}

/// An archive that is being written.
pub(super) struct Archive<W> {
    out: W,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }

    /// Adds an entry; `name` is relative, with no slash at its end.
    pub(super) fn add(
        &mut self,
        name: &str,
        mode: u32,
        kind: Kind<'_>,
        content: &[u8],
    ) -> Result<()> {
        let header = header(name, mode, kind, content.len())
            .with_context(|| format!("put {name} into an archive"))?;
        self.out.write_all(&header)?;
        self.out.write_all(content)?;
        let rest = content.len().next_multiple_of(BLOCK) - content.len();
        self.out.write_all(&[0; BLOCK][..rest])?;
        Ok(())
    }

    /// Two empty blocks are the end.
    pub(super) fn finish(mut self) -> Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn header(name: &str, mode: u32, kind: Kind<'_>, size: usize) -> Result<[u8; BLOCK]> {
    let (letter, target) = match kind {
        Kind::Directory => (b"5", ""),
        Kind::File => (b"0", ""),
        Kind::Link(target) => (b"2", target),
    };
    let name = match kind {
        Kind::Directory => format!("{name}/"),
        Kind::File | Kind::Link(_) => name.to_owned(),
    };
    let (prefix, name) = split(&name)?;
    let mut header = [0; BLOCK];
    text(&mut header[0..100], name)?;
    octal(&mut header[100..108], u64::from(mode))?;
    octal(&mut header[108..116], 0)?;
    octal(&mut header[116..124], 0)?;
    octal(&mut header[124..136], size as u64)?;
    octal(&mut header[136..148], 0)?;
    header[156..157].copy_from_slice(letter);
    text(&mut header[157..257], target)?;
    header[257..265].copy_from_slice(b"ustar\x0000");
    text(&mut header[345..500], prefix)?;
    // The sum is made with spaces in its own place.
    header[148..156].fill(b' ');
    let sum = header.iter().map(|&byte| u64::from(byte)).sum();
    octal(&mut header[148..155], sum)?;
    Ok(header)
}

/// A name of more than 100 bytes is divided at a slash, which neither part keeps.
fn split(name: &str) -> Result<(&str, &str)> {
    if name.len() <= 100 {
        return Ok(("", name));
    }
    name.match_indices('/')
        .map(|(at, _)| (&name[..at], &name[at + 1..]))
        .find(|(prefix, rest)| prefix.len() <= 155 && !rest.is_empty() && rest.len() <= 100)
        .context("the name is too long for the form")
}

fn text(field: &mut [u8], value: &str) -> Result<()> {
    ensure!(
        value.len() <= field.len(),
        "{value} has more than {} bytes",
        field.len()
    );
    field[..value.len()].copy_from_slice(value.as_bytes());
    Ok(())
}

/// Digits up to the last byte, which stays zero.
fn octal(field: &mut [u8], value: u64) -> Result<()> {
    let digits = field.len() - 1;
    let written = format!("{value:0digits$o}");
    ensure!(written.len() == digits, "{value} is too big for the form");
    field[..digits].copy_from_slice(written.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn archive() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(60));
        archive.add("bin", 0o755, Kind::Directory, &[]).unwrap();
        archive
            .add("bin/tool", 0o755, Kind::File, &[b'x'; 513])
            .unwrap();
        archive
            .add("bin/sh", 0o777, Kind::Link("tool"), &[])
            .unwrap();
        archive.add(&long, 0o644, Kind::File, b"").unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn the_systems_own_tar_lists_what_was_put_in() {
        let mut tar = Command::new("tar")
            .args(["--list", "--verbose", "--numeric-owner", "--utc"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&archive()).unwrap();
        let output = tar.wait_with_output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8(output.stdout).unwrap();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = said.lines().map(words).collect();
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(60));
        assert_eq!(
            lines,
            [
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 bin/",
                "-rwxr-xr-x 0/0 513 1970-01-01 00:00 bin/tool",
                "lrwxrwxrwx 0/0 0 1970-01-01 00:00 bin/sh -> tool",
                &format!("-rw-r--r-- 0/0 0 1970-01-01 00:00 {long}"),
            ]
        );
    }

    #[test]
    fn an_archive_is_whole_blocks_and_the_same_each_time() {
        let (one, other) = (archive(), archive());
        assert_eq!(one, other);
        // Four heads, one content of two blocks, two blocks of end.
        assert_eq!(one.len(), 8 * BLOCK);
    }

    #[test]
    fn a_name_that_cannot_be_divided_is_refused() {
        let mut archive = Archive::new(Vec::new());
        let error = archive
            .add(&"n".repeat(101), 0o644, Kind::File, b"")
            .unwrap_err();
        assert!(format!("{error:#}").contains("too long"), "{error:#}");
    }
}
