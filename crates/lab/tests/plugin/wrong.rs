//! The table of wrong calls: each is an ADD that is right but for one thing.

use super::Kind;

/// A call that is wrong in one way.
pub(super) struct Wrong {
    pub(super) what: &'static str,
    pub(super) kinds: &'static [Kind],
    /// Variables that differ from those of a right ADD.
    pub(super) environment: &'static [(&'static str, &'static str)],
    pub(super) input: Input,
    pub(super) code: u64,
    /// Words of the message or of its details.
    pub(super) says: &'static [&'static str],
}

pub(super) enum Input {
    Right,
    /// Exactly this.
    Text(&'static str),
    /// The right one with these keys changed; null takes a key away.
    Keys(&'static [(&'static str, &'static str)]),
}

const BRIDGE: &[Kind] = &[Kind::Bridge];
const ROUTED: &[Kind] = &[Kind::Routed];

const fn environment(
    what: &'static str,
    environment: &'static [(&'static str, &'static str)],
    code: u64,
    says: &'static [&'static str],
) -> Wrong {
    Wrong {
        what,
        kinds: &Kind::BOTH,
        environment,
        input: Input::Right,
        code,
        says,
    }
}

const fn text(
    what: &'static str,
    text: &'static str,
    code: u64,
    says: &'static [&'static str],
) -> Wrong {
    Wrong {
        what,
        kinds: &Kind::BOTH,
        environment: &[],
        input: Input::Text(text),
        code,
        says,
    }
}

const fn keys(
    what: &'static str,
    kinds: &'static [Kind],
    keys: &'static [(&'static str, &'static str)],
    code: u64,
    says: &'static [&'static str],
) -> Wrong {
    Wrong {
        what,
        kinds,
        environment: &[],
        input: Input::Keys(keys),
        code,
        says,
    }
}

pub(super) const ENVIRONMENTS: &[Wrong] = &[
    environment(
        "all variables missing",
        &[
            ("CNI_CONTAINERID", ""),
            ("CNI_NETNS", ""),
            ("CNI_IFNAME", ""),
        ],
        4,
        &["required environment variables are missing: CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME"],
    ),
    environment(
        "one variable missing",
        &[("CNI_NETNS", "")],
        4,
        &["variables are missing: CNI_NETNS"],
    ),
    environment(
        "name of 16 bytes",
        &[("CNI_IFNAME", "abcdefghijklmnop")],
        4,
        &["CNI_IFNAME is not usable: it is longer than 15 bytes"],
    ),
    environment(
        "name with a slash",
        &[("CNI_IFNAME", "a/b")],
        4,
        &["CNI_IFNAME", "'/'"],
    ),
    environment(
        "container id that is a path",
        &[("CNI_CONTAINERID", "../x")],
        4,
        &["CNI_CONTAINERID", "'.'"],
    ),
    environment(
        "arguments without =",
        &[("CNI_ARGS", "nonsense")],
        4,
        &["CNI_ARGS: \"nonsense\" is not KEY=VALUE"],
    ),
    environment(
        "unknown argument",
        &[("CNI_ARGS", "A=b")],
        4,
        &["CNI_ARGS: unknown keys without IgnoreUnknown=1: A"],
    ),
    environment(
        "an address that no pod may have",
        &[("CNI_ARGS", "IgnoreUnknown=1;IP=10.244.0.1")],
        7,
        &["ips: 10.244.0.1 is asked for", "10.244.0.2 to 10.244.0.254"],
    ),
    environment(
        "a gateway asked for",
        &[("CNI_ARGS", "IgnoreUnknown=1;GATEWAY=10.244.0.9")],
        2,
        &["CNI_ARGS: GATEWAY=10.244.0.9 is not served"],
    ),
    environment(
        "a multicast MAC",
        &[("CNI_ARGS", "IgnoreUnknown=1;MAC=01:00:5e:00:00:01")],
        7,
        &["mac: \"01:00:5e:00:00:01\": it is a multicast MAC"],
    ),
    environment(
        "no such namespace",
        &[("CNI_NETNS", "/run/netns/none")],
        8,
        &["/run/netns/none does not exist"],
    ),
    environment(
        "a plain file",
        &[("CNI_NETNS", "/run/netns/plain")],
        8,
        &["/run/netns/plain is no network namespace"],
    ),
    environment(
        "a folder",
        &[("CNI_NETNS", "/run/netns")],
        8,
        &["/run/netns is no network namespace"],
    ),
    environment(
        "a mount namespace",
        &[("CNI_NETNS", "/proc/self/ns/mnt")],
        8,
        &["/proc/self/ns/mnt is no network namespace"],
    ),
    environment(
        "the node's own namespace",
        &[("CNI_NETNS", "/proc/self/ns/net")],
        8,
        &["is the network namespace of the node itself"],
    ),
    environment(
        "an interface of that name",
        &[("CNI_IFNAME", "taken0")],
        102,
        &["interface taken0 is already in the container's network namespace and is not ours"],
    ),
    environment(
        "the pod's loopback",
        &[("CNI_IFNAME", "lo")],
        102,
        &["interface lo is already"],
    ),
];

