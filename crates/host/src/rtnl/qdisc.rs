//! Token bucket filters at the root of a link: written, and read back.
//!
//! Follows tc-tbf(8) and the kernel's `pkt_sched.h`; `netlink-packet-route` has no types for it. The kernel counts a bucket in
//! ticks of 64 ns at the queue's rate.

use super::encode::Refusal;
use super::{Links, Rtnl};
use crate::Error;
use crate::netlink::{Raw, attributes};
use model::bandwidth::{Qdisc, Tbf};
use model::name::IfName;
use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption};

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TCMSG: usize = 20;
const TC_LINKLAYER_ETHERNET: u8 = 1;
/// Nanoseconds of a tick (`PSCHED_SHIFT`).
const TICK: u64 = 64;
/// `1:`
const HANDLE: u32 = 0x0001_0000;
const ROOT: u32 = u32::MAX;

impl Rtnl {
    /// The token bucket filter at the root of this link, if there is one.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn tbf(&mut self, dev: &IfName) -> Result<Option<Tbf>, Error> {
        let Some(link) = self.link(dev)? else {
            return Ok(None);
        };
        let message = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let operation = format!("list qdiscs of {dev}");
        let found = self
            .socket
            .dump(&operation, &message, |raw| tbf_of(raw, link.index))?;
        Ok(found.into_iter().next())
    }
}

pub(super) fn put(qdisc: &Qdisc, links: &mut Links<'_>) -> Result<TcMessage, Refusal> {
    let Tbf { rate, burst, limit } = qdisc.tbf;
    let index = links.index(&qdisc.dev)?;
    let mut message = TcMessage::default();
    // The kernel's indices are positive.
    message.header.index = index.cast_signed();
    message.header.parent = TcHandle::from(ROOT);
    message.header.handle = TcHandle::from(HANDLE);
    let short = u32::try_from(rate).unwrap_or(u32::MAX);
    let mut options = vec![
        option(TCA_TBF_PARMS, parms(short, limit, ticks(burst, rate))),
        option(TCA_TBF_BURST, burst.to_ne_bytes().to_vec()),
    ];
    if rate > u64::from(u32::MAX) {
        options.push(option(TCA_TBF_RATE64, rate.to_ne_bytes().to_vec()));
    }
    message.attributes = vec![
        TcAttribute::Kind("tbf".into()),
        TcAttribute::Options(options),
    ];
    Ok(message)
}

fn option(kind: u16, value: Vec<u8>) -> TcOption {
    TcOption::Other(DefaultNla::new(kind, value))
}

/// `struct tc_tbf_qopt`: a rate, no peak rate, what may wait, the bucket. The link layer is said, so that the kernel asks for
/// no table of times.
fn parms(rate: u32, limit: u32, bucket: u32) -> Vec<u8> {
    let mut bytes = vec![0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
    bytes.extend(rate.to_ne_bytes());
    bytes.extend([0; 12]);
    for value in [limit, bucket, 0] {
        bytes.extend(value.to_ne_bytes());
    }
    bytes
}

fn ticks(burst: u32, rate: u64) -> u32 {
    let time = u128::from(burst) * 1_000_000_000 / u128::from(rate.max(1));
    u32::try_from(time / u128::from(TICK)).unwrap_or(u32::MAX)
}

/// Reads `RTM_NEWQDISC`, if it is the root of that link.
pub(super) fn tbf_of(raw: Raw<'_>, link: u32) -> Option<Tbf> {
    let number = |at: usize| Some(u32::from_ne_bytes(*raw.body.get(at..)?.first_chunk()?));
    if (number(4)?, number(12)?) != (link, ROOT) {
        return None;
    }
    let get = |kind| raw.attributes(TCMSG).find(|(of, _)| *of == kind);
    if get(TCA_KIND)?.1 != b"tbf\0" {
        return None;
    }
    decode(get(TCA_OPTIONS)?.1)
}

fn decode(options: &[u8]) -> Option<Tbf> {
    let get = |kind| {
        attributes(options)
            .find(|(of, _)| *of == kind)
            .map(|(_, value)| value)
    };
    let parms = get(TCA_TBF_PARMS)?;
    let number = |at: usize| Some(u32::from_ne_bytes(*parms.get(at..)?.first_chunk()?));
    let long = get(TCA_TBF_RATE64).and_then(|value| value.first_chunk());
    let rate = long.map_or(u64::from(number(8)?), |bytes| u64::from_ne_bytes(*bytes));
    let time = u128::from(number(28)?) * u128::from(TICK);
    let burst = (time * u128::from(rate) + 500_000_000) / 1_000_000_000;
    Some(Tbf {
        rate,
        burst: u32::try_from(burst).unwrap_or(u32::MAX),
        limit: number(24)?,
    })
}
