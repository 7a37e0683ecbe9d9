//! The tests of `plan` as one program: text in and text out (`golden`), and laws over random clusters and nodes (`laws`).
//!
//! `given` reads a cluster, a node and a configuration from a few lines of text; `kernel` says what a node would show
//! after changes were applied to it. `protocol` tries every order of the steps of ADD, DEL and GC,
//! `reclaim` every order of events in the life of a record. Nothing touches a machine.

#[cfg(test)]
mod given;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod kernel;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod reclaim;
