//! A machine that is short of something: space or inodes for the state, a writable `/run`, IPv6, nf_tables.
//!
//! Every verb of every type answers in words or does its work. An ADD that failed has left nothing, and once the machine is
//! well again a DEL finds nothing that it cannot remove.

use std::fs;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use serde_json::Value;

use super::{Caller, Type, is_civil, said};

const FOLDER: &str = "/run/podwire";

impl Caller {
    /// Gives the state a file system of its own with these options.
    fn confine(&self, options: &str) -> Result<()> {
        self.node.attempt(|| {
            fs::create_dir_all(FOLDER)?;
            let options = std::ffi::CString::new(options)?;
            let flags = MountFlags::empty();
            mount("tmpfs", FOLDER, "tmpfs", flags, options.as_c_str()).context("mount a tmpfs")
        })
    }

    fn release(&self) -> Result<()> {
        self.node.attempt(|| {
            unmount(FOLDER, UnmountFlags::DETACH)?;
            Ok(fs::remove_dir_all(FOLDER)?)
        })
    }

    fn read_only(&self, is: bool) -> Result<()> {
        let mut flags = MountFlags::BIND;
        flags.set(MountFlags::RDONLY, is);
        self.node
            .attempt(|| mount_remount("/run", flags, c"").context("remount /run"))
    }

    /// An ADD, and what must be after it; whether it was served.
    fn attempt(&self) -> Result<bool> {
        let answer = self.call("ADD", &Value::Null)?;
        is_civil(&answer)?;
        if answer.code == Some(0) {
            return Ok(true);
        }
        let left = self.left()?;
        ensure!(left.is_empty(), "{answer:?} left {left:?}");
        Ok(false)
    }

    /// All verbs of a pod that is there, on a machine that is short; what each answers is its own affair.
    fn verbs(&self, told: &Value) -> Result<()> {
        for verb in ["CHECK", "STATUS", "VERSION", "ADD", "DEL", "GC"] {
            is_civil(&self.call(verb, told)?).with_context(|| verb.to_owned())?;
        }
        Ok(())
    }
}

fn each(what: &str, story: impl Fn(&Caller) -> Result<()> + Sync) -> Result<()> {
    for kind in Type::ALL {
        Lab::scenario(|lab| story(&Caller::new(lab, kind)?))
            .with_context(|| format!("{kind:?}, {what}"))?;
    }
    Ok(())
}

/// With a little more each time, until there is enough: so each write of an ADD is the one that fails.
fn grows(caller: &Caller, option: impl Fn(usize) -> String, most: usize) -> Result<()> {
    for step in 1..=most {
        let options = option(step);
        caller.confine(&options)?;
        let served = caller.attempt().with_context(|| options.clone())?;
        caller
            .verbs(&Value::Null)
            .with_context(|| options.clone())?;
        caller.end().with_context(|| options.clone())?;
        caller.release()?;
        if served {
            println!("{:?}: served with {options}", caller.kind);
            return Ok(());
        }
    }
    anyhow::bail!("{most} are not enough")
}

#[test]
fn with_too_few_inodes_nothing_is_left_of_any_type() -> Result<()> {
    each("inodes", |caller| {
        grows(caller, |n| format!("nr_inodes={n}"), 24)
    })
}

#[test]
fn with_too_little_space_nothing_is_left_of_any_type() -> Result<()> {
    each("space", |caller| {
        grows(caller, |n| format!("size={}k", 4 * n), 24)
    })
}

#[test]
fn a_folder_that_fills_up_keeps_no_pod_from_going() -> Result<()> {
    each("full", |caller| {
        caller.confine("size=128k,nr_inodes=64")?;
        let told = caller.add()?;
        caller.node.attempt(|| {
            let mut number = 0;
            while fs::write(format!("{FOLDER}/fill{number}"), [1; 4096]).is_ok() {
                number += 1;
            }
            while fs::create_dir(format!("{FOLDER}/fill{number}")).is_ok() {
                number += 1;
            }
            Ok(())
        })?;
        is_civil(&caller.call("CHECK", &told)?)?;
        caller.call("STATUS", &told)?.ok().context("STATUS")?;
        caller.end()?;
        caller.verbs(&told)?;
        caller.end()
    })
}

#[test]
fn with_run_read_only_every_verb_answers_and_nothing_is_left() -> Result<()> {
    each("read-only", |caller| {
        caller.read_only(true)?;
        caller.attempt()?;
        caller.verbs(&Value::Null)?;
        caller.read_only(false)?;
        caller.end()?;
        let told = caller.add()?;
        caller.read_only(true)?;
        caller.call("STATUS", &told)?.ok().context("STATUS")?;
        caller.verbs(&told)?;
        caller.read_only(false)?;
        caller.end()
    })
}

/// Switched off for all links, and for those that come.
#[test]
fn without_ipv6_every_type_serves_ipv4_and_refuses_the_rest_whole() -> Result<()> {
    each("no IPv6", |caller| {
        let off = || -> Result<()> {
            for link in ["all", "default"] {
                let file = format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6");
                fs::write(&file, "1").context(file)?;
            }
            Ok(())
        };
        caller.node.attempt(off)?;
        caller.pod.attempt(off)?;
        serves_ipv4(caller)?;
        // And as in a kernel that was built without.
        caller.node.attempt(|| {
            let (name, flags) = ("/proc/sys/net/ipv6", MountFlags::empty());
            mount("tmpfs", name, "tmpfs", flags, None).context("hide IPv6")
        })?;
        serves_ipv4(caller)
    })
}

fn serves_ipv4(caller: &Caller) -> Result<()> {
    let served = caller.attempt()?;
    let needs_no_ipv6 = match caller.kind {
        Type::BashCni | Type::Portmap | Type::HostLocal | Type::Loopback => true,
        Type::Podwire | Type::Bridge => false,
    };
    ensure!(served || !needs_no_ipv6, "it was not served");
    println!("{:?}: served: {served}", caller.kind);
    caller.verbs(&Value::Null)?;
    caller.end()
}

/// A kernel without them gives no socket to ask with.
#[test]
fn without_nf_tables_what_needs_them_is_refused_and_nothing_is_left() -> Result<()> {
    each("no nf_tables", |caller| {
        let options = ["-o", "/run/trace", "--trace=socket"];
        caller.traced("ADD", &Value::Null, &options)?.ok()?;
        caller.end()?;
        let trace = caller
            .node
            .attempt(|| Ok(fs::read_to_string("/run/trace")?))?;
        let mut sockets = trace.lines();
        let Some(first) = sockets.position(|line| line.contains("NETLINK_NETFILTER")) else {
            let needs_none = matches!(caller.kind, Type::HostLocal | Type::Loopback);
            ensure!(needs_none, "it asked for no nf_tables:\n{trace}");
            return Ok(());
        };
        // As the call found the node before.
        said(&caller.node, "nft flush ruleset")?;
        caller.node.attempt(|| Ok(fs::remove_dir_all(FOLDER)?))?;
        let inject = format!("--inject=socket:error=EPROTONOSUPPORT:when={}+", first + 1);
        let options = ["-o", "/dev/null", "--trace=socket", &inject];
        let answer = caller.traced("ADD", &Value::Null, &options)?;
        is_civil(&answer)?;
        ensure!(
            answer.stdout.contains("Protocol not supported"),
            "{answer:?}"
        );
        let left = caller.left()?;
        ensure!(left.is_empty(), "{answer:?} left {left:?}");
        caller.end()
    })
}
