//! As much as goes: how many bytes of TCP or UDP arrive within a time, counted from the first one.
//!
//! It shows what a limit of bandwidth does, from the first moment on. UDP is offered at a pace that is far above the limits that
//! are tried here; TCP finds its own. Nothing runs longer than the time that is given. tcp(7), udp(7).

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use rustix::net::sockopt::{self, Timeout};

use crate::place::Place;
use crate::stream::ticker;

/// A flow of which nothing has come by then is none.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);
/// So often a waiting socket looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);
/// Ticks a second of the sender of UDP, and packets of so many bytes at each: 56 Mbit/s.
const TICKS: u32 = 1000;
const PACKETS: u64 = 5;
const PACKET: usize = 1400;

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Bytes in the first half of the time.
    pub early: u64,
    /// Bytes in all of it.
    pub all: u64,
    /// The time.
    pub during: Duration,
}

impl Arrived {
    /// Bits a second, over all of the time.
    pub fn rate(&self) -> u64 {
        per_second(self.all, self.during)
    }

    /// Bits a second in the first half.
    pub fn early_rate(&self) -> u64 {
        per_second(self.early, self.during / 2)
    }
}

fn per_second(bytes: u64, during: Duration) -> u64 {
    let millis = u64::try_from(during.as_millis()).unwrap_or(u64::MAX);
    bytes * 8 * 1000 / millis.max(1)
}

/// What arrives of one connection that sends as fast as it can.
pub fn tcp(from: &Place, to: &Place, address: SocketAddr, during: Duration) -> Result<Arrived> {
    let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port());
    let inlet = to.attempt(|| Ok(TcpListener::bind(any)?))?;
    // Holds for accept(2) as well.
    sockopt::set_socket_timeout(&inlet, Timeout::Recv, Some(BEGINS_WITHIN))?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let outlet = from.attempt(|| {
                let stream = TcpStream::connect_timeout(&address, BEGINS_WITHIN);
                stream.with_context(|| format!("connect to {address}"))
            })?;
            outlet.set_write_timeout(Some(LOOK))?;
            pour(outlet, &over);
            anyhow::Ok(())
        });
        let receive = || {
            let (mut stream, _) = inlet.accept().context("accept the flow")?;
            stream.set_read_timeout(Some(LOOK))?;
            count(during, |bytes| stream.read(bytes))
        };
        let arrived = receive();
        over.store(true, Ordering::Release);
        sender
            .join()
            .map_err(|_| anyhow!("the flow's sender panicked"))??;
        arrived
    })
}

/// What arrives of packets that are sent at a pace of 56 Mbit/s.
pub fn udp(from: &Place, to: &Place, address: SocketAddr, during: Duration) -> Result<Arrived> {
    let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port());
    let inlet = to.attempt(|| Ok(UdpSocket::bind(any)?))?;
    inlet.set_read_timeout(Some(LOOK))?;
    let own = match address {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    let outlet = from.attempt(|| Ok(UdpSocket::bind(own)?))?;
    outlet.set_write_timeout(Some(LOOK))?;
    let timer = ticker(TICKS)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut ticks = [0; 8];
            while !over.load(Ordering::Acquire) && rustix::io::read(&timer, &mut ticks).is_ok() {
                // Ticks that a full queue has let pass are not made up for.
                for _ in 0..u64::from_ne_bytes(ticks).min(4) * PACKETS {
                    drop(outlet.send_to(&[0; PACKET], address));
                }
            }
        });
        let arrived = count(during, |bytes| inlet.recv(bytes));
        over.store(true, Ordering::Release);
        arrived
    })
}

fn pour(mut outlet: TcpStream, over: &AtomicBool) {
    let bytes = [0; 64 << 10];
    while !over.load(Ordering::Acquire) {
        match outlet.write(&bytes) {
            Ok(_) => {}
            Err(error) if is_wait(&error) => {}
            // The other end has had enough.
            Err(_) => return,
        }
    }
}

fn count(
    during: Duration,
    mut receive: impl FnMut(&mut [u8]) -> std::io::Result<usize>,
) -> Result<Arrived> {
    let mut bytes = vec![0; 64 << 10];
    let asked = Instant::now();
    let mut begun = None;
    let mut arrived = Arrived {
        early: 0,
        all: 0,
        during,
    };
    loop {
        let received = receive(&mut bytes);
        let since = *match &received {
            Ok(_) => begun.get_or_insert_with(Instant::now),
            Err(error) if is_wait(error) => begun.as_ref().unwrap_or(&asked),
            Err(error) => return Err(anyhow!("receive the flow: {error}")),
        };
        match begun {
            None if since.elapsed() > BEGINS_WITHIN => {
                return Err(anyhow!("nothing came within {BEGINS_WITHIN:?}"));
            }
            Some(begun) if begun.elapsed() >= during => return Ok(arrived),
            None | Some(_) => {}
        }
        let length = received.unwrap_or_default() as u64;
        arrived.all += length;
        if since.elapsed() < during / 2 {
            arrived.early += length;
        }
    }
}

fn is_wait(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    [Interrupted, TimedOut, WouldBlock].contains(&error.kind())
}
