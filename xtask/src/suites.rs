//! `cargo xtask suites`: other projects' tests, run against the plugin under the reference plugins' names.
//!
//! Builds the tests and the reference plugins from their Go modules, puts our files in the place of the reference's, and runs
//! each suite in namespaces of its own. A case that fails is an error, unless `left_out` says why it cannot pass, or it
//! fails with the reference plugins on this machine as well: then a driver or a module's file is missing, and that is
//! counted apart. Nothing of the suites is kept in this repository.

mod build;
mod left_out;
mod place;
mod report;
mod table;

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use crate::install::{self, Program};
use crate::shell::say;
use crate::{dist, workspace};
use build::Built;
use report::Case;
use table::{SUITES, Suite};

/// What the suites call.
const NEEDED: [Program; 7] = [
    Program {
        name: "ip",
        package: "iproute2",
    },
    Program {
        name: "iptables",
        package: "iptables",
    },
    Program {
        name: "nft",
        package: "nftables",
    },
    Program {
        name: "ping",
        package: "iputils-ping",
    },
    Program {
        name: "sysctl",
        package: "procps",
    },
    Program {
        name: "mount",
        package: "mount",
    },
    Program {
        name: "unshare",
        package: "util-linux",
    },
];

/// Runs the suites whose name contains one of the words, or all of them.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let suites = chosen(arguments)?;
    ensure!(
        install::is_root(),
        "the suites make network namespaces and mounts; type: sudo -E cargo xtask suites"
    );
    install::programs(&NEEDED)?;
    dist::programs()?;
    let metadata = workspace::metadata(workspace::root())?;
    let folder = workspace::target_directory(&metadata)?.join("suites");
    let built = Built::new(&folder, &suites)?;
    let mut failed = 0;
    for suite in &suites {
        let sum = Sum::of(suite, &built)?;
        say(sum.line(suite));
        for (reason, count) in &sum.left_out {
            say(format!("{count:>9}  left out: {reason}"));
        }
        for case in &sum.failed {
            say(format!("   FAILED  {}: {}", case.name, case.why));
        }
        failed += sum.failed.len();
    }
    if failed > 0 {
        bail!(
            "{failed} cases failed that should pass; what they said is in {}",
            folder.join("log").display()
        );
    }
    Ok(())
}

fn chosen(arguments: &[String]) -> Result<Vec<&'static Suite>> {
    let is_asked = |suite: &&Suite| {
        arguments.is_empty() || arguments.iter().any(|word| suite.name.contains(word))
    };
    let suites: Vec<_> = SUITES.iter().filter(is_asked).collect();
    let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
    ensure!(
        !suites.is_empty(),
        "no suite has such a name; there are: {}",
        names.join(" ")
    );
    Ok(suites)
}

/// What became of the cases of a suite.
struct Sum {
    passed: usize,
    failed: Vec<Case>,
    left_out: BTreeMap<&'static str, usize>,
}

impl Sum {
    fn of(suite: &Suite, built: &Built) -> Result<Self> {
        let mut sum = Self {
            passed: 0,
            failed: Vec::new(),
            left_out: BTreeMap::new(),
        };
        for case in place::run(suite, built, place::Plugins::Ours)? {
            match left_out::reason(suite, &case) {
                _ if case.passed => sum.passed += 1,
                Some(reason) => *sum.left_out.entry(reason).or_default() += 1,
                None => sum.failed.push(case),
            }
        }
        ensure!(
            sum.passed > 0 || !sum.failed.is_empty() || !sum.left_out.is_empty(),
            "suite {} ran no case",
            suite.name
        );
        sum.excuse(suite, built)?;
        Ok(sum)
    }

    /// Sets those apart that fail with the reference plugins too.
    fn excuse(&mut self, suite: &Suite, built: &Built) -> Result<()> {
        if self.failed.is_empty() || !suite.has_reference() {
            return Ok(());
        }
        let theirs = place::run(suite, built, place::Plugins::Reference)?;
        let fails = |case: &Case| theirs.iter().any(|it| it.name == case.name && !it.passed);
        let (both, ours) = self.failed.drain(..).partition::<Vec<_>, _>(fails);
        self.failed = ours;
        if !both.is_empty() {
            self.left_out.insert(left_out::REFERENCE_TOO, both.len());
        }
        Ok(())
    }

    fn line(&self, suite: &Suite) -> String {
        let left_out: usize = self.left_out.values().sum();
        format!(
            "{:>20}  {:>4} passed, {} failed, {left_out} left out",
            suite.name,
            self.passed,
            self.failed.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_suites_have_one_name_and_each_reason_is_of_a_suite() {
        let mut names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(left_out::suites().all(|name| names.contains(&name)));
    }

    #[test]
    fn a_word_chooses_suites_and_a_wrong_one_is_answered_with_their_names() {
        let words = |word: &str| chosen(&[word.to_owned()]);
        assert!(words("portmap").unwrap().len() > 1);
        let error = words("weave").err().unwrap().to_string();
        assert!(error.contains("integration"), "{error}");
    }
}
