//! CHECK: whether the attachment stands as ADD left it.
//!
//! Some runtimes ask milliseconds after every ADD, and a difference fails the pod. What was found is compared with the plan
//! by `plan::check`; here stand the questions to the kernel and to the state folder.

use crate::answer::{kernel, state};
use crate::del::{self, node_end};
use crate::log::Trace;
use crate::{delegate, ports, reserved};
use host::netns::Netns;
use host::rtnl::Rtnl;
use host::store::{ROOT, Store};
use model::attachment::Attachment;
use model::cni::{Call, CniError, Code, Valid, Version, hand_on, told};
use serde_json::Value;
use std::path::Path;

/// CHECK of the types that make an interface.
pub(crate) fn run(call: &Call, conf: &Valid, trace: &mut Trace) -> Result<(), CniError> {
    check(call, conf, trace)?;
    delegate::pass("CHECK", conf)
}

fn check(call: &Call, conf: &Valid, trace: &mut Trace) -> Result<(), CniError> {
    conf.must_know("CHECK", Version::V0_4_0)?;
    let previous = conf.previous.as_ref().ok_or_else(|| {
        CniError::new(
            Code::Config,
            "CHECK needs prevResult, the result of the ADD, in the configuration",
        )
    })?;
    let key = del::key(call, conf)?;
    let path = call.netns.as_deref().unwrap_or_default();
    let netns = Netns::open(Path::new(path))
        .map_err(|why| CniError::new(Code::Netns, format!("CNI_NETNS {path:?}: {why}")))?;
    let unknown = || {
        different(&[format!(
            "no attachment of container {} as {} is recorded",
            key.container, key.ifname
        )])
    };
    let store = Store::existing(Path::new(ROOT), &conf.name)
        .map_err(|error| state(&error))?
        .ok_or_else(unknown)?;
    let held = store
        .hold(&key)
        .map_err(|error| state(&error))?
        .ok_or_else(unknown)?;
    let record = held
        .record()
        .ok_or_else(|| different(&["the record of the attachment is unreadable".into()]))?;
    trace.step("record");
    let mut rtnl = Rtnl::open().map_err(|error| kernel(&error))?;
    let mut found = differences(record, &netns, &mut rtnl)?;
    found.extend(unleased(record, &store)?);
    found.extend(untold(record, &hand_on(previous, Version::V1_1_0)?));
    trace.step("compare");
    if found.is_empty() {
        Ok(())
    } else {
        Err(different(&found))
    }
}

pub(crate) fn different(found: &[String]) -> CniError {
    CniError::new(
        Code::Different,
        format!("the attachment is not as ADD left it: {}", found.join("; ")),
    )
}

/// Differences between the record and the kernel, each in one sentence.
///
/// # Errors
/// The kernel does not answer.
pub(crate) fn differences(
    record: &Attachment,
    netns: &Netns,
    rtnl: &mut Rtnl,
) -> Result<Vec<String>, CniError> {
    if netns.inode() != record.inode {
        return Ok(vec![format!(
            "{} is another network namespace than that of the ADD",
            record.netns
        )]);
    }
    let node_end = node_end(&record.key)?;
    let bridge = record.mode.bridge();
    let node = rtnl
        .observe_end(&node_end, bridge)
        .map_err(|error| kernel(&error))?;
    let mut inside = netns
        .enter(Rtnl::open)
        .and_then(|opened| opened)
        .map_err(|error| kernel(&error))?;
    let pod = inside
        .observe_end(&record.key.ifname, None)
        .map_err(|error| kernel(&error))?;
    let mut found = plan::check::differences(record, &node_end, node.as_ref(), pod.as_ref());
    if !record.bandwidth.is_unlimited() {
        let node = rtnl.tbf(&node_end).map_err(|error| kernel(&error))?;
        let pod = inside
            .tbf(&record.key.ifname)
            .map_err(|error| kernel(&error))?;
        found.extend(plan::bandwidth::differences(
            record,
            &node_end,
            node.as_ref(),
            pod.as_ref(),
        ));
    }
    found.extend(ports::differences(record).map_err(|error| kernel(&error))?);
    Ok(found)
}

/// Addresses that the record names and does not hold.
///
/// # Errors
/// The state folder cannot be read.
pub(crate) fn unleased(record: &Attachment, store: &Store) -> Result<Vec<String>, CniError> {
    let mut found = Vec::new();
    if let Some(path) = record.data_dir() {
        return reserved::lacking(Path::new(path), &record.key, Some(&record.addresses));
    }
    if !record.has_leases() {
        return Ok(found);
    }
    for address in &record.addresses {
        let owner = store.owner(address.ip).map_err(|error| state(&error))?;
        if owner.is_none_or(|owner| owner.key != record.key) {
            found.push(format!(
                "address {} is not leased to this attachment",
                address.ip
            ));
        }
    }
    Ok(found)
}

/// Addresses of the record that the runtime was never told, or was told otherwise.
fn untold(record: &Attachment, previous: &Value) -> Vec<String> {
    let told = told(previous);
    let missing = record
        .addresses
        .iter()
        .filter(|address| !told.contains(&address.ip));
    missing
        .map(|address| format!("prevResult lacks address {}", address.ip))
        .collect()
}
