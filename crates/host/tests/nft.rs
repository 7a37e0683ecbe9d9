//! nftables: what we put is what nft(8) and iptables-nft(8) show, and what they put is what we see.
//!
//! Each test has a network namespace of its own. Needs `CAP_NET_ADMIN` there, and Debian's nftables and iptables.

mod foreign;
mod ports;
mod sets;
mod table;

use host::nft::Nft;
use ipnet::IpNet;
use model::addr::Family;
use model::change::Change;
use model::firewall::{
    COMMENT, Chain, Element, Elements, Hook, Is, Match, Rule, Set, Table, TableState, Verdict,
};
use model::name::IfName;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

/// Runs `test` in a fresh network namespace, on a thread of its own, because the namespace is the thread's.
fn fresh(test: impl FnOnce(Nft) + Send + 'static) {
    let thread = std::thread::spawn(|| {
        #[expect(deprecated, reason = "safe with a flag that parts no file descriptors")]
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).expect(
            "no CAP_SYS_ADMIN for a network namespace: run `unshare -Urnm cargo test -p host`",
        );
        test(Nft::open().unwrap());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// What a program prints; it must succeed.
fn run(program: &str, arguments: &[&str]) -> String {
    feed(program, arguments, "")
}

/// What a program prints when it reads `input`; it must succeed.
fn feed(program: &str, arguments: &[&str], input: &str) -> String {
    use std::io::Write as _;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}: apt-get install nftables iptables"));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{program} {arguments:?}: {err}");
    out
}

/// Loads a script of nft(8).
fn nft(script: &str) {
    feed("nft", &["-f", "-"], script);
}

/// Our table as nft lists it, without counters' values.
fn listing() -> String {
    run("nft", &["-s", "list", "table", "inet", "podwire"])
}

fn rule(matches: Vec<Match>, verdict: Verdict, comment: &str) -> Rule {
    Rule {
        matches,
        verdict,
        comment: comment.into(),
    }
}

/// The rule that lets pods through other people's chains.
fn ours() -> Rule {
    rule(
        vec![Match::Source(Is::In, net("10.244.0.0/16"))],
        Verdict::Accept,
        COMMENT,
    )
}

fn elements(set: Set, texts: &[&str]) -> Vec<Element> {
    let element = |text: &&str| match set {
        Set::Bridges => Element::Interface(IfName::new(text).unwrap()),
        Set::Ports(_)
        | Set::PortsAt(_)
        | Set::Hairpin(_)
        | Set::Masqueraded(_)
        | Set::MasqueradedTo(_) => {
            panic!("{set} has owners: see `ports`")
        }
        Set::Pods(_) | Set::Local(_) | Set::Shared(_) | Set::Nodes(_) | Set::Services(_) => {
            Element::Net(text.parse().unwrap())
        }
    };
    texts.iter().map(element).collect()
}

/// A table with every kind of condition, verdict and element that there is.
fn everything() -> Table {
    let chain = |name, nat, hook, priority, rules| Chain {
        name,
        nat,
        hook,
        priority,
        rules,
    };
    let (v4, v6) = (Family::V4, Family::V6);
    let sets = [
        (
            Set::Pods(v4),
            &["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"][..],
        ),
        (
            Set::Pods(v6),
            &["fd00:10:244::/64", "fd00:10:244:1::/64", "ff00::/8"],
        ),
        (
            Set::Local(v4),
            &["10.244.1.0/24", "255.255.255.254/31", "10.9.9.9/32"],
        ),
        (Set::Local(v6), &["fd00:10:244:1::/64"]),
        (Set::Nodes(v4), &["192.168.0.2/32", "192.168.0.3/32"]),
        (Set::Nodes(v6), &["2001:db8::2/128"]),
        (Set::Bridges, &["cni0", "fifteen-letters"]),
        (Set::Services(v4), &["10.96.0.1/32"]),
        (Set::Services(v6), &["fd00:96::1/128"]),
        (Set::Shared(v4), &["10.7.0.0/24"]),
        (Set::Shared(v6), &["fd00:7::/64"]),
    ];
    let owned = Set::ALL.into_iter().filter(|set| set.is_owned());
    let owned = owned.map(|set| (set, BTreeSet::new()));
    Table {
        version: "v1-0123456789abcdef".into(),
        chains: vec![
            chain("prerouting", false, Hook::Prerouting, -300, prerouting()),
            chain("input", false, Hook::Input, 5, vec![]),
            chain("forward", false, Hook::Forward, 0, forward()),
            chain("postrouting", true, Hook::Postrouting, 100, postrouting()),
            chain("output", true, Hook::Output, -90, lead()),
        ],
        elements: sets
            .into_iter()
            .map(|(set, texts)| (set, elements(set, texts).into_iter().collect()))
            .chain(owned)
            .collect(),
    }
}