pub(super) const CONFIGURATIONS: &[Wrong] = &[
    text("nothing", "", 6, &["is no JSON"]),
    text("no JSON", "{\"cniVersion\":", 6, &["is no JSON"]),
    text("no object", "[1]", 6, &["is no JSON object"]),
    text("bytes that are no text", "\u{0}", 6, &["is no JSON"]),
    keys(
        "unknown version",
        &Kind::BOTH,
        &[("cniVersion", "\"1.2.0\"")],
        1,
        &[
            "incompatible CNI versions",
            "config is \"1.2.0\", plugin supports 0.1.0",
        ],
    ),
    keys(
        "version that is a number",
        &Kind::BOTH,
        &[("cniVersion", "1")],
        7,
        &["cniVersion: 1 is no text"],
    ),
    keys(
        "no name",
        &Kind::BOTH,
        &[("name", "null")],
        7,
        &["name \"\" is no network name"],
    ),
    keys(
        "name that is a path",
        &Kind::BOTH,
        &[("name", "\"../../etc\"")],
        7,
        &["name \"../../etc\" is no network name"],
    ),
    keys(
        "unknown type",
        &Kind::BOTH,
        &[("type", "\"bridge2\"")],
        7,
        &["type \"bridge2\" is not served"],
    ),
    keys(
        "all keys missing",
        BRIDGE,
        &[("network", "null"), ("subnet", "null")],
        7,
        &["key \"network\" is missing; key \"subnet\" is missing"],
    ),
    keys(
        "no ranges",
        ROUTED,
        &[("ranges", "null")],
        7,
        &["key \"ranges\" is missing or empty"],
    ),
    keys(
        "empty ranges",
        ROUTED,
        &[("ranges", "[]")],
        7,
        &["key \"ranges\" is missing or empty"],
    ),
    keys(
        "host bits",
        BRIDGE,
        &[("subnet", "\"10.244.0.1/24\"")],
        7,
        &["subnet: 10.244.0.1/24 has host bits set; the prefix would be 10.244.0.0/24"],
    ),
    keys(
        "host bits",
        ROUTED,
        &[("ranges", "[\"10.244.0.1/24\"]")],
        7,
        &["ranges: 10.244.0.1/24 has host bits set"],
    ),
    keys(
        "too small",
        BRIDGE,
        &[("subnet", "\"10.244.0.0/31\"")],
        7,
        &["subnet: 10.244.0.0/31 is too small", "at least a /30"],
    ),
    keys(
        "too small",
        ROUTED,
        &[("ranges", "[\"10.244.0.0/31\",\"fd00::/127\"]")],
        7,
        &[
            "10.244.0.0/31 is too small",
            "fd00::/127 is too small",
            "at least a /126",
        ],
    ),
    keys(
        "no prefix",
        BRIDGE,
        &[("subnet", "\"10.244.0.0\"")],
        7,
        &["subnet: \"10.244.0.0\" is no prefix"],
    ),
    keys(
        "outside of the network",
        BRIDGE,
        &[("subnet", "\"10.245.0.0/24\"")],
        7,
        &["10.245.0.0/24 lies outside of network 10.244.0.0/16"],
    ),
    keys(
        "IPv6 with the demo's type",
        BRIDGE,
        &[("subnet", "\"fd00::/64\""), ("network", "\"fd00::/56\"")],
        7,
        &["type bash-cni is IPv4 only"],
    ),
    keys(
        "loopback",
        BRIDGE,
        &[
            ("subnet", "\"127.0.0.0/24\""),
            ("network", "\"127.0.0.0/8\""),
        ],
        7,
        &["127.0.0.0/24 is not for pods"],
    ),
    keys(
        "overlap",
        ROUTED,
        &[("ranges", "[\"10.244.0.0/24\",\"10.244.0.0/25\"]")],
        7,
        &["10.244.0.0/24 and 10.244.0.0/25 overlap"],
    ),
    keys(
        "bridge of 16 bytes",
        BRIDGE,
        &[("bridge", "\"abcdefghijklmnop\"")],
        7,
        &["bridge \"abcdefghijklmnop\" is no interface name"],
    ),
    keys(
        "bridge that the kernel would number",
        BRIDGE,
        &[("bridge", "\"br%d\"")],
        7,
        &["bridge \"br%d\" is no interface name", "'%'"],
    ),
    keys(
        "an MTU that IPv6 cannot have",
        ROUTED,
        &[("mtu", "1279")],
        7,
        &["mtu: 1279 is less than the 1280 that IPv6 needs"],
    ),
    keys(
        "tiny MTU",
        &Kind::BOTH,
        &[("mtu", "100")],
        7,
        &["mtu: 100 is no number between 576 and 65535"],
    ),
    keys(
        "a veth of the bridge's name",
        BRIDGE,
        &[("bridge", "\"veth0\"")],
        102,
        &["link veth0 is no bridge but of type veth"],
    ),
    keys(
        "the loopback as the bridge",
        BRIDGE,
        &[("bridge", "\"lo\"")],
        102,
        &["link lo is no bridge"],
    ),
    keys(
        "a device asked for",
        &Kind::BOTH,
        &[("runtimeConfig", r#"{"deviceID":"0000:00:1f.6"}"#)],
        2,
        &["runtimeConfig.deviceID"],
    ),
    keys(
        "a range that lies elsewhere",
        &Kind::BOTH,
        &[(
            "runtimeConfig",
            r#"{"ipRanges":[[{"subnet":"10.9.0.0/24"}]]}"#,
        )],
        7,
        &["ipRanges", "lies outside of network 10.244.0.0/16"],
    ),
    keys(
        "a burst without a rate",
        &Kind::BOTH,
        &[("runtimeConfig", r#"{"bandwidth":{"IngressBurst":1000}}"#)],
        7,
        &["ingressBurst is 1000, without ingressRate"],
    ),
    keys(
        "an annotation that is no rate",
        &Kind::BOTH,
        &[(
            "runtimeConfig",
            r#"{"io.kubernetes.cri.pod-annotations":{"kubernetes.io/egress-bandwidth":"fast"}}"#,
        )],
        7,
        &["annotation kubernetes.io/egress-bandwidth: \"fast\" is no rate"],
    ),
];
