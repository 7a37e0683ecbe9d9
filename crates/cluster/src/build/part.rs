//! What is built: a table of modules, packages and flags.
//!
//! How it is built is not in here. Flags that make a program smaller or its compilation faster are wanted; those that make
//! it another program than its users run are not, except where a comment says so.

use crate::version;

/// What `go` is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Build,
    /// A program of tests. `go test` would vet all its dependencies as well, which takes minutes.
    Tests,
}

/// One call of `go`.
pub(super) struct Step {
    pub(super) verb: Verb,
    /// Needs a C compiler.
    pub(super) c: bool,
    pub(super) tags: &'static str,
    /// For the linker, beside those that all get.
    pub(super) link: String,
    pub(super) packages: Vec<String>,
    /// Below `bin`: a file, or a folder with a slash at its end.
    pub(super) into: &'static str,
    /// What is there afterwards, below `bin`.
    pub(super) files: Vec<String>,
}

/// Something that is built as a whole, and named on the command line.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) module: &'static str,
    pub(super) version: String,
    /// Of a program of our own around the module.
    pub(super) main: Option<&'static str>,
    pub(super) steps: Vec<Step>,
    /// Taken from Kubernetes' module beside what is compiled.
    pub(super) kept: &'static [&'static str],
}

/// Kubernetes' own tests: not built unless they are named.
pub(crate) const E2E: &str = "e2e";

/// Installs charts: not built unless it is named.
pub(crate) const HELM: &str = "helm";

/// The servers, and what pods run.
pub(crate) const KUBERNETES: &str = "kubernetes";

/// The server of the cluster's names.
pub(crate) const COREDNS: &str = "coredns";

/// A program of one of these tests, and its image.
pub(crate) const REGRESSION: &str = "regression-issue-74839";

const KUBERNETES_MODULE: &str = "k8s.io/kubernetes";

/// All parts. The small ones come first: while they are compiled, the modules of the big ones are fetched.
pub(super) fn parts() -> Vec<Part> {
    vec![
        plugins(),
        runc(),
        containerd(),
        etcd(),
        kubernetes(),
        coredns(),
        e2e(),
        helm(),
    ]
}

impl Part {
    /// Below `bin`.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        let built = self.steps.iter().flat_map(|step| &step.files);
        built.map(String::as_str).chain(self.kept.iter().copied())
    }

    pub(super) fn is_kubernetes(&self) -> bool {
        self.module == KUBERNETES_MODULE
    }
}

fn plugins() -> Part {
    const MODULE: &str = "github.com/containernetworking/plugins";
    let packages = [
        "main/bridge",
        "main/loopback",
        "main/ptp",
        "ipam/host-local",
        "meta/bandwidth",
        "meta/firewall",
        "meta/portmap",
        "meta/tuning",
    ];
    let packages = packages.map(|package| format!("{MODULE}/plugins/{package}"));
    one("plugins", MODULE, version::PLUGINS, into("cni/", packages))
}

fn runc() -> Part {
    const MODULE: &str = "github.com/opencontainers/runc";
    let mut step = into("runc", [MODULE.to_owned()]);
    step.c = true;
    step.tags = "seccomp";
    step.link = format!("-X main.version={}", version::RUNC.trim_start_matches('v'));
    one("runc", MODULE, version::RUNC, step)
}

fn containerd() -> Part {
    const MODULE: &str = "github.com/containerd/containerd/v2";
    let packages = ["containerd", "containerd-shim-runc-v2", "ctr"];
    let mut step = into("", packages.map(|name| format!("{MODULE}/cmd/{name}")));
    // Snapshots on file systems that need a C library, or that no node has.
    step.tags = "no_btrfs,no_devmapper,no_zfs";
    step.link = format!("-X {MODULE}/version.Version={}", version::CONTAINERD);
    one("containerd", MODULE, version::CONTAINERD, step)
}

fn etcd() -> Part {
    const MODULE: &str = "go.etcd.io/etcd/server/v3";
    one(
        "etcd",
        MODULE,
        version::ETCD,
        into("etcd", [MODULE.to_owned()]),
    )
}

