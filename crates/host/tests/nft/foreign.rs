//! Other programs' chains, and our rules in them.

use super::*;
use model::firewall::{ChainRef, ForeignChain, Role, TableFamily};
use std::io::{BufRead as _, BufReader, Write as _};

fn forward_of_iptables() -> ChainRef {
    ChainRef {
        family: TableFamily::Ip,
        table: "filter".into(),
        chain: "FORWARD".into(),
    }
}

/// The one chain on the forward hook.
fn forward(nft: &mut Nft) -> ForeignChain {
    let mut chains = nft.foreign().unwrap();
    chains.retain(|found| found.hook == Hook::Forward);
    assert_eq!(chains.len(), 1, "{chains:?}");
    chains.remove(0)
}

fn roles(nft: &mut Nft) -> Vec<Role> {
    forward(nft)
        .rules
        .into_iter()
        .map(|rule| rule.role)
        .collect()
}

/// A rule with every condition that iptables has words for.
fn iptables_rules() -> Vec<Rule> {
    [
        "10.244.0.0/16",
        "10.0.0.0/8",
        "10.1.2.0/24",
        "10.244.0.0/15",
        "10.1.2.3/32",
    ]
    .into_iter()
    .flat_map(|prefix| {
        [
            vec![Match::Source(Is::In, net(prefix))],
            vec![Match::Destination(Is::In, net(prefix))],
            vec![
                Match::Iif(Is::In, "pw*".into()),
                Match::Source(Is::NotIn, net(prefix)),
            ],
        ]
    })
    .chain([
        vec![Match::Iif(Is::In, "cni0".into())],
        vec![Match::Iif(Is::NotIn, "fifteen-letters".into())],
        vec![Match::Iif(Is::In, "pw*".into())],
    ])
    .map(|matches| rule(matches, Verdict::Accept, COMMENT))
    .collect()
}

#[test]
fn an_ip_chain_with_our_rule_is_listed_by_iptables() {
    fresh(|mut nft| {
        run("iptables-nft", &["-P", "FORWARD", "DROP"]);
        nft.apply(
            &[Change::InsertRule(forward_of_iptables(), None, ours())],
            None,
        )
        .unwrap();
        assert_eq!(
            run("iptables-nft", &["-S", "FORWARD"]),
            "-P FORWARD DROP\n-A FORWARD -s 10.244.0.0/16 -m comment --comment \"podwire: pods\" -j ACCEPT\n"
        );
        assert_eq!(roles(&mut nft), [Role::Ours(ours().matches)]);
        assert!(forward(&mut nft).drops);
    });
}

#[test]
fn an_ip6_chain_with_our_rule_is_listed_by_ip6tables() {
    fresh(|mut nft| {
        run("ip6tables-nft", &["-P", "FORWARD", "DROP"]);
        let chain = ChainRef {
            family: TableFamily::Ip6,
            ..forward_of_iptables()
        };
        let prefix = "fd00:10:244::/56".parse().unwrap();
        let ours = rule(
            vec![Match::Destination(Is::In, prefix)],
            Verdict::Accept,
            COMMENT,
        );
        nft.apply(&[Change::InsertRule(chain, None, ours.clone())], None)
            .unwrap();
        let listed = run("ip6tables-nft", &["-S", "FORWARD"]);
        let line =
            "-A FORWARD -d fd00:10:244::/56 -m comment --comment \"podwire: pods\" -j ACCEPT\n";
        assert!(listed.ends_with(line), "{listed}");
        feed(
            "ip6tables-nft-restore",
            &[],
            &run("ip6tables-nft-save", &[]),
        );
        assert_eq!(run("ip6tables-nft", &["-S", "FORWARD"]), listed);
        assert_eq!(roles(&mut nft), [Role::Ours(ours.matches)]);
    });
}

#[test]
fn our_rule_is_known_after_iptables_save_and_restore() {
    fresh(|mut nft| {
        run("iptables-nft", &["-P", "FORWARD", "DROP"]);
        let insert = |rule| Change::InsertRule(forward_of_iptables(), None, rule);
        let changes: Vec<Change> = iptables_rules().into_iter().map(insert).collect();
        nft.apply(&changes, None).unwrap();
        let expected: Vec<Role> = iptables_rules()
            .into_iter()
            .map(|rule| Role::Ours(rule.matches))
            .collect();
        assert_eq!(roles(&mut nft), expected);
        let saved = run("iptables-nft-save", &[]);
        assert!(!saved.contains("incompatible"), "{saved}");
        run("nft", &["flush", "ruleset"]);
        feed("iptables-nft-restore", &[], &saved);
        assert_eq!(roles(&mut nft), expected);
    });
}

#[test]
fn our_rule_is_known_by_an_xt_match_alone() {
    fresh(|mut nft| {
        run(
            "iptables-nft",
            &[
                "-A",
                "FORWARD",
                "-s",
                "10.244.0.0/16",
                "-m",
                "comment",
                "--comment",
                COMMENT,
                "-j",
                "ACCEPT",
            ],
        );
        assert_eq!(roles(&mut nft), [Role::Ours(ours().matches)]);
    });
}

