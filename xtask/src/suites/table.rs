//! Which suites there are, of which module and version, and how each is aimed at us.

/// Other people's tests.
pub(super) struct Suite {
    pub(super) name: &'static str,
    pub(super) module: &'static Module,
    /// The package below the module.
    pub(super) package: &'static str,
    pub(super) aim: Aim,
    /// Changes to the suite's own files, each as little as the reason asks for.
    pub(super) changes: &'static [Change],
}

/// How a suite comes to our files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// It runs plugins that it finds by their names.
    Called,
    /// It calls functions of the plugin that it is compiled with; a shim runs our file in their place.
    Within,
}

/// Text that is replaced in a file of the package.
pub(super) struct Change {
    pub(super) file: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
}

/// Where a suite comes from.
pub(super) struct Module {
    /// A folder's name.
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) version: &'static str,
    pub(super) tags: &'static str,
    /// Tests of our own around the module, where its own are in no module.
    pub(super) tests: Option<&'static str>,
}

/// The reference plugins, and their tests.
pub(super) const PLUGINS: Module = Module {
    name: "plugins",
    path: "github.com/containernetworking/plugins",
    version: "v1.9.1",
    tags: "",
    tests: None,
};

/// What podman 4.3 is built with.
const COMMON: Module = Module {
    name: "common",
    path: "github.com/containers/common",
    version: "v0.50.1",
    tags: "containers_image_openpgp,exclude_graphdriver_btrfs,exclude_graphdriver_devicemapper",
    tests: None,
};

/// What containerd calls plugins with. Its integration tests are a module that is not published.
const GO_CNI: Module = Module {
    name: "go-cni",
    path: "github.com/containerd/go-cni",
    version: "v1.1.13",
    tags: "",
    tests: Some(include_str!("runtimes_test.go")),
};

/// The node's ends of our links have our prefix.
const PREFIX: Change = Change {
    file: "bridge_test.go",
    from: "HavePrefix(\"veth\")",
    to: "HavePrefix(\"pw\")",
};

/// There is no chain of iptables; whether packets get through is looked at all the same.
const NO_CHAIN: [Change; 2] = [
    Change {
        file: "portmap_integ_test.go",
        from: "_, err = ipt.List(\"nat\", dnatChainName)\n\t\t\t\tExpect(err).NotTo(HaveOccurred())",
        to: "_, _ = ipt, dnatChainName",
    },
    Change {
        file: "portmap_integ_test.go",
        from: "_, err = ipt.List(\"nat\", dnatChainName)\n\t\t\t\tExpect(err).To(HaveOccurred())",
        to: "",
    },
];

pub(super) const SUITES: &[Suite] = &[
    called("integration", "integration"),
    called("bridge", "plugins/main/bridge"),
    called("ptp", "plugins/main/ptp"),
    called("host-device", "plugins/main/host-device"),
    called("tap", "plugins/main/tap"),
    called("dummy", "plugins/main/dummy"),
    called("ipvlan", "plugins/main/ipvlan"),
    called("macvlan", "plugins/main/macvlan"),
    called("vlan", "plugins/main/vlan"),
    called("bandwidth", "plugins/meta/bandwidth"),
    called("firewall", "plugins/meta/firewall"),
    called("portmap", "plugins/meta/portmap"),
    within("bridge-within", "plugins/main/bridge", &[PREFIX]),
    within("loopback-within", "plugins/main/loopback", &[]),
    within("host-local-within", "plugins/ipam/host-local", &[]),
    within("portmap-within", "plugins/meta/portmap", &NO_CHAIN),
    Suite {
        name: "podman",
        module: &COMMON,
        package: "libnetwork/cni",
        aim: Aim::Called,
        changes: &[],
    },
    Suite {
        name: "runtimes",
        module: &GO_CNI,
        package: "",
        aim: Aim::Called,
        changes: &[],
    },
];

const fn called(name: &'static str, package: &'static str) -> Suite {
    Suite {
        name,
        module: &PLUGINS,
        package,
        aim: Aim::Called,
        changes: &[],
    }
}

const fn within(name: &'static str, package: &'static str, changes: &'static [Change]) -> Suite {
    Suite {
        name,
        module: &PLUGINS,
        package,
        aim: Aim::Within,
        changes,
    }
}

impl Suite {
    /// The plugin's name, and the package's.
    pub(super) fn plugin(&self) -> &'static str {
        self.package.rsplit('/').next().unwrap_or(self.name)
    }

    /// Whether the reference plugins can take our files' place.
    pub(super) fn has_reference(&self) -> bool {
        self.aim == Aim::Called
    }
}
