//! What the kernel's answers may meet with: no space for them, more than was expected, and lists that never stand still.

use crate::place::*;
use host::nft::Nft;
use host::rtnl::Rtnl;
use model::change::Change;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// As small as the kernel allows.
fn narrow(rtnl: &Rtnl) {
    set_socket_recv_buffer_size(rtnl, 1).unwrap();
}

fn run(program: &str, arguments: &[String]) {
    let status = Command::new(program).args(arguments).status();
    let status = status.expect("`cargo xtask test` installs what is needed");
    assert!(status.success(), "{program} {arguments:?}");
}

/// A link whose description is longer than any buffer that is read into at first.
fn long_winded(link: &str) {
    run(
        "ip",
        &["link", "add", link, "type", "bridge"].map(str::to_owned),
    );
    // No more go into one message of ip(8).
    for part in 0..60 {
        let mut words = ["link", "property", "add", "dev", link]
            .map(str::to_owned)
            .to_vec();
        for number in 0..6 {
            words.extend([
                "altname".to_owned(),
                format!("{}{part}x{number}", "n".repeat(120)),
            ]);
        }
        run("ip", &words);
    }
}

#[test]
fn a_link_with_hundreds_of_names_is_found_and_hides_no_other() {
    let mut node = node();
    long_winded("br7");
    let seen = node.link(&name("br7")).unwrap().unwrap();
    assert_eq!(seen.kind.as_deref(), Some("bridge"));
    let names: Vec<_> = node
        .links()
        .unwrap()
        .into_iter()
        .map(|link| link.name)
        .collect();
    assert!(
        names.contains(&name("lo")) && names.contains(&name("br7")),
        "{names:?}"
    );
    // The one after is read with the same socket.
    assert!(node.link(&name("lo")).unwrap().is_some());
}

#[test]
fn answers_that_do_not_fit_the_receive_buffer_are_an_error_and_not_success() {
    let mut node = node();
    narrow(&node);
    // Nothing leads out of a loopback that is down: the kernel refuses each of them.
    let refused = || Change::AddRoute(via("10.1.0.0/24", "192.0.2.1", "lo"));
    let changes: Vec<Change> = std::iter::repeat_with(refused).take(64).collect();
    let report = node.apply(&changes, None);
    assert_eq!(report.failed.len(), changes.len());
    let (_, error) = &report.failed[63];
    assert_eq!(error.errno(), Some(Errno::NOBUFS), "{error}");
    // What was not read does not answer the next question.
    assert_eq!(node.link(&name("lo")).unwrap().unwrap().name, name("lo"));
    assert!(node.apply(&[Change::SetUp(name("lo"))], None).ok().is_ok());
}

#[test]
fn a_list_longer_than_the_receive_buffer_is_read_whole() {
    let mut node = node();
    narrow(&node);
    let bridges: Vec<Change> = (0..80)
        .map(|number| bridge(&format!("br{number}")))
        .collect();
    node.apply(&bridges, None).ok().unwrap();
    assert_eq!(node.links().unwrap().len(), 81);
}

/// Each transaction of anybody makes a new generation of the ruleset, and a list that spans two of them is none.
#[test]
fn a_list_that_never_stands_still_is_given_up_after_two_seconds() {
    drop(node());
    let mut rules = String::from(
        "table ip busy {\nset s { type ipv4_addr; }\nchain c { type filter hook forward priority 0;\n",
    );
    for number in 0..4000 {
        rules.push_str(&format!(
            "ip saddr 10.{}.{}.1 counter drop\n",
            number / 250,
            number % 250
        ));
    }
    rules.push_str("}\n}\n");
    let file = std::env::temp_dir().join(format!("podwire-busy-{}", std::process::id()));
    std::fs::write(&file, rules).unwrap();
    run("nft", &["-f".to_owned(), file.display().to_string()]);
    std::fs::remove_file(file).unwrap();
    let mut nft = Nft::open().unwrap();
    let still = nft.foreign().unwrap();
    let mut busy = Nft::open().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                busy.apply(&[Change::RemoveTable], None).unwrap();
            }
        });
        let began = Instant::now();
        let seen = nft.foreign();
        over.store(true, Relaxed);
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
        match seen {
            Ok(seen) => assert_eq!(seen, still),
            Err(error) => assert!(error.to_string().contains("changed each time"), "{error}"),
        }
    });
    assert_eq!(nft.foreign().unwrap(), still);
}
