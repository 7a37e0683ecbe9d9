//! Cases that cannot pass, and why: what they look at is the reference's own way, or something that is not served.
//!
//! A case of this table that passes is counted as passed.

use super::report::Case;
use super::table::Suite;

/// A driver that the kernel lacks, or a file that the module lacks.
pub(super) const REFERENCE_TOO: &str = "fails here with the reference plugins as well";

const LEFT_BRIDGE: &str =
    "looks at the bridge that an ADD has left which failed; here nothing is left";

/// Suite, part of a case's name, reason.
const TABLE: &[(&str, &str, &str)] = &[
    (
        "bridge-within",
        "vlan",
        "keys of VLANs are refused by name: no bridge filters by VLAN here",
    ),
    (
        "bridge-within",
        "ipMasq rules with ipMasqBackend",
        "looks for a chain of iptables or a table of the reference's; here it is an element of ours",
    ),
    (
        "bridge-within",
        "mac spoof-check",
        "looks for the reference's rules; here the port itself is locked",
    ),
    (
        "bridge-within",
        "checks ip release in case of error",
        "sets a variable inside of the plugin",
    ),
    (
        "bridge-within",
        "[0.1.0] (3) configures and deconfigures a bridge and veth with default route with ADD/DEL",
        LEFT_BRIDGE,
    ),
    (
        "bridge-within",
        "[0.2.0] (3) configures and deconfigures a bridge and veth with default route with ADD/DEL",
        LEFT_BRIDGE,
    ),
    (
        "bridge-within",
        "[0.1.0] configures and deconfigures a l2 bridge",
        LEFT_BRIDGE,
    ),
    (
        "bridge-within",
        "[0.2.0] configures and deconfigures a l2 bridge",
        LEFT_BRIDGE,
    ),
    (
        "bridge-within",
        "[0.1.0] should set the container veth peer",
        LEFT_BRIDGE,
    ),
    (
        "bridge-within",
        "[0.2.0] should set the container veth peer",
        LEFT_BRIDGE,
    ),
    ("bridge-within", "[0.1.0] when port-isolation", LEFT_BRIDGE),
    ("bridge-within", "[0.2.0] when port-isolation", LEFT_BRIDGE),
    (
        "host-local-within",
        "ignores whitespace in disk files",
        "a container id with white space, which the specification forbids and the reference's program refuses too",
    ),
    (
        "portmap",
        "forwards a TCP port on ipv4",
        "looks for a chain of iptables; that packets get through is seen in portmap-within",
    ),
];

/// Why this case cannot pass, if that is known.
pub(super) fn reason(suite: &Suite, case: &Case) -> Option<&'static str> {
    let is_it =
        |(name, part, _): &&(&str, &str, &str)| *name == suite.name && case.name.contains(part);
    TABLE.iter().find(is_it).map(|(_, _, reason)| *reason)
}

/// The suites that are named.
#[cfg(test)]
pub(super) fn suites() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _, _)| *name)
}
