//! The kernel floor: makes and removes the kernel objects of one pod, and does nothing else.
//!
//! Same objects as ADD of `podwire` (`routed`) and `bash-cni` (`bridge`), as raw rtnetlink(7) messages in as few system
//! calls as there can be: no parsing of JSON, no state, no lock, no answer, no question that is not needed. What ADD costs
//! above this is what Podwire costs. It shares no code with Podwire, so that both can be wrong only independently.
//!
//! `floor add|del routed|bridge NETNS-PATH HOSTIF IPV4/LENGTH [IPV6/LENGTH]`, or `floor nothing` for what starting a
//! program costs.

mod message;

use std::io::Write as _;
use std::process::ExitCode;

use ipnet::IpNet;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use message::{Batch, POD_END, alone, gateway};

const BRIDGE: &str = "cni0";
/// Always the first link of a network namespace.
const LO: u32 = 1;
const ACCEPT_RA: &str = "/proc/sys/net/ipv6/conf/eth0/accept_ra";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["nothing"] => Ok(()),
        ["add", kind, netns, host, ref addresses @ ..] => add(kind, netns, host, addresses),
        ["del", _, _, host, ..] => delete(host),
        _ => Err(Errno::INVAL),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(errno) => {
            // Nobody is there to be told that standard error is closed.
            drop(writeln!(
                std::io::stderr(),
                "floor {}: {errno}",
                words.join(" ")
            ));
            ExitCode::FAILURE
        }
    }
}

fn add(kind: &str, netns: &str, host: &str, addresses: &[&str]) -> Result<(), Errno> {
    let nets: Vec<IpNet> = addresses
        .iter()
        .map(|text| text.parse().map_err(|_| Errno::INVAL))
        .collect::<Result<_, _>>()?;
    let first = nets.first().ok_or(Errno::INVAL)?.addr();
    let routed = kind == "routed";
    let pod = openat(CWD, netns, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let node = socket()?;

    let mut batch = Batch::new();
    let bridge = if routed {
        for net in &nets {
            batch.address(LO, alone(gateway(net)));
        }
        None
    } else {
        Some(bridge(&node, &nets)?)
    };
    batch.veth(host, first, &pod, bridge);
    batch.alias(host, bridge.is_some());
    batch.without_own_ipv6(host);
    batch.send(&node)?;

    move_into_link_name_space(pod.as_fd(), Some(LinkNameSpaceType::Network))?;
    if nets.iter().any(|net| net.addr().is_ipv6()) {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(CWD, ACCEPT_RA, flags, Mode::empty())?;
        rustix::io::write(&file, b"0")?;
    }
    let inside = socket()?;
    let mut batch = Batch::new();
    batch.pod(name_to_index(&inside, POD_END)?, &nets, first, routed);
    batch.send(&inside)?;
    if !routed {
        return Ok(());
    }

    let link = name_to_index(&node, host)?;
    let mut batch = Batch::new();
    for net in &nets {
        batch.way(link, net.addr(), gateway(net));
        batch.neighbour(link, net.addr(), first);
    }
    batch.send(&node)
}

fn delete(host: &str) -> Result<(), Errno> {
    let mut batch = Batch::new();
    batch.delete(host);
    batch.send(&socket()?)
}

/// The bridge's index; the bridge and its address are made if they are not there.
fn bridge(node: &OwnedFd, nets: &[IpNet]) -> Result<u32, Errno> {
    if let Ok(index) = name_to_index(node, BRIDGE) {
        return Ok(index);
    }
    let own = nets.first().map(gateway).ok_or(Errno::INVAL)?;
    let mut batch = Batch::new();
    batch.bridge(BRIDGE, own);
    batch.send(node)?;
    let index = name_to_index(node, BRIDGE)?;
    let mut batch = Batch::new();
    for net in nets {
        batch.address(
            index,
            IpNet::new(gateway(net), net.prefix_len()).unwrap_or(*net),
        );
    }
    batch.send(node)?;
    Ok(index)
}

fn socket() -> Result<OwnedFd, Errno> {
    // Without a protocol this is rtnetlink: its number is 0.
    rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )
}
