//! What should be: decisions as pure functions from `model` to `model`.
//!
//! Which address a pod gets, how it is wired, what our table holds, where other people's firewalls need a rule, which routes
//! lead to the other nodes, and the difference between all that and what was observed. No clock, no file, no kernel: the
//! crate is built without `std`, and everything it decides can be printed and compared.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod after;
pub mod bandwidth;
pub mod bridge;
pub mod check;
pub mod conflist;
pub mod diff;
pub mod foreign;
pub mod ipam;
pub mod loopback;
pub mod masquerade;
pub mod mend;
pub mod mesh;
pub mod node;
pub mod order;
pub mod ports;
pub mod reclaim;
pub mod uninstall;
pub mod wire;
