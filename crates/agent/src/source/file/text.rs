//! `nodes.toml`: the cluster as a file.
//!
//! Read by hand from the parsed table, because a person wants all errors at once, each with its line. Whether a name, an
//! address or a range is sound, and whether the nodes fit each other, is `model`'s business; here it gets its line.

#[cfg(any(test, fuzzing))]
pub(crate) mod chance;
mod near;
mod place;

use crate::source::NETWORK;
use crate::source::is_node_address;
use model::addr::{self, PodRange, RangeError};
use model::cluster::{Cluster, Node};
use model::name::{NetworkName, NodeName};
use place::{Lines, Places};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const ROOT_KEYS: &[&str] = &["network", "prefixes", "node"];
const NODE_KEYS: &[&str] = &["name", "addresses", "ranges"];

/// Something that is wrong in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// The line; none if it is about no line.
    pub(crate) line: Option<usize>,
    /// What is wrong there.
    pub(crate) what: String,
}

impl Problem {
    /// One that is about the whole file.
    pub(crate) fn whole(what: impl Into<String>) -> Self {
        Self {
            line: None,
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{line}: {}", self.what),
            None => write!(f, " {}", self.what),
        }
    }
}

/// The cluster that the text describes, in which `own` is this node.
///
/// # Errors
/// Everything that is wrong, in the order of its lines.
pub(crate) fn read(text: &str, own: &NodeName) -> Result<Cluster, Vec<Problem>> {
    let lines = Lines::new(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax(&errors, &lines));
    }
    let mut reader = Reader {
        lines,
        problems: Vec::new(),
        places: Places::default(),
        unnamed: false,
    };
    let cluster = reader.cluster(root.get_ref());
    reader.check(&cluster, own);
    if reader.problems.is_empty() {
        Ok(cluster)
    } else {
        reader.problems.sort();
        Err(reader.problems)
    }
}

/// One problem a line: behind the first error in a line the parser only guesses.
fn syntax(errors: &[toml::de::Error], lines: &Lines) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for error in errors {
        let line = error.span().map(|span| lines.at(span.start));
        if problems.iter().all(|known| known.line != line) {
            problems.push(Problem {
                line,
                what: error.message().replace('\n', ", "),
            });
        }
    }
    problems
}

type Value<'i> = Spanned<DeValue<'i>>;

struct Reader {
    lines: Lines,
    problems: Vec<Problem>,
    places: Places,
    /// Whether a node's name could not be read: then nobody can say which nodes the file lists.
    unnamed: bool,
}

impl Reader {
    fn cluster(&mut self, root: &DeTable<'_>) -> Cluster {
        self.unknown_keys(root, ROOT_KEYS, "");
        let network = root
            .get("network")
            .and_then(|value| self.name("network", value, NetworkName::new));
        let prefixes = self.list(root, "prefixes", "prefix", |text| {
            addr::parse_prefix(text).map_err(range_problem)
        });
        Cluster {
            // The constant is sound; the file's own name was checked or has been complained about.
            network: network
                .or_else(|| NetworkName::new(NETWORK).ok())
                .unwrap_or_else(|| unreachable!("{NETWORK} is a sound name")),
            prefixes: prefixes.items.into_iter().map(|(_, item)| item).collect(),
            nodes: self.nodes(root),
        }
    }

