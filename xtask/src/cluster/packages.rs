//! What the cluster takes from Debian: to compile its programs and to fill its images.
//!
//! Go is not among them: Debian's may be too old, and `cluster build` says what to do. What runs on the nodes is asked for
//! by the verbs that run them.

use anyhow::Result;

use crate::install::{self, Program};

const NEEDED: [Program; 14] = [
    // runc is the one Go program with C in it; the process that holds a pod's namespaces is all C.
    of("gcc", "gcc"),
    of("/usr/include/stdlib.h", "libc6-dev"),
    of("pkg-config", "pkg-config"),
    of("/usr/include/seccomp.h", "libseccomp-dev"),
    // In the image that the tests' pods run.
    of("bash", "bash"),
    of("busybox", "busybox-static"),
    of("curl", "curl"),
    of("dig", "bind9-dnsutils"),
    of("getent", "libc-bin"),
    of("iperf", "iperf"),
    of("ip", "iproute2"),
    of("nc.openbsd", "netcat-openbsd"),
    of("socat", "socat"),
    of("wget", "wget"),
];

const fn of(name: &'static str, package: &'static str) -> Program {
    Program { name, package }
}

/// Makes sure that all is there.
pub(super) fn install() -> Result<()> {
    install::programs(&NEEDED)
}
