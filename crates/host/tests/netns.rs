//! What a path leads to, and being elsewhere for the length of a call.

use crate::place::*;
use host::netns::{Netns, NetnsError, door, standpoint};
use model::reclaim::Door;
use std::path::Path;

fn refused(path: &str) -> NetnsError {
    Netns::open(Path::new(path)).unwrap_err()
}

#[test]
fn a_path_that_is_no_namespace_is_told_apart() {
    let _node = node();
    let gone = "/var/run/netns/no-such-pod";
    assert_eq!(refused(gone), NetnsError::Gone(gone.into()));
    assert_eq!(
        refused("/etc/passwd/x"),
        NetnsError::Gone("/etc/passwd/x".into())
    );
    // An ordinary file, a folder, a device, and a namespace of another kind.
    for other in [
        "/etc/passwd",
        "/tmp",
        "/dev/null",
        "/proc/self/ns/mnt",
        "/proc/self/ns/uts",
    ] {
        assert_eq!(refused(other), NetnsError::NotOne(other.into()));
    }
    let socket = std::env::temp_dir().join(format!("podwire-socket-{}", std::process::id()));
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let text = socket.to_str().unwrap();
    assert_eq!(refused(text), NetnsError::NotOne(text.into()));
    std::fs::remove_file(&socket).unwrap();
    assert_eq!(
        refused("/etc/passwd").to_string(),
        "/etc/passwd is no network namespace"
    );
}

#[test]
fn the_hosts_own_namespace_is_refused() {
    let _node = node();
    let own = "/proc/thread-self/ns/net";
    assert_eq!(refused(own), NetnsError::Own(own.into()));
}

#[test]
fn a_pods_namespace_is_known_by_its_inode() {
    use std::os::unix::fs::MetadataExt as _;
    let (_node, pod) = (node(), pod());
    let inode = std::fs::metadata(&pod.path).unwrap().ino();
    assert_eq!(pod.netns.inode(), inode);
}

#[test]
fn where_a_path_leads_is_seen_without_entering() {
    let (_node, pod) = (node(), pod());
    let inode = pod.netns.inode();
    for (path, expected) in [
        (pod.path.to_str().unwrap(), Door::Namespace(inode)),
        ("/etc/passwd", Door::Other),
        ("/etc/passwd/x", Door::Gone),
        ("/var/run/netns/no-such-pod", Door::Gone),
        ("/proc/1/no-such-file", Door::Gone),
    ] {
        assert_eq!(door(Path::new(path)), expected, "{path}");
    }
}

#[test]
fn a_standpoint_is_another_one_in_another_network() {
    let before = standpoint().unwrap();
    let _node = node();
    let inside = standpoint().unwrap();
    assert_ne!(inside.net, before.net);
    assert_eq!(inside.pid, before.pid);
}

#[test]
fn a_call_inside_ends_outside_even_if_it_panics() {
    let (_node, pod) = (node(), pod());
    let here = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let before = here();
    let inside = pod.netns.enter(here).unwrap();
    assert_ne!(inside, before);
    assert_eq!(here(), before);
    let broken = std::panic::catch_unwind(|| pod.netns.enter(|| panic!("inside")));
    assert!(broken.is_err());
    assert_eq!(here(), before);
}
