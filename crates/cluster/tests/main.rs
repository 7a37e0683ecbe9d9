//! Scenarios on the real cluster; `cargo xtask cluster test [NAME]` runs them, one after another.
//!
//! Each asks for the cluster that it needs by its shape and takes the running one if it is of that shape, so those of one
//! shape stand in one module. Each leaves the cluster as it found it: all nodes on, no objects of its own. What stands in
//! `whole` runs with `--all` only, or when it is named; all else is run by CI as well.

#[cfg(test)]
mod endure;
#[cfg(test)]
mod services;
#[cfg(test)]
mod up;
#[cfg(test)]
mod whole;

/// The cluster of this shape, as `cluster up` understands it.
#[cfg(test)]
fn with(shape: &str) -> anyhow::Result<cluster::Cluster> {
    cluster::Cluster::with(&cluster::Shape::parse(shape.split_whitespace())?)
}
