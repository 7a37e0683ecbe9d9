//! Laws that hold for every cluster and every node: one round brings a node in order, equals have no difference, a crash at
//! any change loses nothing, and nobody else's rule is ever touched.
//!
//! `world` makes clusters of up to eight nodes and a node with a past: an earlier cluster, lost routes, half a table.

mod diff;
mod foreign;
mod node;
mod order;
mod ports;
mod uninstall;
mod world;

use proptest::test_runner::{Config, RngAlgorithm};

/// 256 cases each (`PROPTEST_CASES` sets another number), from a generator that is fast without optimisation. A find is
/// printed in its smallest form and becomes an ordinary test; no file is written for it.
fn cases() -> Config {
    Config {
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::XorShift,
        ..Config::default()
    }
}