fn kubernetes() -> Part {
    let packages = [
        "cmd/kube-apiserver",
        "cmd/kube-controller-manager",
        "cmd/kube-scheduler",
        "cmd/kubelet",
        "cmd/kube-proxy",
        "cmd/kubectl",
        "test/images/agnhost",
    ];
    let mut step = into(
        "",
        packages.map(|package| format!("{KUBERNETES_MODULE}/{package}")),
    );
    step.link = kubernetes_version();
    let mut part = one(KUBERNETES, KUBERNETES_MODULE, &kubernetes_tag(), step);
    part.kept = &super::keep::FILES;
    part
}

fn coredns() -> Part {
    const MODULE: &str = "github.com/coredns/coredns";
    let mut part = one(
        COREDNS,
        MODULE,
        version::COREDNS,
        into("coredns", [".".to_owned()]),
    );
    part.main = Some(include_str!("coredns.go"));
    part
}

fn e2e() -> Part {
    let mut tests = into("e2e.test", [format!("{KUBERNETES_MODULE}/test/e2e")]);
    tests.verb = Verb::Tests;
    tests.link = kubernetes_version();
    let mut part = one(E2E, KUBERNETES_MODULE, &kubernetes_tag(), tests);
    // Runs them, in the version that they were written for.
    let ginkgo = "github.com/onsi/ginkgo/v2/ginkgo".to_owned();
    part.steps.push(into("ginkgo", [ginkgo]));
    // The one program of an image that is no other's as well.
    let regression = format!("{KUBERNETES_MODULE}/test/images/{REGRESSION}");
    part.steps.push(into(REGRESSION, [regression]));
    part
}

fn helm() -> Part {
    const MODULE: &str = "helm.sh/helm/v4";
    let package = format!("{MODULE}/cmd/helm");
    one(HELM, MODULE, version::HELM, into("helm", [package]))
}

fn kubernetes_tag() -> String {
    format!("v{}", version::KUBERNETES)
}

/// Without these the servers say that they are v0.0.0, and a kubelet of that age is not let in.
fn kubernetes_version() -> String {
    let full = version::KUBERNETES;
    let mut numbers = full.split('.');
    let (major, minor) = (numbers.next(), numbers.next());
    let (major, minor) = (major.unwrap_or_default(), minor.unwrap_or_default());
    let packages = [
        "k8s.io/component-base/version",
        "k8s.io/client-go/pkg/version",
    ];
    packages
        .map(|package| {
            format!(
                "-X {package}.gitVersion=v{full} -X {package}.gitMajor={major} \
                 -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
            )
        })
        .join(" ")
}

fn one(name: &'static str, module: &'static str, version: &str, step: Step) -> Part {
    Part {
        name,
        module,
        version: version.to_owned(),
        main: None,
        steps: vec![step],
        kept: &[],
    }
}

fn into<const N: usize>(into: &'static str, packages: [String; N]) -> Step {
    let files = if into.is_empty() || into.ends_with('/') {
        let last = |package: &String| package.rsplit('/').next().unwrap_or_default().to_owned();
        packages
            .iter()
            .map(|package| format!("{into}{}", last(package)))
            .collect()
    } else {
        vec![into.to_owned()]
    };
    Step {
        verb: Verb::Build,
        c: false,
        tags: "",
        link: String::new(),
        packages: packages.to_vec(),
        into,
        files,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_parts_make_the_same_file() {
        let parts = parts();
        let mut files: Vec<&str> = parts.iter().flat_map(Part::files).collect();
        files.sort_unstable();
        let count = files.len();
        files.dedup();
        assert_eq!(files.len(), count);
    }

    #[test]
    fn a_program_has_the_name_of_its_package_below_the_folder() {
        let part = plugins();
        let files: Vec<&str> = part.files().collect();
        assert_eq!(&files[..2], ["cni/bridge", "cni/loopback"]);
        assert_eq!(etcd().files().collect::<Vec<_>>(), ["etcd"]);
    }

    #[test]
    fn kubernetes_says_which_version_it_is() {
        let said = kubernetes_version();
        let full = format!(
            "-X k8s.io/component-base/version.gitVersion=v{}",
            version::KUBERNETES
        );
        assert!(said.contains(&full), "{said}");
        assert!(said.contains("gitMajor=1 "), "{said}");
    }
}
