//! What exists: the nouns of Podwire, as plain data that is checked when it is built.
//!
//! Names, addresses, the CNI wire format, the cluster, kernel objects, and [`change::Change`], the value that stands
//! between deciding (`plan`) and doing (`host`). Nothing here decides, reads a file, asks a clock or knows the kernel's
//! numbers; the crate is built without `std` so that the compiler proves it.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod addr;
pub mod attachment;
pub mod bandwidth;
pub mod change;
pub mod cluster;
pub mod cni;
pub mod firewall;
mod mac;
pub mod name;
pub mod net;
pub mod ports;
pub mod reclaim;
pub mod remains;
pub mod state;
pub mod status;
