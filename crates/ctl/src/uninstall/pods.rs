//! The pods that live by Podwire on this node: the kernel is the witness.
//!
//! A pod lives if the node's end of its link stands, whether it is recorded or not, if its namespace is still where the runtime
//! put it, or if somebody works on its record. A record alone is that of a pod which died with its namespace. None of it can
//! be seen from another network namespace than the node's, and records say which that is.

use anyhow::{Context, Result, ensure};
use host::netns;
use host::rtnl::Rtnl;
use host::store::{Attempt, Store};
use model::attachment::Attachment;
use model::reclaim::Door;
use std::collections::BTreeMap;
use std::path::Path;

/// Each in a few words.
pub(super) fn living(run: &Path) -> Result<Vec<String>> {
    let mut rtnl = Rtnl::open()?;
    let here = netns::standpoint()?;
    let ends = rtnl.node_ends()?.into_iter();
    let mut ends: BTreeMap<String, String> = ends
        .map(|link| (link.name.to_string(), link.alias.unwrap_or_default()))
        .collect();
    let mut living = Vec::new();
    for network in Store::networks(run).context("look as root: sudo podwire uninstall")? {
        let Some(store) = Store::existing(run, &network)? else {
            continue;
        };
        for name in store.attachments()? {
            let record = store.peek(&name)?;
            let there = record.as_ref().and_then(|record| record.standpoint);
            ensure!(
                there.is_none_or(|there| there.net == here.net),
                "{name} was attached in another network namespace than this one, where its pod cannot be seen; nothing was \
                 changed: run this in the node's own, in a pod by hostNetwork, else by nsenter --target 1 --net"
            );
            let end = record
                .as_ref()
                .and_then(|record| ends.remove(&record.key.host_interface()));
            match record {
                Some(record) if end.is_some() || is_home(&record) => living.push(recorded(&record)),
                _ if matches!(store.try_hold(&name)?, Attempt::Busy) => {
                    living.push(format!("{name} (is being attached or detached)"));
                }
                _ => {}
            }
        }
    }
    let unrecorded = ends.into_iter();
    living.extend(unrecorded.map(|(end, alias)| format!("{alias} (not recorded; link {end})")));
    living.sort();
    Ok(living)
}

fn is_home(record: &Attachment) -> bool {
    netns::door(Path::new(&record.netns)) == Door::Namespace(record.inode)
}

fn recorded(record: &Attachment) -> String {
    let addresses = record.addresses.iter().map(|it| it.ip.to_string());
    let addresses: Vec<String> = addresses.collect();
    format!("{} {}", record.alias(), addresses.join(" "))
}

/// Why nothing is done, and what to do.
pub(super) fn refusal(living: &[String], said: &str) -> String {
    let pods: String = living.iter().map(|pod| format!("\n  {pod}")).collect();
    format!(
        "pods of this node still have their network from Podwire; {said}:{pods}\n\
         Delete them, on a cluster by: kubectl drain NODE --ignore-daemonsets --delete-emptydir-data. Those of other DaemonSets \
         come back as long as the conflist is there, see docs/install.md. Then run this again"
    )
}
