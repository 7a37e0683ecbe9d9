//! What of upstream's cases is not run, and why: the only table of it.
//!
//! docs/conformance.md shows it with the names of all cases; `page` compares the two. A case that starts to be possible is
//! taken out here, and runs.

/// Cases for one reason.
pub(super) struct Group {
    pub(super) title: &'static str,
    /// Words of their names.
    marks: &'static [&'static str],
    pub(super) reason: &'static str,
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        title: "Network policies",
        marks: &["NetworkPolicy between server and client"],
        reason: "Podwire does not enforce network policies yet.",
    },
    Group {
        title: "SCTP",
        marks: &["[Feature:SCTPConnectivity]"],
        reason: "The kernel of the machines that this is run on has no SCTP, so nobody can send a packet of it.",
    },
    Group {
        title: "Load balancers",
        marks: &["[Feature:LoadBalancer]"],
        reason: "Nothing in the cluster gives Services of type LoadBalancer an address: they need a cloud or a program for it.",
    },
    Group {
        title: "The Internet",
        marks: &[
            "Internet connection",
            "for the cluster [Provider:gce]",
            "forward PTR records",
        ],
        reason: "The cluster's LAN leads nowhere, and these ask for hosts or names of the Internet.",
    },
    Group {
        title: "Other ways to make a cluster",
        marks: &[
            "should recreate its iptables rules",
            "should work after restarting kube-proxy",
            "should work after restarting apiserver",
        ],
        reason: "They skip themselves: the first wants a way into the nodes by SSH, the others kube-proxy and the API server in \
                 pods. `cargo xtask cluster test --all` kills kube-proxy and cuts the API server off for a minute; it does not \
                 restart the API server, and does not delete kube-proxy's rules.",
    },
    Group {
        title: "Images that cannot be made",
        marks: &[
            "should let a node pull an image from a registry",
            "should set TCP CLOSE_WAIT timeout",
            "IPerf2",
        ],
        reason: "They need an image in an image, which upstream fetches when it builds its own; an image of conntrack's tool, \
                 to see a sysctl of the machine's kernel that kube-proxy leaves alone here; and an iperf that is newer than \
                 Debian's.",
    },
    Group {
        title: "Six nodes",
        marks: &[
            "between pods on multiple nodes when using",
            "on the same node or fall back to same zone",
        ],
        reason: "They need three zones of two nodes each. Which pod of a Service is taken is kube-proxy's choice, and the cases \
                 with one node in each zone are run.",
    },
    Group {
        title: "Loads of other programs",
        marks: &["[Feature:PerformanceDNS]"],
        reason: "Thousands of Services are made to see how long the cluster's DNS takes; a pod network has no part in it.",
    },
];

/// The reason why a case is left out, if it is.
pub(super) fn why(case: &str) -> Option<&'static Group> {
    GROUPS
        .iter()
        .find(|group| group.marks.iter().any(|mark| case.contains(mark)))
}
