//! One blocking netlink socket: send messages together, read every acknowledgement.
//!
//! Answers are read as bytes, not through the typed crates: the laboratory asks nothing but
//! "done or not, and why", and an acknowledgement is the same for rtnetlink and nf_tables.
//! Format: include/uapi/linux/netlink.h (nlmsghdr, nlmsgerr, NLMSGERR_ATTR_MSG).

use anyhow::{Context, Result, bail, ensure};
use netlink_packet_core::{NLM_F_ACK, NetlinkMessage, NetlinkSerializable};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

/// Room for one datagram of answers; an acknowledgement is below 200 bytes.
const ANSWER_ROOM: usize = 32 << 10;
const MSG_DONTWAIT: i32 = 0x40;
const NLMSG_ERROR: u16 = 2;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// `nlmsghdr`, and behind it the error number.
const HEADER: usize = 16;
const ERROR_NUMBER: usize = 4;

/// A message and the words that name it when the kernel refuses it.
pub(crate) type Named<T> = (String, NetlinkMessage<T>);

/// Sends the messages in one datagram and waits for what the kernel says to them.
///
/// The kernel handles them before `send` returns, so every answer is there to be read. Those that
/// carry `NLM_F_ACK` must be acknowledged; the first refusal is the error.
pub(crate) fn exchange<T: NetlinkSerializable>(
    protocol: isize,
    messages: Vec<Named<T>>,
) -> Result<()> {
    let socket = open(protocol)?;
    let mut names = Vec::with_capacity(messages.len());
    let mut bytes = Vec::new();
    let mut expected = 0;
    for (number, (name, mut message)) in messages.into_iter().enumerate() {
        message.header.sequence_number = u32::try_from(number + 1)?;
        message.finalize();
        expected += usize::from(message.header.flags & NLM_F_ACK != 0);
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..]);
        names.push(name);
    }
    socket
        .send_to(&bytes, &SocketAddr::new(0, 0), 0)
        .context("send to the kernel by netlink")?;
    let answers = read_answers(&socket)?;
    if let Some(refusal) = answers.iter().find(|answer| answer.errno != 0) {
        let name = usize::try_from(refusal.sequence)?
            .checked_sub(1)
            .and_then(|index| names.get(index));
        let error = std::io::Error::from_raw_os_error(refusal.errno);
        let name = name.map_or("a netlink batch", String::as_str);
        match &refusal.words {
            Some(words) => bail!("{name}: {error} (kernel: {words})"),
            None => bail!("{name}: {error}"),
        }
    }
    ensure!(
        answers.len() >= expected,
        "the kernel acknowledged {} of {expected} netlink messages ({} …)",
        answers.len(),
        names.first().map_or("", String::as_str)
    );
    Ok(())
}

/// How often the ruleset has been changed in this network namespace (`NFT_MSG_GETGEN`).
pub(crate) fn generation() -> Result<u32> {
    const GETGEN: u16 = 0x0a10;
    const NLM_F_REQUEST: u16 = 1;
    const NFTA_GEN_ID: u16 = 1;
    /// `nlmsghdr` and `nfgenmsg`.
    const HEADERS: usize = 20;
    let mut message = Vec::with_capacity(HEADERS);
    message.extend(u32::try_from(HEADERS)?.to_ne_bytes());
    message.extend(GETGEN.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.resize(HEADERS, 0);
    let socket = open(NETLINK_NETFILTER)?;
    socket
        .send_to(&message, &SocketAddr::new(0, 0), 0)
        .context("ask for the ruleset's generation")?;
    let mut answer = Vec::with_capacity(ANSWER_ROOM);
    socket
        .recv(&mut answer, MSG_DONTWAIT)
        .context("read the ruleset's generation")?;
    ensure!(
        half(&answer, HEADERS + 2) == Some(NFTA_GEN_ID),
        "the kernel tells no generation: {answer:?}"
    );
    let value = answer.get(HEADERS + 4..HEADERS + 8);
    let value = value.context("a short answer")?.try_into()?;
    Ok(u32::from_be_bytes(value))
}

fn open(protocol: isize) -> Result<Socket> {
    let mut socket = Socket::new(protocol).context("open a netlink socket")?;
    socket.bind_auto().context("bind a netlink socket")?;
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    Ok(socket)
}

/// The kernel's verdict on one message.
struct Answer {
    sequence: u32,
    errno: i32,
    words: Option<String>,
}

fn read_answers(socket: &Socket) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    let mut datagram = Vec::with_capacity(ANSWER_ROOM);
    loop {
        datagram.clear();
        match socket.recv(&mut datagram, MSG_DONTWAIT) {
            Ok(_) => parse(&datagram, &mut answers),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(answers),
            Err(error) => return Err(error).context("read the kernel's netlink answer"),
        }
    }
}

fn parse(mut datagram: &[u8], answers: &mut Vec<Answer>) {
    while let Some(length) = word(datagram, 0).and_then(|length| usize::try_from(length).ok()) {
        let Some(message) = datagram.get(..length).filter(|_| length >= HEADER) else {
            return;
        };
        if half(message, 4) == Some(NLMSG_ERROR) {
            let flags = half(message, 6).unwrap_or(0);
            answers.push(Answer {
                sequence: word(message, 8).unwrap_or(0),
                errno: word(message, HEADER).map_or(0, |code| code.cast_signed().wrapping_neg()),
                words: extended(message, flags),
            });
        }
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
}

/// The text of the extended acknowledgement, behind the (capped) header of our own message.
fn extended(message: &[u8], flags: u16) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let echoed = if flags & NLM_F_CAPPED == 0 {
        usize::try_from(word(message, HEADER + ERROR_NUMBER)?)
            .ok()?
            .next_multiple_of(4)
    } else {
        HEADER
    };
    let mut attributes = message.get(HEADER + ERROR_NUMBER + echoed..)?;
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        let length = usize::from(length);
        let value = attributes.get(4..length)?;
        if kind == NLMSGERR_ATTR_MSG {
            let text = String::from_utf8_lossy(value);
            return Some(text.trim_end_matches('\0').to_owned());
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}
