//! Where the reader stands in the agent, which is a program and cannot be linked to.

use std::net::IpAddr;

pub(crate) const NETWORK: &str = "podwire";

/// A stand-in: which addresses a node may have is decided beside the reader.
pub(crate) fn is_node_address(ip: IpAddr) -> bool {
    !ip.is_loopback()
}

#[allow(dead_code, reason = "what the agent's own tests and messages need")]
#[path = "../../../crates/agent/src/source/file"]
pub(crate) mod file {
    pub(crate) mod text;
}
