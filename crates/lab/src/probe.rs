//! Does a packet arrive, and whose does the other end think it is: ICMP echo and TCP.
//!
//! Written here so that neither `ping` nor `nc` is needed. Each answer comes or does not come within
//! the given time; nothing is retried beyond it. ICMP errors on the way are reported as what they
//! say. Sockets are made inside the place and used outside. RFC 792, RFC 4443, raw(7).

use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::event::PollFlags;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, recvfrom,
    sendto, shutdown, socket_with, sockopt,
};

use crate::book::lock;
use crate::place::Place;
use crate::process::{wait_for, wait_readable};

/// An echo request is repeated this often, because the first packet may meet an empty neighbour table.
const REPEAT: Duration = Duration::from_millis(200);
/// Each direction of a TCP probe carries this much, so that a wrong MTU shows.
const PAYLOAD: usize = 16 << 10;
/// How long one connection may keep a listener's thread.
const SERVE_WITHIN: Duration = Duration::from_secs(5);

/// Why no answer came.
#[derive(Debug)]
pub enum Unreached {
    /// Nothing at all came back in time.
    Silence(Duration),
    /// A machine on the way, or the target, refused: ICMP type and code.
    Icmp {
        /// Who said so.
        from: IpAddr,
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
    /// The sender's own kernel refused.
    Local(anyhow::Error),
}

/// A TCP listener that tells each client the address it came from.
#[derive(Debug)]
pub struct Listener {
    socket: Arc<TcpListener>,
    seen: Arc<Mutex<Vec<IpAddr>>>,
    thread: Option<JoinHandle<()>>,
}

/// Sends ICMP echo requests until one is answered; the time that the answer took.
pub fn ping(from: &Place, to: IpAddr, within: Duration) -> Result<Duration, Unreached> {
    ping_as(from, None, to, within)
}

/// Like [`ping`], with a source address.
pub fn ping_as(
    from: &Place,
    source: Option<IpAddr>,
    to: IpAddr,
    within: Duration,
) -> Result<Duration, Unreached> {
    let deadline = Instant::now() + within;
    let socket = from
        .attempt(|| echo_socket(source, to))
        .map_err(Unreached::Local)?;
    let echo = Echo {
        to,
        identifier: next_identifier(),
    };
    let mut sequence = 0;
    while Instant::now() < deadline {
        sequence += 1;
        let sent = Instant::now();
        let flags = SendFlags::empty();
        sendto(
            &socket,
            &echo.request(sequence),
            flags,
            &SocketAddr::new(to, 0),
        )
        .with_context(|| format!("send an echo request to {to}"))
        .map_err(Unreached::Local)?;
        let until = deadline.min(sent + REPEAT);
        while wait_readable(&socket, until).map_err(Unreached::Local)? {
            match receive(&socket).map_err(Unreached::Local)? {
                Some((from, packet)) => match echo.judge(from, &packet) {
                    Some(Ok(())) => return Ok(sent.elapsed()),
                    Some(Err(refusal)) => return Err(refusal),
                    None => {}
                },
                None => break,
            }
        }
    }
    Err(Unreached::Silence(within))
}

/// Listens on the port, on all addresses of both families.
pub fn listen(place: &Place, port: u16) -> Result<Listener> {
    let address = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    let socket = place.attempt(|| {
        let socket = stream_socket(address.ip())?;
        sockopt::set_ipv6_v6only(&socket, false)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address).with_context(|| format!("bind to port {port}"))?;
        rustix::net::listen(&socket, 128)?;
        Ok(TcpListener::from(socket))
    })?;
    socket.set_nonblocking(false)?;
    let socket = Arc::new(socket);
    let seen = Arc::new(Mutex::default());
    let thread = {
        let (socket, seen) = (Arc::clone(&socket), Arc::clone(&seen));
        std::thread::spawn(move || serve(&socket, &seen))
    };
    Ok(Listener {
        socket,
        seen,
        thread: Some(thread),
    })
}

/// Connects to a [`Listener`], exchanges a payload, and returns the address that the listener saw.
pub fn tcp(from: &Place, to: SocketAddr, within: Duration) -> Result<IpAddr> {
    tcp_as(from, None, to, within)
}

/// Like [`tcp`], with a source address.
pub fn tcp_as(
    from: &Place,
    source: Option<IpAddr>,
    to: SocketAddr,
    within: Duration,
) -> Result<IpAddr> {
    let deadline = Instant::now() + within;
    talk(from, source, to, deadline)
        .with_context(|| format!("TCP from {} to {to} within {within:?}", from.name()))
}

impl Listener {
    /// The source addresses of all connections until now, in their order.
    pub fn seen(&self) -> Vec<IpAddr> {
        lock(&self.seen).clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It wakes the thread from accept; an error means that it is awake.
        let _ = shutdown(&self.socket, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence(within) => write!(f, "no answer within {within:?}"),
            Self::Icmp { from, kind, code } => {
                write!(f, "{from} says {} (code {code})", meaning(*from, *kind))
            }
            Self::Local(error) => write!(f, "{error:#}"),
        }
    }
}

impl std::error::Error for Unreached {}

/// One series of echo requests.
struct Echo {
    to: IpAddr,
    identifier: u16,
}

