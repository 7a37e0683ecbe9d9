//! How a program gets network and mount namespaces of its own here.
//!
//! `unshare --mount` makes every mount private (its `--propagation` default), so that nothing that a test mounts is seen
//! outside, and the namespaces go when their last process goes: the machine is left as it was. Without root a user
//! namespace lends the rights. What happens inside is the business of the program.

use std::process::Command;

use anyhow::{Result, bail};

use crate::install::{self, Program};
use crate::shell::succeeds;

const UNSHARE: Program = Program {
    name: "unshare",
    package: "util-linux",
};

const AS_ROOT: &[&str] = &["unshare", "-nm", "--"];
const AS_USER: &[&str] = &["unshare", "-Urnm", "--"];

/// The words to put before a command so that it runs in fresh namespaces, tried with `true`.
pub(crate) fn runner() -> Result<&'static [&'static str]> {
    install::programs(&[UNSHARE])?;
    let candidates: &[&[&str]] = if install::is_root() {
        &[AS_ROOT, AS_USER]
    } else {
        &[AS_USER]
    };
    match candidates
        .iter()
        .find(|words| succeeds(Command::new(words[0]).args(&words[1..]).arg("true")))
    {
        Some(words) => Ok(words),
        None if install::is_root() => bail!(
            "this root may not create namespaces (`unshare -nm true` fails); \
             in a container, start it with: docker run --privileged"
        ),
        None => bail!(
            "user namespaces are off (`unshare -Urnm true` fails); run this as root, or type: \
             sudo sysctl -e -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
        ),
    }
}

/// A command that makes its own namespaces: run directly by root, else with the rights of a user namespace.
pub(crate) fn command(program: &str) -> Result<Command> {
    if install::is_root() {
        return Ok(Command::new(program));
    }
    let words = runner()?;
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(program);
    Ok(command)
}