fn prerouting() -> Vec<Rule> {
    use Is::{In, NotIn};
    let loopback = Match::Destination(In, net("127.0.0.0/8"));
    let link_local = Match::Source(NotIn, net("fe80::/10"));
    let iif = |is, name: &str| Match::Iif(is, name.into());
    let spoofed = vec![iif(In, "pw*"), link_local, Match::NoReversePath];
    vec![
        rule(vec![iif(NotIn, "lo"), loopback], Verdict::Drop, "loopback"),
        rule(spoofed, Verdict::Drop, "no spoofing"),
        rule(vec![iif(In, "cni0")], Verdict::Accept, "one bridge"),
        rule(vec![iif(NotIn, "pw*")], Verdict::Accept, "no pod"),
    ]
}

fn forward() -> Vec<Rule> {
    let accept = |condition, comment| rule(vec![condition], Verdict::Accept, comment);
    let pods = Match::SourceIn(Is::In, Set::Pods(Family::V4));
    let one = Match::Destination(Is::In, net("10.96.0.10/32"));
    let odd = Match::Source(Is::In, net("fd00:10:244::/63"));
    vec![
        accept(pods, "from pods"),
        accept(one, "one address"),
        accept(odd, "odd length"),
        rule(vec![], Verdict::Accept, "everything"),
    ]
}

fn lead() -> Vec<Rule> {
    let lead = |family, map| {
        let services = Match::DestinationIn(Is::NotIn, Set::Services(family));
        rule(
            vec![Match::ToThisNode, services],
            Verdict::Dnat(map),
            "host ports",
        )
    };
    let (v4, v6) = (Family::V4, Family::V6);
    vec![
        lead(v4, Set::PortsAt(v4)),
        lead(v4, Set::Ports(v4)),
        lead(v6, Set::PortsAt(v6)),
        lead(v6, Set::Ports(v6)),
        rule(
            vec![],
            Verdict::Dnat(Set::PortsAt(v6)),
            "one without conditions",
        ),
    ]
}

fn postrouting() -> Vec<Rule> {
    let masquerade = |family, multicast| {
        let conditions = vec![
            Match::SourceIn(Is::In, Set::Local(family)),
            Match::DestinationIn(Is::NotIn, Set::Pods(family)),
            Match::DestinationIn(Is::NotIn, Set::Nodes(family)),
            Match::Destination(Is::NotIn, net(multicast)),
        ];
        rule(conditions, Verdict::Masquerade, "out of the cluster")
    };
    let back = vec![Match::OifIn(Is::In, Set::Bridges), Match::Dnat];
    let bridged = vec![
        Match::SourceIn(Is::In, Set::Masqueraded(Family::V4)),
        Match::OifIn(Is::NotIn, Set::Bridges),
    ];
    let itself = |family| {
        let pair = vec![Match::PairIn(Set::Hairpin(family))];
        rule(pair, Verdict::Masquerade, "itself")
    };
    vec![
        rule(bridged, Verdict::Masquerade, "out of the bridges"),
        rule(back, Verdict::Masquerade, "back onto the bridge"),
        itself(Family::V4),
        itself(Family::V6),
        masquerade(Family::V4, "224.0.0.0/4"),
        masquerade(Family::V6, "ff00::/8"),
    ]
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn put(nft: &mut Nft, table: Table) {
    nft.apply(&[Change::PutTable(table)], None).unwrap();
}

/// What a set holds, as the kernel says.
fn held(nft: &mut Nft, set: Set) -> BTreeSet<Element> {
    nft.table().unwrap().unwrap().elements.remove(&set).unwrap()
}
