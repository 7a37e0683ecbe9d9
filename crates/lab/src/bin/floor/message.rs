//! The floor's rtnetlink messages, byte by byte (rtnetlink(7)), sent together and acknowledged once.

use std::net::IpAddr;

use ipnet::IpNet;
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// The interface in the pod.
pub(crate) const POD_END: &str = "eth0";
/// The routed pods' gateways.
const GATEWAYS: [[&[u8]; 2]; 2] = [
    [&[169, 254, 1, 1], &[]],
    [&[0xfe, 0x80, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 0, 0, 0, 1]],
];

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const NEWADDR: u16 = 20;
const NEWROUTE: u16 = 24;
const NEWNEIGH: u16 = 28;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// `NLM_F_CREATE | NLM_F_EXCL`.
const NEW: u16 = 0x600;
/// `NLM_F_CREATE | NLM_F_REPLACE`.
const PUT: u16 = 0x500;
const INET: u8 = 2;
const INET6: u8 = 10;
const IFF_UP: u32 = 1;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const VETH_INFO_PEER: u16 = 1;
const RTA_OIF: u16 = 4;

/// Messages that are sent together; only the last one is acknowledged.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    message: usize,
    count: u32,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(1024),
            message: 0,
            count: 0,
        }
    }

    fn begin(&mut self, kind: u16, flags: u16, header: &[&[u8]]) {
        self.message = self.bytes.len();
        self.count += 1;
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((REQUEST | flags).to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend([0; 4]);
        for part in header {
            self.bytes.extend(*part);
        }
    }

    fn end(&mut self) {
        let length = u32::try_from(self.bytes.len() - self.message).unwrap_or(u32::MAX);
        self.bytes[self.message..self.message + 4].copy_from_slice(&length.to_ne_bytes());
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn attribute(&mut self, kind: u16, value: &[&[u8]]) {
        let start = self.open(kind);
        for part in value {
            self.bytes.extend(*part);
        }
        self.close(start);
    }

    fn link(&mut self, kind: u16, flags: u16, name: &str, up: u32) {
        let up = up.to_ne_bytes();
        self.begin(kind, flags, &[&[0; 8], &up, &up]);
        self.attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]]);
    }

    pub(crate) fn bridge(&mut self, name: &str, own: IpAddr) {
        self.link(NEWLINK, NEW, name, IFF_UP);
        self.attribute(IFLA_ADDRESS, &[&mac(0x0e, own)]);
        let info = self.open(IFLA_LINKINFO);
        self.attribute(IFLA_INFO_KIND, &[b"bridge"]);
        self.close(info);
        self.end();
    }

    pub(crate) fn delete(&mut self, name: &str) {
        self.link(DELLINK, 0, name, 0);
        self.end();
    }

    pub(crate) fn veth(&mut self, host: &str, first: IpAddr, pod: &OwnedFd, bridge: Option<u32>) {
        self.link(NEWLINK, NEW, host, IFF_UP);
        self.attribute(IFLA_ADDRESS, &[&mac(0x0e, first)]);
        if let Some(index) = bridge {
            self.attribute(IFLA_MASTER, &[&index.to_ne_bytes()]);
        }
        let info = self.open(IFLA_LINKINFO);
        self.attribute(IFLA_INFO_KIND, &[b"veth"]);
        let data = self.open(IFLA_INFO_DATA);
        let peer = self.open(VETH_INFO_PEER);
        self.bytes.extend([0; 16]);
        self.attribute(IFLA_IFNAME, &[POD_END.as_bytes(), &[0]]);
        self.attribute(IFLA_ADDRESS, &[&mac(0x0a, first)]);
        self.attribute(IFLA_NET_NS_FD, &[&pod.as_raw_fd().to_ne_bytes()]);
        self.close(peer);
        self.close(data);
        self.close(info);
        self.end();
    }

    /// What the kernel ignores at birth.
    pub(crate) fn alias(&mut self, host: &str, port: bool) {
        self.link(NEWLINK, 0, host, 0);
        self.attribute(IFLA_IFALIAS, &[b"default/", host.as_bytes()]);
        if port {
            let info = self.open(IFLA_LINKINFO);
            self.attribute(IFLA_INFO_SLAVE_KIND, &[b"bridge"]);
            let data = self.open(IFLA_INFO_SLAVE_DATA);
            self.attribute(IFLA_BRPORT_MODE, &[&[0]]);
            self.close(data);
            self.close(info);
        }
        self.end();
    }

    pub(crate) fn without_own_ipv6(&mut self, host: &str) {
        self.link(NEWLINK, 0, host, 0);
        let all = self.open(IFLA_AF_SPEC);
        let inet6 = self.open(u16::from(INET6));
        self.attribute(IFLA_INET6_ADDR_GEN_MODE, &[&[1]]);
        self.close(inet6);
        self.close(all);
        self.end();
    }

    pub(crate) fn pod(&mut self, link: u32, nets: &[IpNet], first: IpAddr, routed: bool) {
        let up = IFF_UP.to_ne_bytes();
        self.begin(NEWLINK, 0, &[&[0; 4], &link.to_ne_bytes(), &up, &up]);
        self.end();
        for net in nets {
            self.address(link, if routed { alone(net.addr()) } else { *net });
            if routed {
                let via = GATEWAYS[usize::from(net.addr().is_ipv6())];
                self.neighbour_of(link, family(net.addr()), via, mac(0x0e, first));
                self.default_route(link, family(net.addr()), via);
            } else {
                let own = gateway(net);
                self.default_route(link, family(own), [&bytes(own), &[]]);
            }
        }
    }

    pub(crate) fn address(&mut self, link: u32, net: IpNet) {
        const NODAD: u8 = 2;
        const LOCAL: u16 = 2;
        const ADDRESS: u16 = 1;
        let ip = net.addr();
        let flags = if ip.is_ipv6() { NODAD } else { 0 };
        let head = [family(ip), net.prefix_len(), flags, 0];
        self.begin(NEWADDR, NEW, &[&head, &link.to_ne_bytes()]);
        self.attribute(LOCAL, &[&bytes(ip)]);
        self.attribute(ADDRESS, &[&bytes(ip)]);
        self.end();
    }

    /// The node's entry for an address of the pod whose first address this is.
    pub(crate) fn neighbour(&mut self, link: u32, ip: IpAddr, first: IpAddr) {
        self.neighbour_of(link, family(ip), [&bytes(ip), &[]], mac(0x0a, first));
    }

    fn neighbour_of(&mut self, link: u32, family: u8, ip: [&[u8]; 2], mac: [u8; 6]) {
        const PERMANENT: u16 = 0x80;
        const DESTINATION: u16 = 1;
        const HARDWARE: u16 = 2;
        let state = PERMANENT.to_ne_bytes();
        let head: [&[u8]; 4] = [&[family, 0, 0, 0], &link.to_ne_bytes(), &state, &[0, 0]];
        self.begin(NEWNEIGH, PUT, &head);
        self.attribute(DESTINATION, &ip);
        self.attribute(HARDWARE, &[&mac]);
        self.end();
    }

    fn default_route(&mut self, link: u32, family: u8, via: [&[u8]; 2]) {
        const ONLINK: u32 = 4;
        const GATEWAY: u16 = 5;
        self.route(family, 0, 0, ONLINK);
        self.attribute(GATEWAY, &via);
        self.attribute(RTA_OIF, &[&link.to_ne_bytes()]);
        self.end();
    }

    /// The node's route to the pod.
    pub(crate) fn way(&mut self, link: u32, pod: IpAddr, own: IpAddr) {
        const LINK_SCOPE: u8 = 253;
        const DESTINATION: u16 = 1;
        const PREFERRED_SOURCE: u16 = 7;
        let (length, scope) = if pod.is_ipv6() {
            (128, 0)
        } else {
            (32, LINK_SCOPE)
        };
        self.route(family(pod), length, scope, 0);
        self.attribute(DESTINATION, &[&bytes(pod)]);
        self.attribute(RTA_OIF, &[&link.to_ne_bytes()]);
        self.attribute(PREFERRED_SOURCE, &[&bytes(own)]);
        self.end();
    }

    fn route(&mut self, family: u8, length: u8, scope: u8, flags: u32) {
        const MAIN: u8 = 254;
        const PROTOCOL: u8 = 112;
        const UNICAST: u8 = 1;
        let head = [family, length, 0, 0, MAIN, PROTOCOL, scope, UNICAST];
        self.begin(NEWROUTE, NEW, &[&head, &flags.to_ne_bytes()]);
    }

    /// Sends all and reads what the kernel says. Addresses that are there already are as wanted.
    pub(crate) fn send(mut self, socket: &OwnedFd) -> Result<(), Errno> {
        let flags = self.message + 6;
        let asked = u16::from_ne_bytes([self.bytes[flags], self.bytes[flags + 1]]) | ACK;
        self.bytes[flags..flags + 2].copy_from_slice(&asked.to_ne_bytes());
        rustix::net::send(socket, &self.bytes, SendFlags::empty())?;
        let mut answer = [0; 2048];
        loop {
            let (length, _) = rustix::net::recv(socket, &mut answer[..], RecvFlags::empty())?;
            let word = |at: usize| -> [u8; 4] {
                let read = answer[..length].get(at..at + 4);
                read.and_then(|word| word.try_into().ok())
                    .unwrap_or_default()
            };
            match -i32::from_ne_bytes(word(16)) {
                0 => {}
                code => {
                    let errno = Errno::from_raw_os_error(code);
                    // Behind the error stands the header of the message that it is about.
                    let kind = u16::from_ne_bytes([answer[24], answer[25]]);
                    if errno != Errno::EXIST || kind != NEWADDR {
                        return Err(errno);
                    }
                }
            }
            if u32::from_ne_bytes(word(8)) == self.count {
                return Ok(());
            }
        }
    }
}

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv6() { INET6 } else { INET }
}

fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

pub(crate) fn alone(ip: IpAddr) -> IpNet {
    IpNet::from(ip)
}

/// The first address of the range.
pub(crate) fn gateway(net: &IpNet) -> IpAddr {
    match net.network() {
        IpAddr::V4(ip) => IpAddr::from((u32::from(ip) + 1).to_be_bytes()),
        IpAddr::V6(ip) => IpAddr::from((u128::from(ip) + 1).to_be_bytes()),
    }
}

fn mac(kind: u8, ip: IpAddr) -> [u8; 6] {
    let bytes = bytes(ip);
    let [.., a, b, c, d] = bytes[..] else {
        return [kind, 0x58, 0, 0, 0, 0];
    };
    [kind, 0x58, a, b, c, d]
}
