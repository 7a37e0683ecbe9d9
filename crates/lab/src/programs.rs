//! Where the built programs are: `cargo xtask dist` leaves them in `dist` of the workspace.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

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
    let programs = Programs {
        plugin: dist.join("bin/podwire-cni"),
        agent: dist.join("bin/podwired"),
        tool: dist.join("bin/podwire"),
        plugins: dist.join("cni"),
    };
    let Programs {
        plugin,
        agent,
        tool,
        plugins,
    } = &programs;
    for path in [plugin, agent, tool, plugins] {
        ensure!(
            path.exists(),
            "{} is missing: run `cargo xtask dist`",
            path.display()
        );
    }
    Ok(Programs {
        plugin: plugin.canonicalize()?,
        agent: agent.canonicalize()?,
        tool: tool.canonicalize()?,
        plugins: plugins.canonicalize()?,
    })
}
