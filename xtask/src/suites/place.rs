//! Where a suite runs: network, mount and process namespaces of its own, with the plugins where runtimes look for them.
//!
//! `/run`, `/var/lib` and `/opt` are the suite's own as well, so that the machine is left as it was. What a suite prints goes
//! into a file.

use std::fs::{self, File};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::build::Built;
use super::report::{self, Case};
use super::table::Suite;
use crate::shell::{as_typed, say};

/// Where runtimes look for plugins; some suites look nowhere else.
pub(super) const PLUGINS_FOLDER: &str = "/opt/cni/bin";

/// Makes the place, then becomes the suite. Arguments: a folder with plugins, one to run in, the suite.
const ENTER: &str = r#"
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/lock
for place in /var/lib /opt; do
  mkdir -p "/run/over$place/upper" "/run/over$place/work"
  mount -t overlay -o "lowerdir=$place,upperdir=/run/over$place/upper,workdir=/run/over$place/work" overlay "$place" 2>/dev/null ||
    mount -t tmpfs tmpfs "$place"
done
mkdir -p /opt/cni/bin
cp "$1"/* /opt/cni/bin/
ping="$(command -v ping)"
command -v ping6 >/dev/null || ln -s "$ping" /opt/cni/bin/ping6
ip link set lo up
cd "$2"
shift 2
exec "$@"
"#;

/// Whose plugins stand there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plugins {
    /// Ours, and beside them the reference's where we have none.
    Ours,
    /// The reference's.
    Reference,
}

/// Runs a suite to its end, and says what became of each case.
pub(super) fn run(suite: &Suite, built: &Built, plugins: Plugins) -> Result<Vec<Case>> {
    let whose = match plugins {
        Plugins::Ours => "ours",
        Plugins::Reference => "reference",
    };
    let logs = built.folder.join("log");
    fs::create_dir_all(&logs).with_context(|| format!("make {}", logs.display()))?;
    let log = logs.join(format!("{}-{whose}", suite.name));
    let found = logs.join(format!("{}-{whose}.json", suite.name));
    if found.exists() {
        fs::remove_file(&found).with_context(|| format!("remove {}", found.display()))?;
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("unshare");
    command
        .args(["-nmpf", "--mount-proc", "--", "sh", "-ec", ENTER, "sh"])
        .arg(built.folder.join(whose))
        .arg(built.package(suite))
        .arg(built.program(suite))
        .args(["-test.v", "-test.timeout=10m"])
        .env("PATH", format!("{PLUGINS_FOLDER}:{path}:/usr/sbin:/sbin"))
        // Suites compile their helpers; everything that these need is here.
        .envs(built.environment())
        .env("GOFLAGS", "-mod=mod -buildvcs=false");
    if suite.module.tests.is_none() {
        let report = format!("-ginkgo.json-report={}", found.display());
        command.args(["-ginkgo.no-color", &report]);
    }
    let shown = as_typed(Command::new(suite.name).arg(whose));
    say(format!("suites: running {shown}, see {}", log.display()));
    let out = File::create(&log).with_context(|| format!("make {}", log.display()))?;
    let err = out.try_clone().context("share the log")?;
    let ended = command
        .stdout(out)
        .stderr(err)
        .status()
        .context("unshare")?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    match suite.module.tests {
        Some(_) => {
            let cases = report::of_go(&said);
            // What failed without a case that did has not come to all of them.
            ensure!(
                ended.success() || cases.iter().any(|case| !case.passed),
                "suite {} ended early ({ended}), see {}",
                suite.name,
                log.display()
            );
            Ok(cases)
        }
        None => fs::read_to_string(&found)
            .map_err(anyhow::Error::from)
            .and_then(|text| report::of_ginkgo(&text))
            .with_context(|| format!("suite {} left no report, see {}", suite.name, log.display())),
    }
}
