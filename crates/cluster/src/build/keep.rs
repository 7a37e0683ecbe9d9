//! What is taken from Kubernetes' module beside its Go programs, so that the module's cache may be thrown away.
//!
//! The process that holds a pod's namespaces is a page of C; the list of images and the certificate are used when images are
//! made. All is as upstream has it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{Place, process};

/// Below `bin`.
const SHARE: &str = "share";
/// Under which names Kubernetes' tests ask for images.
pub(crate) const IMAGES: &str = "manifest.go";

/// All that is here afterwards, below `bin`.
pub(super) const FILES: [&str; 4] = [
    "pause",
    "share/manifest.go",
    "share/localhost.crt",
    "share/localhost.key",
];

/// Below Kubernetes' module.
const COPIED: [&str; 3] = [
    "test/utils/image/manifest.go",
    "test/images/agnhost/porter/localhost.crt",
    "test/images/agnhost/porter/localhost.key",
];
const PAUSE: &str = "build/pause/linux/pause.c";

/// Where the copies are.
pub(crate) fn share(place: &Place) -> std::path::PathBuf {
    place.bin().join(SHARE)
}

/// Copies and compiles from the files of Kubernetes' module.
pub(super) fn keep(place: &Place, module: &Path) -> Result<()> {
    let share = share(place);
    fs::create_dir_all(&share).with_context(|| format!("make {}", share.display()))?;
    for path in COPIED {
        let source = module.join(path);
        let target = share.join(source.file_name().unwrap_or_default());
        // The copy of a read-only file could not be replaced.
        fs::read(&source)
            .and_then(|content| fs::write(&target, content))
            .with_context(|| format!("copy {} to {}", source.display(), target.display()))?;
    }
    // Static: its image has no libraries.
    let mut gcc = Command::new("gcc");
    gcc.args(["-Os", "-static", "-s", "-o"])
        .arg(place.bin().join("pause"))
        .arg(module.join(PAUSE));
    process::run(&mut gcc).map(drop)
}