    fn nodes(&mut self, root: &DeTable<'_>) -> BTreeMap<NodeName, Node> {
        let mut nodes = BTreeMap::new();
        let Some(value) = root.get("node") else {
            self.problems
                .push(Problem::whole("lists no node; a node begins with [[node]]"));
            self.unnamed = true;
            return nodes;
        };
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_type(
                value,
                "node",
                "a list of tables, each with the head [[node]]",
            );
            self.unnamed = true;
            return nodes;
        };
        if list.is_empty() {
            self.say(value, "there is no node; a node begins with [[node]]");
            self.unnamed = true;
        }
        for item in list {
            if let Some((name, node)) = self.node(item) {
                nodes.insert(name, node);
            }
        }
        nodes
    }

    /// A node that is worth a comparison with the others.
    fn node(&mut self, item: &Value<'_>) -> Option<(NodeName, Node)> {
        let Some(table) = item.get_ref().as_table() else {
            self.wrong_type(item, "node", "a table with the head [[node]]");
            self.unnamed = true;
            return None;
        };
        self.unknown_keys(table, NODE_KEYS, "a node's ");
        let name = match table.get("name") {
            Some(value) => self.name("node name", value, NodeName::new),
            None => {
                self.say(item, "this node has no name");
                None
            }
        };
        let addresses = self.list(table, "addresses", "address", node_address);
        let ranges = self.list(table, "ranges", "range", |text| {
            PodRange::parse(text).map_err(range_problem)
        });
        let Some(name) = name else {
            self.unnamed = true;
            return None;
        };
        let line = self.lines.of(table.get("name").unwrap_or(item));
        if let Some(first) = self.places.line_of_node(&name) {
            let what = format!("node {name} is listed twice; first in line {first}");
            self.problems.push(Problem {
                line: Some(line),
                what,
            });
            return None;
        }
        self.places.enter(&name, line, &addresses, &ranges);
        let node = Node {
            addresses: addresses.items.into_iter().map(|(_, ip)| ip).collect(),
            ranges: ranges.items.into_iter().map(|(_, range)| range).collect(),
        };
        Some((name, node))
    }

    /// What is wrong between the nodes, as far as they could be read.
    fn check(&mut self, cluster: &Cluster, own: &NodeName) {
        for fault in cluster.faults() {
            if let Some(line) = self.places.line_of(&fault) {
                self.problems.push(Problem {
                    line: Some(line),
                    what: fault.to_string(),
                });
            }
        }
        if !self.unnamed && !cluster.nodes.contains_key(own) {
            let listed: Vec<&str> = cluster.nodes.keys().map(NodeName::as_str).collect();
            self.problems.push(Problem::whole(format!(
                "does not list node {own}, which --node names; it lists {}",
                listed.join(", ")
            )));
        }
    }

    fn name<T, E: fmt::Display>(
        &mut self,
        kind: &str,
        value: &Value<'_>,
        check: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.string(value, kind)?;
        check(text)
            .map_err(|error| self.say(value, format!("{kind} {text:?}: {error}")))
            .ok()
    }

    /// The values of a list of strings that are right; the others are complained about.
    fn list<T>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        kind: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> List<T> {
        let mut list = List {
            items: Vec::new(),
            whole: true,
        };
        let Some(value) = table.get(key) else {
            return list;
        };
        let Some(values) = value.get_ref().as_array() else {
            self.wrong_type(value, key, "a list of strings");
            list.whole = false;
            return list;
        };
        for value in values {
            let item = self.string(value, kind).and_then(|text| {
                parse(text)
                    .map_err(|what| self.say(value, format!("{kind} {what}")))
                    .ok()
            });
            match item {
                Some(item) => list.items.push((self.lines.of(value), item)),
                None => list.whole = false,
            }
        }
        list
    }

    fn string<'v>(&mut self, value: &'v Value<'_>, kind: &str) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(value, kind, "a string");
        }
        text
    }

    fn unknown_keys(&mut self, table: &DeTable<'_>, known: &[&str], whose: &str) {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let hint = match near::nearest(name, known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("{whose}keys are {}", known.join(", ")),
            };
            let line = Some(self.lines.at(key.span().start));
            let what = format!("unknown key {name:?}; {hint}");
            self.problems.push(Problem { line, what });
        }
    }

    fn wrong_type(&mut self, value: &Value<'_>, what: &str, wanted: &str) {
        let found = value.get_ref().type_str();
        let article = if found.starts_with(['a', 'i']) {
            "an"
        } else {
            "a"
        };
        self.say(value, format!("{what} is {wanted}, not {article} {found}"));
    }

    fn say(&mut self, value: &Value<'_>, what: impl Into<String>) {
        self.problems.push(Problem {
            line: Some(self.lines.of(value)),
            what: what.into(),
        });
    }
}

/// The sound items of a list, with their lines.
struct List<T> {
    items: Vec<(usize, T)>,
    /// Whether all items were sound.
    whole: bool,
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err passes")]
fn range_problem(error: RangeError) -> String {
    error.to_string()
}

fn node_address(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is no IP address such as 10.128.0.2"))?;
    if is_node_address(ip) {
        Ok(ip)
    } else {
        Err(format!(
            "{ip} leads to no node: it is loopback, link-local, multicast or unspecified"
        ))
    }
}

#[cfg(test)]
mod tests;
