//! The shape of a cluster as a value: how many nodes, which families, which kube-proxy, whose network.
//!
//! As text it is what a person types behind `cluster up`, and so it is also stored beside the running cluster: two shapes
//! are the same if their texts are. What each choice means for a program's flags is told in `lan` and `init`.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};

/// Beyond that, the machine's inotify instances run out (128 for root by default).
const MOST_NODES: usize = 8;

/// What a cluster is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Nodes: the first is `master`, the others are `worker1` and so on.
    pub nodes: usize,
    /// Addresses of nodes, pods and Services.
    pub family: Family,
    /// How Services reach pods.
    pub proxy: Proxy,
    /// Who makes the pods' network.
    pub network: Network,
}

/// Which addresses there are; the first family is the one of the Service `kubernetes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
    /// Both, IPv4 first.
    Dual,
    /// Both, IPv6 first.
    Dual6,
}

/// kube-proxy's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// kube-proxy in nftables mode.
    Nftables,
    /// kube-proxy in iptables mode.
    Iptables,
    /// No kube-proxy: nothing answers at a Service's address.
    Without,
}

/// Who makes the pods' network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Podwire, installed as a user does it.
    Podwire,
    /// The reference plugins with a hand-written conflist, and static routes between the nodes.
    Reference,
    /// Nobody: the nodes stay NotReady.
    Without,
}

const FAMILIES: [(&str, Family); 4] = [
    ("ipv4", Family::Ipv4),
    ("ipv6", Family::Ipv6),
    ("dual", Family::Dual),
    ("dual6", Family::Dual6),
];
const PROXIES: [(&str, Proxy); 3] = [
    ("nftables", Proxy::Nftables),
    ("iptables", Proxy::Iptables),
    ("none", Proxy::Without),
];
const NETWORKS: [(&str, Network); 3] = [
    ("podwire", Network::Podwire),
    ("reference", Network::Reference),
    ("none", Network::Without),
];

impl Default for Shape {
    fn default() -> Self {
        Self {
            nodes: 2,
            family: Family::Ipv4,
            proxy: Proxy::Nftables,
            network: Network::Podwire,
        }
    }
}

impl Shape {
    /// The shape that these words ask for; what they do not name is as by default.
    ///
    /// # Errors
    /// When a word is none of the choices, with those that there are.
    pub fn parse<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Result<Self> {
        let mut shape = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let word = word.as_ref();
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} needs a value"))
            };
            match word {
                "--family" => shape.family = choice(word, value()?.as_ref(), &FAMILIES)?,
                "--proxy" => shape.proxy = choice(word, value()?.as_ref(), &PROXIES)?,
                "--network" => shape.network = choice(word, value()?.as_ref(), &NETWORKS)?,
                number => {
                    shape.nodes = number.parse().with_context(|| {
                        format!("{number:?} is neither a number of nodes nor one of --family, --proxy, --network")
                    })?;
                }
            }
        }
        ensure!(
            (1..=MOST_NODES).contains(&shape.nodes),
            "a cluster has 1 to {MOST_NODES} nodes, not {}",
            shape.nodes
        );
        Ok(shape)
    }

    /// The nodes' names.
    pub fn names(&self) -> Vec<String> {
        (0..self.nodes)
            .map(|number| match number {
                0 => MASTER.to_owned(),
                worker => format!("{WORKER}{worker}"),
            })
            .collect()
    }
}

/// The first node.
pub const MASTER: &str = "master";
/// The other nodes' names begin so.
pub(crate) const WORKER: &str = "worker";

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} --family {} --proxy {} --network {}",
            self.nodes,
            name(self.family, &FAMILIES),
            name(self.proxy, &PROXIES),
            name(self.network, &NETWORKS)
        )
    }
}

impl Family {
    /// The first family, then the other where there is one.
    pub(crate) fn pick<T>(self, ipv4: T, ipv6: T) -> Vec<T> {
        match self {
            Self::Ipv4 => vec![ipv4],
            Self::Ipv6 => vec![ipv6],
            Self::Dual => vec![ipv4, ipv6],
            Self::Dual6 => vec![ipv6, ipv4],
        }
    }
}

fn choice<T: Copy>(flag: &str, word: &str, choices: &[(&str, T)]) -> Result<T> {
    match choices.iter().find(|(name, _)| *name == word) {
        Some((_, value)) => Ok(*value),
        None => {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            bail!("{flag} {word:?}: there is only {}", names.join(", "))
        }
    }
}

fn name<T: PartialEq>(value: T, choices: &[(&'static str, T)]) -> &'static str {
    let found = choices.iter().find(|(_, choice)| *choice == value);
    found.map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_read_back_from_its_own_text() {
        for text in [
            "2 --family ipv4 --proxy nftables --network podwire",
            "3 --family dual6 --proxy iptables --network reference",
            "1 --family ipv6 --proxy none --network none",
        ] {
            let shape = Shape::parse(text.split(' ')).unwrap();
            assert_eq!(shape.to_string(), text);
        }
        assert_eq!(Shape::parse([""; 0]).unwrap(), Shape::default());
    }

    #[test]
    fn a_word_that_is_no_choice_is_told_the_choices() {
        let error = |text: &str| Shape::parse(text.split(' ')).unwrap_err().to_string();
        assert!(error("--family both").contains("ipv4, ipv6, dual, dual6"));
        assert!(error("0").contains("1 to 8"));
        assert!(error("--netwrok none").contains("--network"));
        assert!(error("2 --proxy").contains("needs a value"));
    }

    #[test]
    fn the_first_node_is_the_master() {
        let shape = Shape::parse(["3"]).unwrap();
        assert_eq!(shape.names(), ["master", "worker1", "worker2"]);
    }
}
