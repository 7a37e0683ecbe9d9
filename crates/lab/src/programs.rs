//! Where the built programs are: `cargo xtask dist` leaves them in `dist` of the workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The programs under test, as users get them.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The CNI plugin.
    pub plugin: PathBuf,
    /// The node agent.
    pub agent: PathBuf,
    /// The operator's tool.
    pub tool: PathBuf,
    /// The directory with the plugin under every name that it answers to: `CNI_PATH`.
    pub plugins: PathBuf,
}

/// Finds the built programs.
///
/// # Errors
/// When one is missing, with the command that builds it.
pub fn programs() -> Result<Programs> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist");
    Programs::in_folders(&dist.join("bin"), &dist.join("cni"))
}

impl Programs {
    /// The programs in these folders: those with a name of their own, and the plugin under its types' names.
    ///
    /// # Errors
    /// When one is missing, with the command that builds it.
    pub fn in_folders(bin: &Path, cni: &Path) -> Result<Self> {
        let found = |path: &Path| {
            let path_shown = path.display();
            path.canonicalize()
                .with_context(|| format!("{path_shown} is missing: run `cargo xtask dist`"))
        };
        Ok(Self {
            plugin: found(&bin.join("podwire-cni"))?,
            agent: found(&bin.join("podwired"))?,
            tool: found(&bin.join("podwire"))?,
            plugins: found(cni)?,
        })
    }
}
