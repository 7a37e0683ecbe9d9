//! The CNI configuration that the agent writes for the runtime.
//!
//! `cniVersion` is one that every runtime in use knows; newer ones find 1.1.0 in `cniVersions` and then ask for STATUS and
//! GC too (CNI specification, "Network configuration format"). What others have put into the file beside ours stays
//! (`model::cni::renewed`).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ipnet::IpNet;
use model::addr::PodRange;
use model::name::NetworkName;

/// The file's text. `prefixes` hold all pods of the cluster; `mtu` is the pods' MTU in bytes.
#[must_use]
pub fn conflist(
    network: &NetworkName,
    ranges: &[PodRange],
    prefixes: &[IpNet],
    mtu: Option<u32>,
) -> String {
    let ranges = list(ranges.iter().map(PodRange::to_string));
    let prefixes = list(prefixes.iter().map(IpNet::to_string));
    let mtu = mtu
        .map(|mtu| format!(",\n      \"mtu\": {mtu}"))
        .unwrap_or_default();
    // Names and prefixes hold no character that JSON would have to escape.
    format!(
        r#"{{
  "cniVersion": "1.0.0",
  "cniVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
  "name": "{network}",
  "plugins": [
    {{
      "type": "podwire",
      "capabilities": {{"bandwidth": true, "ipRanges": true, "ips": true, "mac": true, "portMappings": true}},
      "ranges": {ranges},
      "network": {prefixes}{mtu}
    }}
  ]
}}
"#
    )
}

fn list(items: impl Iterator<Item = String>) -> String {
    let quoted: Vec<String> = items.map(|item| format!("\"{item}\"")).collect();
    format!("[{}]", quoted.join(", "))
}
