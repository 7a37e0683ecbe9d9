//! What a node is like, as far as a pod network can change it.
//!
//! Others change it too: kube-proxy's own tables and what the kernel counts are left out.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use cluster::Node;

/// What is asked of a node. Order tells nothing, so lines are sorted.
const QUESTIONS: [(&str, &str); 8] = [
    ("links", "ip -br link"),
    ("addresses", "ip -br address"),
    (
        "routes",
        "ip -4 route show table all; ip -6 route show table all",
    ),
    ("routing rules", "ip -4 rule; ip -6 rule"),
    ("neighbours", "ip neigh show nud permanent"),
    ("nftables", RULES),
    ("sysctls", SYSCTLS),
    ("files", FILES),
];

const RULES: &str = "nft list tables | grep -v ' kube-proxy$' | while read -r _ family name; do \
    nft -s list table \"$family\" \"$name\"; done";
const SYSCTLS: &str =
    "grep -r . /proc/sys/net 2>/dev/null | grep -v -e nf_conntrack_count -e dev_weight";
/// Folders that kubelet makes for a mount stay, as do its own notes and logs, and containerd's.
const FILES: &str = "find /etc/cni /opt/cni /run/podwire /run/netns ! -type d 2>/dev/null; \
    find /etc /opt /run /srv /var -xdev ! -type d -name '*podwire*' ! -path '/run/containerd/*' \
    ! -path '/var/lib/containerd/*' ! -path '/var/lib/kubelet/*' ! -path '/var/log/*' 2>/dev/null; true";

/// The answers, by what was asked.
pub(super) struct Trace(BTreeMap<&'static str, Vec<String>>);

impl Trace {
    pub(super) fn of(node: &Node<'_>) -> Result<Self> {
        let ask = |(what, script): (&'static str, &str)| {
            let text = node.run(&["sh", "-c", script])?;
            let mut lines: Vec<_> = text.lines().map(|line| line.trim().to_owned()).collect();
            lines.sort();
            Ok((what, lines))
        };
        QUESTIONS
            .into_iter()
            .map(ask)
            .collect::<Result<_>>()
            .map(Self)
    }

    /// No error if nothing has come since this, and nothing has gone.
    pub(super) fn is_left_by(&self, now: &Self) -> Result<()> {
        let mut told = String::new();
        for (what, before) in &self.0 {
            let now = &now.0[what];
            for (sign, some, others) in [("+", now, before), ("-", before, now)] {
                for line in some.iter().filter(|line| !others.contains(line)) {
                    told.push_str(&format!("{what}: {sign} {line}\n"));
                }
            }
        }
        ensure!(told.is_empty(), "not as before:\n{told}");
        Ok(())
    }

    /// No error if all of these are changed.
    pub(super) fn differs_in(&self, whats: &[&'static str], now: &Self) -> Result<()> {
        for what in whats {
            ensure!(self.0[what] != now.0[what], "{what} are as before");
        }
        Ok(())
    }
}
