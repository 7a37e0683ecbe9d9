//! Files as nobody writes them: each is a cluster, or is told what is wrong, on lines that it has.
//!
//! The body is that of the target `nodes` in `fuzz`, which includes the reader and this file.

use super::read;
use model::name::NodeName;

/// Reads it as a node that is listed, and as one that is not.
pub(crate) fn nodes(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().count() + 1;
    for own in ["k8s-master", "elsewhere"] {
        let own = NodeName::new(own).expect("a name");
        match read(&text, &own) {
            Ok(cluster) => assert!(cluster.nodes.contains_key(&own)),
            Err(problems) => {
                assert!(!problems.is_empty());
                for problem in problems {
                    assert!(!problem.what.is_empty());
                    assert!(
                        problem.line.is_none_or(|line| (1..=lines).contains(&line)),
                        "{problem}"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    const LINES: [&str; 24] = [
        "network = \"podwire\"",
        "prefixes = [\"10.244.0.0/16\", \"fd00:10:244::/56\"]",
        "prefixes = [",
        "]",
        "[[node]]",
        "[node]",
        "name = \"k8s-master\"",
        "name = \"k8s-worker\"",
        "name = \"é\"",
        "name = 7",
        "addresses = [\"10.128.0.2\"]",
        "addresses = [\"10.128.0.2\", \"fe80::1\", 7, [], \"x\"]",
        "addresses = \"10.128.0.3\"",
        "ranges = [\"10.244.0.0/24\"]",
        "ranges = [\"10.244.0.0/25\", \"fd00:10:244::/64\"]",
        "ranges = [\"10.244.0.1/24\"]",
        "mtu = 1400",
        "\"\" = 1",
        "a.b.c = {d = []}",
        "# é\u{fffd}",
        "",
        "name = '''",
        "'''",
        "node = [{ name = \"k8s-master\", addresses = [] }]",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

        #[test]
        fn a_file_of_lines_by_chance_is_read_or_told_of(
            lines in vec(select(&LINES[..]), 0..14), at in any::<Index>(), byte in any::<u8>(), spoil in any::<bool>()
        ) {
            let mut bytes = lines.join("\n").into_bytes();
            if spoil && !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            nodes(&bytes);
        }
    }
}