#[test]
fn a_rule_before_a_final_reject_stands_directly_before_it() {
    fresh(|mut nft| {
        run(
            "iptables-nft",
            &["-A", "FORWARD", "-i", "eth9", "-j", "DROP"],
        );
        run(
            "iptables-nft",
            &[
                "-A",
                "FORWARD",
                "-m",
                "comment",
                "--comment",
                "the end",
                "-j",
                "REJECT",
                "--reject-with",
                "icmp-host-prohibited",
            ],
        );
        let chain = forward(&mut nft);
        let [other, last] = &chain.rules[..] else {
            panic!("{chain:?}");
        };
        assert_eq!((&other.role, &last.role), (&Role::Other, &Role::Final));
        let generation = nft.generation().unwrap();
        let change = Change::InsertRule(forward_of_iptables(), Some(last.handle), ours());
        nft.apply(&[change], Some(generation)).unwrap();
        assert_eq!(
            roles(&mut nft),
            [Role::Other, Role::Ours(ours().matches), Role::Final]
        );
        let listed = run("iptables-nft", &["-S", "FORWARD"]);
        let lines: Vec<&str> = listed.lines().collect();
        assert!(
            lines[2].contains(COMMENT)
                && lines[3].ends_with("REJECT --reject-with icmp-host-prohibited"),
            "{listed}"
        );
    });
}

#[test]
fn our_rule_goes_and_may_be_gone_already() {
    fresh(|mut nft| {
        run("iptables-nft", &["-P", "FORWARD", "DROP"]);
        let insert = Change::InsertRule(forward_of_iptables(), None, ours());
        nft.apply(std::slice::from_ref(&insert), None).unwrap();
        let remove = Change::RemoveRule(forward_of_iptables(), forward(&mut nft).rules[0].handle);
        nft.apply(std::slice::from_ref(&remove), None).unwrap();
        assert_eq!(roles(&mut nft), []);
        nft.apply(&[remove.clone(), insert], None).unwrap();
        assert_eq!(roles(&mut nft), [Role::Ours(ours().matches)]);
        run("nft", &["flush", "ruleset"]);
        nft.apply(&[remove], None).unwrap();
    });
}

#[test]
fn a_conditional_last_rule_is_not_final() {
    fresh(|mut socket| {
        for (last, role) in [
            ("drop", Role::Final),
            ("reject with icmpx admin-prohibited", Role::Final),
            (
                "counter log prefix \"end \" drop comment \"the end\"",
                Role::Final,
            ),
            ("ip saddr 10.0.0.0/8 drop", Role::Other),
            ("iifname \"eth0\" reject", Role::Other),
            ("ct state invalid drop", Role::Other),
            ("limit rate 1/second drop", Role::Other),
            ("meta nfproto ipv4 drop", Role::Other),
            ("tcp dport 22 drop", Role::Other),
            ("counter", Role::Other),
            ("accept", Role::Other),
            ("jump elsewhere", Role::Other),
            ("meta mark set 1", Role::Other),
        ] {
            nft(&format!(
                "table inet t {{ chain elsewhere {{ }}; chain f {{ type filter hook forward priority 0; {last}; }}; }}"
            ));
            assert_eq!(roles(&mut socket), [role], "{last}");
            run("nft", &["delete", "table", "inet", "t"]);
        }
    });
}

#[test]
fn a_rule_with_our_comment_that_asks_more_than_we_do_has_no_conditions() {
    fresh(|mut socket| {
        for (body, conditions) in [
            ("ip saddr 10.244.0.0/16 accept", ours().matches),
            ("ip saddr 10.244.0.0/16 counter accept", ours().matches),
            ("ip saddr 10.244.0.0/16 tcp dport 80 accept", vec![]),
            ("ip saddr 10.244.0.0/16 drop", vec![]),
            ("ip saddr & 255.0.255.0 == 10.0.1.0 accept", vec![]),
        ] {
            nft(&format!(
                "table inet t {{ chain f {{ type filter hook forward priority 0; {body} comment \"{COMMENT}\"; }}; }}"
            ));
            assert_eq!(roles(&mut socket), [Role::Ours(conditions)], "{body}");
            run("nft", &["delete", "table", "inet", "t"]);
        }
    });
}

#[test]
fn only_what_filters_forwarded_and_incoming_packets_is_foreign() {
    fresh(|mut socket| {
        put(&mut socket, everything());
        nft("table ip a {
                chain f { type filter hook forward priority 0; policy drop; }
                chain o { type filter hook output priority 0; }
                chain n { type nat hook postrouting priority 0; }
                chain plain { drop; }
             }
             table ip6 b { chain i { type filter hook input priority 0; }; }
             table inet c { chain i { type filter hook input priority 0; policy drop; }; }
             table inet asleep {
                flags dormant;
                chain i { type filter hook input priority 0; policy drop; }
             }
             table arp d { chain i { type filter hook input priority 0; policy drop; }; }
             table bridge e { chain f { type filter hook forward priority 0; policy drop; }; }");
        let found: Vec<(String, Hook, bool, bool)> = socket
            .foreign()
            .unwrap()
            .into_iter()
            .map(|found| {
                (
                    found.chain.to_string(),
                    found.hook,
                    found.drops,
                    found.owned,
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("ip a f".into(), Hook::Forward, true, false),
                ("ip6 b i".into(), Hook::Input, false, false),
                ("inet c i".into(), Hook::Input, true, false),
            ]
        );
    });
}

#[test]
fn an_owned_table_is_reported_as_owned() {
    fresh(|mut nft| {
        let mut owner = Command::new("nft")
            .arg("-i")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut commands = owner.stdin.take().unwrap();
        commands
            .write_all(
                b"add table inet firewalld { flags owner; }
                  add chain inet firewalld f { type filter hook forward priority 10; }
                  list table inet firewalld\n",
            )
            .unwrap();
        let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("flags owner")));
        let found = forward(&mut nft);
        assert!(found.owned);
        let error = nft
            .apply(&[Change::InsertRule(found.chain, None, ours())], None)
            .unwrap_err();
        assert_eq!(error.errno(), Some(rustix::io::Errno::PERM));
        drop(commands);
        owner.wait().unwrap();
    });
}
