//! Type `loopback`: brings a container's own loopback up and down. All its verbs: none is longer than a few lines.
//!
//! Runtimes attach it to every container beside the pod's network, at the same time. There is one loopback in a namespace,
//! so the interface's name in the call is not looked at, and nothing is recorded: the namespace itself is the state, and GC
//! and STATUS have nothing to do. CNI specification 0.1.0 to 1.1.0.

use crate::answer::{Answer, kernel};
use crate::log::Trace;
use host::netns::{Netns, NetnsError};
use host::rtnl::Rtnl;
use model::change::Change;
use model::cni::{Call, CniError, Code, Valid, Verb, Version, hand_on};
use model::name::IfName;
use std::path::Path;

pub(crate) fn run(call: &Call, conf: &Valid, trace: &mut Trace) -> Result<Answer, CniError> {
    match call.verb {
        Verb::Add => return add(call, conf, trace),
        Verb::Del => del(call)?,
        Verb::Check => check(call, conf)?,
        Verb::Gc => conf.must_know("GC", Version::V1_1_0)?,
        Verb::Status => conf.must_know("STATUS", Version::V1_1_0)?,
        Verb::Version => {}
    }
    Ok(Answer::Nothing)
}

fn add(call: &Call, conf: &Valid, trace: &mut Trace) -> Result<Answer, CniError> {
    // Refused input changes nothing.
    let previous = conf.previous.as_ref();
    let handed_on = previous
        .map(|previous| hand_on(previous, conf.version))
        .transpose()?;
    let path = path(call);
    let mut inside = enter(&Netns::open(Path::new(path)).map_err(|why| unusable(path, &why))?)?;
    trace.step("open");
    let up = inside.apply(&[Change::SetUp(IfName::lo())], None);
    up.ok().map_err(|error| kernel(&error))?;
    trace.step("up");
    if let Some(result) = handed_on {
        return Ok(Answer::Object(result));
    }
    // The kernel has given it its addresses by now.
    let addresses = inside
        .addresses_of(&IfName::lo())
        .map_err(|error| kernel(&error))?;
    trace.step("addresses");
    let result = plan::loopback::answer(path, &addresses);
    Ok(Answer::Object(result.to_json(conf.version)))
}

fn del(call: &Call) -> Result<(), CniError> {
    let path = path(call);
    let netns = match Netns::open(Path::new(path)) {
        Ok(netns) => netns,
        // What is gone has no loopback, and that of the node is nobody's to take.
        Err(NetnsError::Gone(_) | NetnsError::NotOne(_) | NetnsError::Own(_)) => return Ok(()),
        Err(why @ NetnsError::Other(_)) => return Err(unusable(path, &why)),
    };
    let down = enter(&netns)?.apply(&[Change::SetDown(IfName::lo())], None);
    down.ok().map_err(|error| kernel(&error))
}

fn check(call: &Call, conf: &Valid) -> Result<(), CniError> {
    conf.must_know("CHECK", Version::V0_4_0)?;
    let path = path(call);
    let netns = Netns::open(Path::new(path)).map_err(|why| unusable(path, &why))?;
    let lo = enter(&netns)?
        .link(&IfName::lo())
        .map_err(|error| kernel(&error))?;
    if lo.is_some_and(|lo| lo.up) {
        return Ok(());
    }
    let msg = format!("lo is down in {path}");
    Err(CniError::new(Code::Different, msg))
}

fn path(call: &Call) -> &str {
    call.netns.as_deref().unwrap_or_default()
}

fn enter(netns: &Netns) -> Result<Rtnl, CniError> {
    netns
        .enter(Rtnl::open)
        .and_then(|opened| opened)
        .map_err(|error| kernel(&error))
}

fn unusable(path: &str, why: &NetnsError) -> CniError {
    CniError::new(Code::Netns, format!("CNI_NETNS {path:?}: {why}"))
}
