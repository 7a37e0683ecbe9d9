//! Helm, for whoever installs by the chart: built when it is first asked for.
//!
//! It runs as kubectl does, in the control plane's network and as the administrator.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::build::{self, HELM};
use crate::cluster::Cluster;
use crate::process::run;

/// Runs it, and gives what it wrote.
///
/// # Errors
/// When it cannot be built, or fails, with what it said.
pub fn helm(cluster: &Cluster, words: &[&str]) -> Result<String> {
    let place = cluster.place();
    if !build::holds(place, HELM) {
        build::build(place, &[HELM.to_owned()])?;
    }
    let mut command = cluster.outside().in_network(&place.program(HELM)?)?;
    // It keeps nothing of the user's, and reads nothing.
    let own = place.run().join("helm");
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(name, &own);
    }
    command.env("KUBECONFIG", cluster.kubeconfig());
    run(command.args(words))
}

/// Podwire's chart.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/helm/podwire")
}
