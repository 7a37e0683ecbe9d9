//! Go's own program: whether it is there and new enough, and how it is called.
//!
//! Where modules come from (GOPROXY and its like) is the user's business. GOCACHE and GOMODCACHE are ours unless the user
//! has set them: several gigabytes that go together with the cluster.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::module;
use crate::progress::say;
use crate::{Place, process, version};

/// For one call, which may fetch a thousand modules or compile all of Kubernetes on a slow machine.
const WITHIN: Duration = Duration::from_secs(2 * 3600);

/// A compiler that is new enough.
pub(super) struct Go {
    caches: Vec<(&'static str, PathBuf)>,
}

impl Go {
    /// Finds it on PATH.
    pub(super) fn find(place: &Place) -> Result<Self> {
        let ours = [("GOCACHE", place.gocache()), ("GOMODCACHE", place.gomod())];
        let unset = ours
            .into_iter()
            .filter(|(name, _)| env::var_os(name).is_none());
        let go = Self {
            caches: unset.collect(),
        };
        // In a module that asks for the version: a Go that fetches newer ones of itself answers with what it would use.
        let folder = place.root().join("build");
        module::put(&folder, "go.mod", &module::head())?;
        let wanted = numbers(version::GO);
        match go.ask(&folder, &["env", "GOVERSION"]) {
            Ok(answer) if numbers(&answer) >= wanted => Ok(go),
            Ok(answer) => bail!("{}", advice(&format!("this is {}", answer.trim()))),
            Err(error) => Err(error).context(advice("there is none that can be used")),
        }
    }

    /// What it answers.
    pub(super) fn ask(&self, folder: &Path, arguments: &[&str]) -> Result<String> {
        process::feed_within(WITHIN, self.command(folder).args(arguments), "")
    }

    /// Shows the command and runs it; its progress is passed on, but for a line for each of a thousand modules.
    pub(super) fn run(&self, folder: &Path, arguments: &[String], c: bool) -> Result<()> {
        let mut command = self.command(folder);
        command
            .args(arguments)
            .env("CGO_ENABLED", if c { "1" } else { "0" })
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let shown = process::shown(&command);
        say(format!("$ cd {} && {shown}", folder.display()));
        let mut child = command.spawn().with_context(|| format!("start {shown}"))?;
        let lines = child.stderr.take().map(BufReader::new);
        let teller = thread::spawn(move || {
            let lines = lines.into_iter().flat_map(BufReader::lines);
            lines
                .map_while(Result::ok)
                .filter(|line| !line.starts_with("go: downloading "))
                .for_each(say);
        });
        let status = process::ended(&mut child, &shown, WITHIN)?;
        // Its last words come before the error.
        if let Err(panic) = teller.join() {
            std::panic::resume_unwind(panic);
        }
        if !status.success() {
            bail!("{shown}: {status}");
        }
        Ok(())
    }

    fn command(&self, folder: &Path) -> Command {
        // Minutes of all processors: whoever works beside it comes first.
        let mut command = Command::new("nice");
        command
            .args(["-n", "5", "go"])
            .current_dir(folder)
            .env("GOWORK", "off")
            .envs(self.caches.iter().map(|(name, path)| (name, path)));
        command
    }
}

fn advice(there: &str) -> String {
    let wanted = version::GO;
    format!(
        "Go {wanted} or newer is needed to build the cluster, and {there}; unpack the archive for Linux from go.dev/dl \
         into /usr/local, then type: PATH=/usr/local/go/bin:$PATH cargo xtask cluster build"
    )
}

/// Major, minor and patch of `go1.26.8`, `1.26.0`, `go1.27rc1` or `devel go1.28-9c3ba2f`; nothing where there are none.
fn numbers(text: &str) -> Option<(u32, u32, u32)> {
    let is_version = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
    let mut words = text.split_whitespace();
    let version = words
        .by_ref()
        .map(|word| word.trim_start_matches("go"))
        .find(is_version)?;
    let mut numbers = version.split('.').map(|word| {
        let end = word.find(|c: char| !c.is_ascii_digit());
        word[..end.unwrap_or(word.len())].parse().ok()
    });
    let mut next = || numbers.next().flatten();
    Some((next()?, next()?, next().unwrap_or(0)))
}

/// Where a module's files are.
pub(super) fn module_folder(go: &Go, folder: &Path, module: &str) -> Result<PathBuf> {
    let answer = go.ask(
        folder,
        &["list", "-m", "-mod=mod", "-f", "{{.Dir}}", module],
    )?;
    let path = PathBuf::from(answer.trim());
    fs::metadata(&path)
        .with_context(|| format!("look at the files of {module}, {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_every_form_that_go_gives_it() {
        for (text, expected) in [
            ("go1.26.8\n", Some((1, 26, 8))),
            ("1.26.0", Some((1, 26, 0))),
            ("go1.26", Some((1, 26, 0))),
            ("go1.27rc1", Some((1, 27, 0))),
            ("devel go1.28-9c3ba2f Tue Nov 24", Some((1, 28, 0))),
            ("go1.26.8 X:jsonv2", Some((1, 26, 8))),
            ("", None),
            ("unknown", None),
        ] {
            assert_eq!(numbers(text), expected, "{text}");
        }
    }

    #[test]
    fn an_older_go_is_older_though_its_number_has_more_digits() {
        assert!(numbers("go1.9.7") < numbers(version::GO));
        assert!(numbers("go1.25.10") < numbers("go1.26.0"));
        assert!(numbers("nothing") < numbers(version::GO));
    }
}
