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
    /// A list costs milliseconds, because the kernel walks through its whole table: it is one for each family, however
    /// many ports there are.
    ///
    /// # Errors
    /// The kernel does not list its flows, or keeps one.
    pub fn forget(
        &mut self,
        flows: &[Flows],
        rtnl: &mut Rtnl,
        nft: &mut Nft,
    ) -> Result<usize, Error> {
        let mut whose = Whose {
            rtnl,
            nft,
            known: BTreeMap::new(),
        };
        let mut gone = 0;
        for family in [Family::V4, Family::V6] {
            let of_family = flows.iter().filter(|flows| flows.family == family);
            let of_family: Vec<Flows> = of_family.copied().collect();
            if let Some(first) = of_family.first() {
                let operation = Change::ForgetFlows(*first).to_string();
                gone += self.forget_all(&operation, &of_family, &mut whose)?;
            }
        }
        Ok(gone)
    }

    /// Those of one family.
    fn forget_all(
        &mut self,
        operation: &str,
        flows: &[Flows],
        whose: &mut Whose<'_>,
    ) -> Result<usize, Error> {
        let mut gone = BTreeSet::new();
        for _ in 0..ROUNDS {
            let listed = self
                .socket
                .dump(operation, &list(flows), |raw| Flow::of(raw, flows))?;
            let mut batch = Batch::new();
            for flow in listed {
                // Removed already, and not yet off the list.
                if gone.contains(&flow.id) || !(flow.led || whose.is_the_nodes(flow.to)?) {
                    continue;
                }
                batch.push(&delete(&flow), 0);
                gone.insert(flow.id);
            }
            if batch.is_empty() {
                break;
            }
            let refused = self.socket.exchange(batch)?.into_iter();
            let mut errors = refused.map(|failure| failure.of(operation));
            if let Some(error) = errors.find(|error| !error.is_gone()) {
                return Err(error);
            }
        }
        Ok(gone.len())
    }
}

/// Whose an address is, asked once for each.
struct Whose<'a> {
    rtnl: &'a mut Rtnl,
    nft: &'a mut Nft,
    known: BTreeMap<IpAddr, bool>,
}

impl Whose<'_> {
    /// Whether it is the node's own and no Service's.
    fn is_the_nodes(&mut self, ip: IpAddr) -> Result<bool, Error> {
        if let Some(known) = self.known.get(&ip) {
            return Ok(*known);
        }
        let services = Set::Services(Family::of(ip));
        let asked = Elements::from([(services, [Element::Net(host_prefix(ip))].into())]);
        let answer = self.rtnl.is_own(ip)? && self.nft.standing(&asked)?.is_empty();
        self.known.insert(ip, answer);
        Ok(answer)
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
    led: bool,
    id: Vec<u8>,
    tuple: Vec<u8>,
    zone: Option<Vec<u8>>,
}

impl Flow {
    /// The entry, if it is of one of these flows.
    fn of(raw: Raw<'_>, flows: &[Flows]) -> Option<Self> {
        let (_, attrs) = read(raw)?;
        let there = tuple(attrs.nested(CTA_TUPLE_ORIG)?)?;
        let back = tuple(attrs.nested(CTA_TUPLE_REPLY)?)?;
        if there.protocol != Protocol::Udp.number() {
            return None;
        }
        let meant = flows.iter().find(|flows| {
            there.to.port() == flows.port
                && Family::of(there.to.ip()) == flows.family
                && flows.at.is_none_or(|at| at == there.to.ip())
                // Whoever answers is where the flow leads to; if that is whom the peer asked, nobody leads it.
                && back.from == flows.led.unwrap_or(there.to)
        })?;
        Some(Self {
            to: there.to.ip(),
            led: meant.led.is_some(),
            id: attrs.get(CTA_ID)?.to_vec(),
            tuple: attrs.get(CTA_TUPLE_ORIG)?.to_vec(),
            zone: attrs.get(CTA_ZONE).map(<[u8]>::to_vec),
        })
    }
}

#[cfg(any(test, fuzzing))]
/// For [`crate::heard`].
pub(crate) fn read_all(raw: Raw<'_>) {
    for family in [Family::V4, Family::V6] {
        let any = Flows {
            family,
            port: 0,
            at: None,
            led: None,
        };
        drop(Flow::of(raw, &[any]));
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

/// The question for all flows of UDP of a family, to the port if it is one. A kernel that knows no filter answers with all
/// flows.
fn list(flows: &[Flows]) -> Message {
    let first = flows.first();
    let port = first.filter(|first| flows.iter().all(|other| other.port == first.port));
    let mut asked = CTA_FILTER_F_CTA_PROTO_NUM;
    let mut message = about(
        IPCTNL_MSG_CT_GET,
        first.map_or(Family::V4, |flows| flows.family),
    );
    message.attrs.nest(CTA_TUPLE_ORIG, |tuple| {
        tuple.nest(CTA_TUPLE_PROTO, |ports| {
            ports.put(CTA_PROTO_NUM, &[Protocol::Udp.number()]);
            if let Some(Flows { port, .. }) = port {
                ports.put(CTA_PROTO_DST_PORT, &port.to_be_bytes());
                asked |= CTA_FILTER_F_CTA_PROTO_DST_PORT;
            }
        });
    });
    message.attrs.nest(CTA_FILTER, |filter| {
        // Flags stand in the machine's own order.
        filter
            .put(CTA_FILTER_ORIG_FLAGS, &asked.to_ne_bytes())
            .put(CTA_FILTER_REPLY_FLAGS, &0_u32.to_ne_bytes());
    });
    message
}

fn delete(flow: &Flow) -> Message {
    let mut message = about(IPCTNL_MSG_CT_DELETE, Family::of(flow.to));
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
