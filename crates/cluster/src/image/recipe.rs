//! What is in the images of others.
//!
//! Upstream's images have a whole distribution below these programs; here the machine's own do. What Kubernetes' tests call
//! inside of them is known from its `test/images/agnhost/Dockerfile`; the registry that it fakes is left out.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::library;
use super::tree::Tree;
use crate::process;

/// Called by the tests of pods, and by Kubernetes' own. `nc` is the one whose options these use.
const TOOLS: [(&str, &str); 10] = [
    ("bash", "bash"),
    ("curl", "curl"),
    ("dig", "dig"),
    ("getent", "getent"),
    ("iperf", "iperf"),
    ("ip", "ip"),
    ("nc", "nc.openbsd"),
    ("socat", "socat"),
    ("ss", "ss"),
    // Debian's busybox is static and breaks off where its wget asks for a name.
    ("wget", "wget"),
];

/// A user and a group that one of Kubernetes' tests looks for.
const USERS: &str = "root:x:0:0:root:/:/bin/sh\n\
                     user-defined-in-image:x:1000:1000::/:/bin/sh\n";
const GROUPS: &str = "root:x:0:\n\
                      user-defined-in-image:x:1000:\n\
                      group-defined-in-image:x:50000:user-defined-in-image\n";

/// One program, and nothing else.
pub(super) fn alone(name: &str, program: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.program(name, program)?;
    Ok(tree)
}

/// The machine's tools with their libraries, and busybox for all others.
pub(super) fn tools() -> Result<Tree> {
    let mut tree = Tree::default();
    tree.directory("/tmp", 0o1777)?;
    tree.text("/etc/passwd", USERS)?;
    tree.text("/etc/group", GROUPS)?;
    busybox(&mut tree)?;
    for (name, program) in TOOLS {
        with_libraries(
            &mut tree,
            &format!("/usr/bin/{name}"),
            &library::program(program)?,
        )?;
    }
    // The shell of busybox would run its own nc, whatever PATH says.
    tree.link("/bin/sh", "../usr/bin/bash")?;
    Ok(tree)
}

/// Adds what makes it Kubernetes' image for all purposes; `share` has the certificate of its port server.
pub(super) fn agnhost(tree: &mut Tree, program: &Path, share: &Path) -> Result<()> {
    tree.program("/agnhost", program)?;
    // Asked for by the tests of entry points.
    tree.link("/agnhost-2", "agnhost")?;
    tree.directory("/uploads", 0o755)?;
    for name in ["localhost.crt", "localhost.key"] {
        tree.copy(&format!("/{name}"), &share.join(name), 0o644)?;
    }
    Ok(())
}

/// Adds the server of names that Kubernetes' tests of DNS start in it.
pub(super) fn names(tree: &mut Tree, program: &Path) -> Result<()> {
    tree.program("/coredns", program)
}

/// A shell, and all that busybox is.
pub(super) fn small() -> Result<Tree> {
    let mut tree = Tree::default();
    tree.directory("/tmp", 0o1777)?;
    tree.text("/etc/passwd", USERS)?;
    busybox(&mut tree)?;
    Ok(tree)
}

/// Adds what makes it the image that resolves names as glibc does.
pub(super) fn glibc(tree: &mut Tree) -> Result<()> {
    tree.text("/etc/nsswitch.conf", "hosts: files dns\n")
}

fn busybox(tree: &mut Tree) -> Result<()> {
    let program = library::program("busybox")?;
    with_libraries(tree, "/bin/busybox", &program)?;
    let names = process::run(Command::new(&program).arg("--list"))?;
    for name in names.lines().filter(|name| *name != "busybox") {
        tree.link(&format!("/bin/{name}"), "busybox")?;
    }
    Ok(())
}

fn with_libraries(tree: &mut Tree, path: &str, program: &Path) -> Result<()> {
    tree.program(path, program)?;
    for library in library::libraries(program)? {
        let path = library.to_string_lossy().into_owned();
        if !tree.has(&path) {
            tree.program(&path, &library)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_comes_with_the_loader_that_it_names() {
        let mut tree = Tree::default();
        let getent = library::program("getent").unwrap();
        with_libraries(&mut tree, "/usr/bin/getent", &getent).unwrap();
        let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
        assert!(loaders.iter().any(|loader| tree.has(loader)));
    }
}
