//! Flows that the kernel remembers, as far as a host port's coming and going makes them wrong.
//!
//! A flow of UDP has no end that anybody could see: while its peer goes on, its entry stays, and with it the way of its first
//! packet. So whoever publishes a port or withdraws it removes the entries of exactly those flows; a flow to the same number
//! elsewhere is somebody else's. Follows linux/netfilter/nfnetlink_conntrack.h. The kernel filters what it lists where it
//! can (5.8 and later); here everything is looked at once more.

use crate::Error;
use crate::netlink::{Batch, NETFILTER, Raw, Socket};
use crate::nft::Nft;
use crate::nft::attr::{Attrs, Read};
use crate::nft::message::{Message, read};
use crate::rtnl::Rtnl;
use model::addr::{Family, host_prefix};
use model::change::Change;
use model::firewall::{Element, Elements, Set};
use model::ports::{Flows, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_FILTER_F_CTA_PROTO_NUM: u32 = 1 << 3;
const CTA_FILTER_F_CTA_PROTO_DST_PORT: u32 = 1 << 5;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// How often the list is read again for flows that began while it was read.
const ROUNDS: usize = 16;

/// A socket to the connection tracking of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

impl Conntrack {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel has no nfnetlink.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::open(NETFILTER)?,
        })
    }

    /// Makes the kernel forget these flows, and says how many there were. `rtnl` and `nft` are asked whose a flow is that
    /// leads nowhere: only those to an address of this node that is no Service's are meant.
    ///
    /// # Errors
    /// The kernel does not list its flows, or keeps one.
    pub fn forget(
        &mut self,
        flows: &Flows,
        rtnl: &mut Rtnl,
        nft: &mut Nft,
    ) -> Result<usize, Error> {
        let operation = Change::ForgetFlows(*flows).to_string();
        let mut ours = BTreeMap::new();
        let mut gone = BTreeSet::new();
        for _ in 0..ROUNDS {
            let listed = self
                .socket
                .dump(&operation, &list(flows), |raw| Flow::of(raw, flows))?;
            let mut batch = Batch::new();
            for flow in listed {
                // Removed already, and not yet off the list.
                if gone.contains(&flow.id) {
                    continue;
                }
                let is_ours = match flows.led {
                    Some(_) => true,
                    None => match ours.get(&flow.to) {
                        Some(known) => *known,
                        None => {
                            let answer = is_the_nodes(flow.to, rtnl, nft)?;
                            ours.insert(flow.to, answer);
                            answer
                        }
                    },
                };
                if is_ours {
                    batch.push(&delete(flows.family, &flow), 0);
                    gone.insert(flow.id);
                }
            }
            if batch.is_empty() {
                break;
            }
            let refused = self.socket.exchange(batch)?.into_iter();
            let mut errors = refused.map(|failure| failure.of(operation.clone()));
            if let Some(error) = errors.find(|error| !error.is_gone()) {
                return Err(error);
            }
        }
        Ok(gone.len())
    }
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuple {
    protocol: u8,
    from: SocketAddr,
    to: SocketAddr,
}

/// A flow that is meant, and what names its entry.
struct Flow {
    to: IpAddr,
    id: Vec<u8>,
    tuple: Vec<u8>,
    zone: Option<Vec<u8>>,
}

impl Flow {
    /// The entry, if it is of one of these flows.
    fn of(raw: Raw<'_>, flows: &Flows) -> Option<Self> {
        let (_, attrs) = read(raw)?;
        let there = tuple(attrs.nested(CTA_TUPLE_ORIG)?)?;
        let back = tuple(attrs.nested(CTA_TUPLE_REPLY)?)?;
        let asked = there.protocol == Protocol::Udp.number()
            && there.to.port() == flows.port
            && Family::of(there.to.ip()) == flows.family
            && flows.at.is_none_or(|at| at == there.to.ip());
        // Whoever answers is where the flow leads to; if that is whom the peer asked, nobody leads it.
        let leads = back.from == flows.led.unwrap_or(there.to);
        (asked && leads).then_some(Self {
            to: there.to.ip(),
            id: attrs.get(CTA_ID)?.to_vec(),
            tuple: attrs.get(CTA_TUPLE_ORIG)?.to_vec(),
            zone: attrs.get(CTA_ZONE).map(<[u8]>::to_vec),
        })
    }
}

fn tuple(attrs: Read<'_>) -> Option<Tuple> {
    let (ips, ports) = (attrs.nested(CTA_TUPLE_IP)?, attrs.nested(CTA_TUPLE_PROTO)?);
    let ip = |v4, v6| {
        let four = |value: &[u8]| Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?));
        let six = |value: &[u8]| Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?));
        ips.get(v4)
            .and_then(four)
            .or_else(|| ips.get(v6).and_then(six))
    };
    let port = |kind| Some(u16::from_be_bytes(ports.get(kind)?.try_into().ok()?));
    Some(Tuple {
        protocol: *ports.get(CTA_PROTO_NUM)?.first()?,
        from: SocketAddr::new(ip(CTA_IP_V4_SRC, CTA_IP_V6_SRC)?, port(CTA_PROTO_SRC_PORT)?),
        to: SocketAddr::new(ip(CTA_IP_V4_DST, CTA_IP_V6_DST)?, port(CTA_PROTO_DST_PORT)?),
    })
}

/// The question for all flows of UDP to that port, which a kernel that knows no filter answers with all flows.
fn list(flows: &Flows) -> Message {
    let mut message = about(IPCTNL_MSG_CT_GET, flows.family);
    message
        .attrs
        .nest(CTA_TUPLE_ORIG, |tuple| {
            tuple.nest(CTA_TUPLE_PROTO, |ports| {
                ports
                    .put(CTA_PROTO_NUM, &[Protocol::Udp.number()])
                    .put(CTA_PROTO_DST_PORT, &flows.port.to_be_bytes());
            });
        })
        .nest(CTA_FILTER, |filter| {
            // Flags stand in the machine's own order.
            let asked = CTA_FILTER_F_CTA_PROTO_NUM | CTA_FILTER_F_CTA_PROTO_DST_PORT;
            filter
                .put(CTA_FILTER_ORIG_FLAGS, &asked.to_ne_bytes())
                .put(CTA_FILTER_REPLY_FLAGS, &0_u32.to_ne_bytes());
        });
    message
}

fn delete(family: Family, flow: &Flow) -> Message {
    let mut message = about(IPCTNL_MSG_CT_DELETE, family);
    let attrs: &mut Attrs = &mut message.attrs;
    attrs.nested(CTA_TUPLE_ORIG, &flow.tuple);
    // The number tells the entry from one that the same peer has made since.
    attrs.put(CTA_ID, &flow.id);
    if let Some(zone) = &flow.zone {
        attrs.put(CTA_ZONE, zone);
    }
    message
}

fn about(kind: u16, family: Family) -> Message {
    let family = match family {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    };
    Message::of(NFNL_SUBSYS_CTNETLINK, kind, family)
}

fn is_the_nodes(ip: IpAddr, rtnl: &mut Rtnl, nft: &mut Nft) -> Result<bool, Error> {
    if !rtnl.is_own(ip)? {
        return Ok(false);
    }
    let services = Set::Services(Family::of(ip));
    let asked = Elements::from([(services, [Element::Net(host_prefix(ip))].into())]);
    Ok(nft.standing(&asked)?.is_empty())
}
