//! The attachments as the kernel has them at the node's end, compared with what their records say.
//!
//! What is well is looked at without a lock, so that no ADD or DEL ever waits for it. Where something differs, the look counts
//! only if it is repeated under the record's lock: else it may have met an ADD or a DEL halfway. Where the kernel or the store
//! does not answer, nothing is said.

use super::Network;
use super::human::whose;
use host::rtnl::Rtnl;
use host::store::{Attempt, Store};
use model::attachment::Attachment;
use model::name::IfName;
use model::state::End;
use model::status::Finding;
use std::path::Path;

/// One finding for each attachment that is not as ADD left it.
pub(super) fn findings(run: &Path, networks: &[Network]) -> Vec<Finding> {
    let Ok(mut rtnl) = Rtnl::open() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for network in networks {
        if let Ok(Some(store)) = Store::existing(run, &network.name) {
            let attachments = network.attachments.iter();
            found.extend(attachments.filter_map(|(it, _)| judge(&store, it, &mut rtnl)));
        }
    }
    found
}

fn judge(store: &Store, attachment: &Attachment, rtnl: &mut Rtnl) -> Option<Finding> {
    look(attachment, rtnl)?;
    match store.try_hold(&attachment.key.file()) {
        Ok(Attempt::Free(held)) => look(held.record()?, rtnl),
        Ok(Attempt::Busy | Attempt::Gone) | Err(_) => None,
    }
}

fn look(attachment: &Attachment, rtnl: &mut Rtnl) -> Option<Finding> {
    let name = IfName::new(&attachment.key.host_interface()).ok()?;
    let end = rtnl.observe_end(&name, attachment.mode.bridge()).ok()?;
    finding(attachment, &name, end.as_ref())
}

/// What is wrong with this end, in one sentence.
pub(super) fn finding(
    attachment: &Attachment,
    name: &IfName,
    end: Option<&End>,
) -> Option<Finding> {
    let mut differences = plan::check::node_differences(attachment, name, end);
    if end.is_some_and(|end| !end.up) {
        // The kernel takes the routes of a link that is down: they are no further news.
        differences.truncate(1);
    }
    if differences.is_empty() {
        return None;
    }
    let (kind, hint) = match &attachment.pod {
        Some(pod) => (
            "pod",
            format!(
                "delete the pod so that it is made anew: kubectl delete pod -n {} {}",
                pod.namespace, pod.name
            ),
        ),
        None => (
            "container",
            "delete the container so that it is made anew".into(),
        ),
    };
    Some(Finding {
        what: format!("{kind} {}: {}", whose(attachment), differences.join("; ")),
        hint,
    })
}