impl Echo {
    fn request(&self, sequence: u16) -> Vec<u8> {
        let kind = if self.to.is_ipv4() { 8 } else { 128 };
        let mut packet = vec![kind, 0, 0, 0];
        packet.extend(self.identifier.to_be_bytes());
        packet.extend(sequence.to_be_bytes());
        packet.extend(b"podwire laboratory");
        if self.to.is_ipv4() {
            // For ICMPv6 the kernel fills the checksum in.
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    /// An answer to these requests: a reply, or an error that quotes one of them.
    fn judge(&self, from: IpAddr, packet: &[u8]) -> Option<Result<(), Unreached>> {
        let (reply, errors, request): (u8, &[u8], u8) = match self.to {
            IpAddr::V4(_) => (0, &[3, 11, 12], 8),
            IpAddr::V6(_) => (129, &[1, 2, 3, 4], 128),
        };
        let icmp = if self.to.is_ipv4() {
            behind_ipv4(packet)?
        } else {
            packet
        };
        let [kind, code, ..] = *icmp else { return None };
        let identifier = |icmp: &[u8]| Some(u16::from_be_bytes([*icmp.get(4)?, *icmp.get(5)?]));
        if kind == reply {
            return (identifier(icmp)? == self.identifier && from == self.to).then_some(Ok(()));
        }
        if !errors.contains(&kind) {
            return None;
        }
        let quoted = icmp.get(8..)?;
        let quoted = if self.to.is_ipv4() {
            behind_ipv4(quoted)?
        } else {
            quoted.get(40..)?
        };
        let ours = quoted.first() == Some(&request) && identifier(quoted)? == self.identifier;
        ours.then_some(Err(Unreached::Icmp { from, kind, code }))
    }
}

fn behind_ipv4(packet: &[u8]) -> Option<&[u8]> {
    packet.get(usize::from(packet.first()? & 0x0f) * 4..)
}

fn meaning(from: IpAddr, kind: u8) -> &'static str {
    match (from, kind) {
        (IpAddr::V4(_), 3) | (IpAddr::V6(_), 1) => "destination unreachable",
        (IpAddr::V4(_), 11) | (IpAddr::V6(_), 3) => "time exceeded",
        (IpAddr::V6(_), 2) => "packet too big",
        _ => "parameter problem",
    }
}

/// The one's complement sum of RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = ((folded & 0xffff) + (folded >> 16)).to_be_bytes();
    !u16::from_be_bytes([high, low])
}

/// Replies are told apart by it, among all probes of this process.
fn next_identifier() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn echo_socket(source: Option<IpAddr>, to: IpAddr) -> Result<OwnedFd> {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::RAW, flags, Some(protocol))
        .context("open an ICMP socket")?;
    if let Some(source) = source {
        bind(&socket, &SocketAddr::new(source, 0)).with_context(|| format!("bind to {source}"))?;
    }
    Ok(socket)
}

fn receive(socket: &OwnedFd) -> Result<Option<(IpAddr, Vec<u8>)>> {
    let mut buffer = vec![0; 2048];
    match recvfrom(socket, &mut buffer[..], RecvFlags::empty()) {
        Ok((length, _, Some(from))) => {
            buffer.truncate(length);
            let from = SocketAddr::try_from(from).context("the source of a packet")?;
            Ok(Some((from.ip(), buffer)))
        }
        Ok((_, _, None)) | Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error).context("receive an ICMP packet"),
    }
}

fn stream_socket(family_of: IpAddr) -> Result<OwnedFd> {
    let family = match family_of {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::STREAM, flags, None).context("open a TCP socket")
}

fn talk(from: &Place, source: Option<IpAddr>, to: SocketAddr, deadline: Instant) -> Result<IpAddr> {
    let socket = from.attempt(|| {
        let socket = stream_socket(to.ip())?;
        if let Some(source) = source {
            bind(&socket, &SocketAddr::new(source, 0))
                .with_context(|| format!("bind to {source}"))?;
        }
        match connect(&socket, &to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error).context("connect"),
        }
    })?;
    ensure!(
        wait_for(&socket, PollFlags::OUT, deadline)?,
        "no answer to the connect"
    );
    sockopt::socket_error(&socket)?.context("connect")?;
    let mut stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    let rest = deadline.saturating_duration_since(Instant::now());
    ensure!(!rest.is_zero(), "connected, but too late");
    stream.set_read_timeout(Some(rest))?;
    stream.set_write_timeout(Some(rest))?;
    stream
        .write_all(&[b'p'; PAYLOAD])
        .context("send the payload")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("connected, but the payload's answer did not come")?;
    let (seen, payload) = answer
        .split_once('\n')
        .ok_or_else(|| anyhow!("the listener answered {answer:?}"))?;
    if payload.len() != PAYLOAD {
        bail!("{} of {PAYLOAD} bytes came back", payload.len());
    }
    seen.parse()
        .with_context(|| format!("the listener saw {seen}"))
}

fn serve(socket: &TcpListener, seen: &Mutex<Vec<IpAddr>>) {
    while let Ok((stream, peer)) = socket.accept() {
        let peer = peer.ip().to_canonical();
        lock(seen).push(peer);
        // A client that goes away early has its own error to report.
        std::thread::spawn(move || drop(answer(stream, peer)));
    }
}

fn answer(mut stream: TcpStream, peer: IpAddr) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SERVE_WITHIN))?;
    stream.set_write_timeout(Some(SERVE_WITHIN))?;
    let mut payload = Vec::new();
    stream.read_to_end(&mut payload)?;
    writeln!(stream, "{peer}")?;
    stream.write_all(&payload)
}
