//! Router advertisements (RFC 4861, section 4.2): a pod sends one, and nobody on the node takes it for a router.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Lab, Place, Pod, watch, wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, ipproto, netdevice, recv,
    sendto, socket_with, sockopt,
};

use super::{Kind, Rig, SOON, node_end, said};

const ADVERTISEMENT: u8 = 134;
/// How long one that is sent may be in coming.
const MOMENT: Duration = Duration::from_millis(300);
/// The sender's address on its link.
pub(crate) const LIAR: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xbad);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn icmpv6(place: &Place) -> Result<OwnedFd> {
    place.attempt(|| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(ipproto::ICMPV6);
        socket_with(AddressFamily::INET6, SocketType::RAW, flags, protocol)
            .context("open an ICMPv6 socket")
    })
}

/// Calls itself the default router for half an hour, on the pod's `eth0`.
fn advertise(pod: &Pod) -> Result<()> {
    let socket = icmpv6(pod)?;
    let index = netdevice::name_to_index(&socket, "eth0")?;
    bind(
        &socket,
        &SocketAddr::V6(SocketAddrV6::new(LIAR, 0, 0, index)),
    )?;
    // What comes from further away than the link is no advertisement.
    sockopt::set_ipv6_multicast_hops(&socket, 255)?;
    // The kernel fills the checksum in. Lifetime: 0x0708 seconds.
    let packet = [
        ADVERTISEMENT,
        0,
        0,
        0,
        64,
        0,
        0x07,
        0x08,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    let all = SocketAddr::V6(SocketAddrV6::new(ALL_NODES, 0, 0, index));
    let sent = sendto(&socket, &packet, SendFlags::empty(), &all)?;
    ensure!(sent == packet.len());
    Ok(())
}

/// Waits for a router advertisement, which is sent again until it is heard: a link that has just come up hears nothing of IPv6
/// before the kernel has noticed that.
fn heard(ear: &OwnedFd, pod: &Pod) -> Result<()> {
    let deadline = Instant::now() + SOON;
    let mut packet = [0; 256];
    loop {
        let ready = poll(
            &mut [PollFd::new(ear, PollFlags::IN)],
            Some(&Timespec::try_from(MOMENT)?),
        )?;
        if ready == 0 {
            ensure!(Instant::now() < deadline, "no advertisement came");
            advertise(pod)?;
            continue;
        }
        let (_, length) = recv(ear, &mut packet[..], RecvFlags::empty())?;
        if length > 0 && packet[0] == ADVERTISEMENT {
            return Ok(());
        }
    }
}

/// Returns when the places have dealt with an advertisement of the pod's.
pub(crate) fn lie(pod: &Pod, to: &[&Place]) -> Result<()> {
    let ears = to.iter().map(|place| icmpv6(place));
    let ears = ears.collect::<Result<Vec<_>>>()?;
    pod.attempt(|| wire::add_address("eth0", format!("{LIAR}/64").parse()?))?;
    // A packet is shown to such a socket just before the kernel reads it itself: the second one tells that the first
    // has been read.
    for _ in 0..2 {
        advertise(pod)?;
        for (ear, place) in ears.iter().zip(to) {
            heard(ear, pod).with_context(|| format!("in {}", place.name()))?;
        }
    }
    Ok(())
}

pub(crate) fn default_route(place: &Place) -> Result<String> {
    said(place, "ip -6 route show default")
}

pub(crate) fn accept_ra(place: &Place, link: &str) -> Result<String> {
    let file = format!("/proc/sys/net/ipv6/conf/{link}/accept_ra");
    let value = place.attempt(|| Ok(std::fs::read_to_string(file)?))?;
    Ok(value.trim().to_owned())
}

/// A node that does not forward IPv6 listens to advertisements wherever nobody told it otherwise.
fn listens(rig: &Rig) -> Result<()> {
    rig.node.attempt(|| {
        wire::set_parameter("ipv6/conf/all/forwarding", "0")?;
        wire::set_parameter("ipv6/conf/default/accept_ra", "1")
    })
}

#[test]
fn a_pod_that_advertises_itself_is_no_router_for_its_node_and_its_neighbour() -> Result<()> {
    for kind in Kind::BOTH {
        Lab::scenario(|lab| {
            let rig = Rig::new(lab, kind)?;
            listens(&rig)?;
            let (liar, result) = rig.pod("liar")?;
            let (neighbour, _) = rig.pod("neighbour")?;
            let link = match kind {
                Kind::Bridge => "cni0",
                Kind::Routed => node_end(&result)?,
            };
            ensure!(
                accept_ra(&rig.node, link)? == "0",
                "{kind:?}: {link} listens"
            );
            let before = (default_route(&rig.node)?, default_route(&neighbour)?);
            ensure!(before.0.is_empty(), "{before:?}");
            match kind {
                Kind::Bridge => lie(&liar, &[&rig.node, &neighbour])?,
                // Nobody but the node is on that link.
                Kind::Routed => lie(&liar, &[&rig.node])?,
            }
            let after = (default_route(&rig.node)?, default_route(&neighbour)?);
            ensure!(after == before, "{kind:?}: {after:?} was {before:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// It may be where the node hears its own router.
#[test]
fn somebody_elses_bridge_goes_on_listening_to_routers() -> Result<()> {
    Lab::scenario(|lab| {
        let rig = Rig::new(lab, Kind::Bridge)?;
        listens(&rig)?;
        said(
            &rig.node,
            "ip link add cni0 address 02:00:00:00:00:99 type bridge",
        )?;
        said(&rig.node, "ip link set cni0 up")?;
        let (liar, _) = rig.pod("liar")?;
        ensure!(accept_ra(&rig.node, "cni0")? == "1");
        lie(&liar, &[&rig.node])?;
        let expected = format!("default via {LIAR} dev cni0 proto ra");
        watch::until(&rig.node, "a default route", &[], SOON, || {
            Ok(default_route(&rig.node)?.contains(&expected).then_some(()))
        })
    })
}
