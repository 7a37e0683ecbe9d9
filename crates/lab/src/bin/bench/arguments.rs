//! What the benchmark is asked to do.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

const USAGE: &str = "type: cargo xtask bench [--reference DIR] [--json FILE] [--check] [--quick]";

/// The arguments.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// Where `podwire-cni` is.
    pub(crate) bin: PathBuf,
    /// Where the plugin is under every name that it answers to.
    pub(crate) cni: PathBuf,
    /// The kernel floor.
    pub(crate) floor: PathBuf,
    /// A folder with the reference plugins `bridge`, `ptp` and `host-local`.
    pub(crate) reference: Option<PathBuf>,
    /// The file that gets all figures.
    pub(crate) json: Option<PathBuf>,
    /// Whether a budget that is not reached is a failure.
    pub(crate) check: bool,
    /// How often each contender is called, one call after another.
    pub(crate) rounds: usize,
    /// How often each contender gets 128 calls, 64 at a time.
    pub(crate) bursts: usize,
}

impl Arguments {
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut bin, mut cni, mut floor, mut reference, mut json) = (None, None, None, None, None);
        let (mut check, mut quick) = (false, false);
        while let Some(word) = words.next() {
            let place = match word.as_str() {
                "--bin" => &mut bin,
                "--cni" => &mut cni,
                "--floor" => &mut floor,
                "--reference" => &mut reference,
                "--json" => &mut json,
                "--check" => {
                    check = true;
                    continue;
                }
                "--quick" => {
                    quick = true;
                    continue;
                }
                other => bail!("unknown argument {other:?}; {USAGE}"),
            };
            let value = words
                .next()
                .with_context(|| format!("{word} needs a value; {USAGE}"))?;
            *place = Some(PathBuf::from(value));
        }
        let built = |path: Option<PathBuf>, option: &str| {
            let path = path.with_context(|| format!("{option} is missing; {USAGE}"))?;
            path.canonicalize()
                .with_context(|| format!("{} is missing: run `cargo xtask dist`", path.display()))
        };
        let reference = reference.map(|path| reference_plugins(&path)).transpose()?;
        let (rounds, bursts) = if quick { (30, 3) } else { (200, 7) };
        Ok(Self {
            bin: built(bin, "--bin")?,
            cni: built(cni, "--cni")?,
            floor: built(floor, "--floor")?,
            reference,
            json,
            check,
            rounds,
            bursts,
        })
    }
}

fn reference_plugins(path: &std::path::Path) -> Result<PathBuf> {
    for name in ["bridge", "ptp", "host-local"] {
        let plugin = path.join(name);
        ensure!(
            plugin.exists(),
            "--reference: {} is missing",
            plugin.display()
        );
    }
    path.canonicalize()
        .with_context(|| format!("--reference {}", path.display()))
}
