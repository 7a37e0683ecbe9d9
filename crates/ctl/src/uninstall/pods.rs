//! The pods that live by Podwire on this node: the kernel is the witness.
//!
//! A pod lives if the node's end of its link stands, whether it is recorded or not and whatever it is called by now, if its
//! namespace is still where the runtime put it, or if somebody works on its record. A record alone is that of a pod which died with its namespace. None of it can
//! be seen from another network namespace than the node's, and records say which that is.

use anyhow::{Context, Result, ensure};
use host::netns;
use host::rtnl::{LinkSeen, Rtnl};
use host::store::{Attempt, Store};
use model::attachment::Attachment;
use model::net::is_pod_link;
use model::reclaim::Door;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Each in a few words. `root` is where the node's own files are; `said` tells what was changed before, for a refusal.
pub(super) fn living(run: &Path, root: &Path, said: &str) -> Result<Vec<String>> {
    let mut ends = Ends::of(Rtnl::open()?.links()?);
    let here = netns::standpoint()?;
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
                "{name} was attached in another network namespace than this one, where its pod cannot be seen; {said}: \
                 run this in the node's own, in a pod by hostNetwork, else by nsenter --target 1 --net"
            );
            let stands = record.as_ref().is_some_and(|record| ends.take(record));
            match record {
                Some(record) if stands || is_home(&record, root) => living.push(recorded(&record)),
                _ if matches!(store.try_hold(&name)?, Attempt::Busy) => {
                    living.push(format!("{name} (is being attached or detached)"));
                }
                _ => {}
            }
        }
    }
    living.extend(ends.unrecorded());
    living.sort();
    Ok(living)
}

/// The node's ends of pods' links that no record has claimed yet: alias by name.
struct Ends(BTreeMap<String, String>);

impl Ends {
    fn of(links: Vec<LinkSeen>) -> Self {
        let veths = links
            .into_iter()
            .filter(|link| link.kind.as_deref() == Some("veth"));
        Self(
            veths
                .map(|link| (link.name.to_string(), link.alias.unwrap_or_default()))
                .collect(),
        )
    }

    /// Whether the record's link stands, under whatever name: somebody may have renamed it.
    fn take(&mut self, record: &Attachment) -> bool {
        let alias = record.alias();
        let by_alias = |ends: &mut BTreeMap<String, String>| {
            let named = ends.iter().find(|(_, own)| **own == alias);
            let name = named.map(|(name, _)| name.clone())?;
            ends.remove(&name)
        };
        let by_name = self.0.remove(&record.key.host_interface());
        by_name.or_else(|| by_alias(&mut self.0)).is_some()
    }

    fn unrecorded(self) -> impl Iterator<Item = String> {
        let ours = self.0.into_iter().filter(|(name, _)| is_pod_link(name));
        ours.map(|(name, alias)| format!("{alias} (not recorded; link {name})"))
    }
}

/// Whether the record's namespace is where the runtime put it.
fn is_home(record: &Attachment, root: &Path) -> bool {
    netns::door(&below(root, &record.netns)) == Door::Namespace(record.inode)
}

/// A path of the node's as it is seen here. `/var/run` is a link to `/run`, which would lead out of the root.
fn below(root: &Path, path: &str) -> PathBuf {
    let path = path.strip_prefix("/var/run/").map_or_else(
        || path.trim_start_matches('/').to_owned(),
        |rest| format!("run/{rest}"),
    );
    root.join(path)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_node_is_looked_for_below_its_root() {
        for (root, path, below_it) in [
            ("/", "/run/netns/a", "/run/netns/a"),
            ("/host", "/run/netns/a", "/host/run/netns/a"),
            ("/host", "/var/run/netns/a", "/host/run/netns/a"),
            ("/host", "/var/running/a", "/host/var/running/a"),
        ] {
            assert_eq!(below(Path::new(root), path), Path::new(below_it));
        }
    }
}
