//! A steady stream of numbered UDP packets between two places, which counts what is lost.
//!
//! It shows what an event (a restart, a repair) does to packets that are on their way. The pace
//! comes from the kernel's timer (timerfd_create(2)), not from sleeping.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::place::Place;

/// A packet that has not come so long after the last one is lost.
const STRAGGLERS_WITHIN: Duration = Duration::from_millis(300);

/// Of waiting packets with all that the kernel keeps beside each: a minute of them at 1 kHz.
const BUFFER: usize = 64 << 20;

/// A sender that has not sent by then never will.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);

/// A running stream.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Result<Sent>>,
    receiver: JoinHandle<BTreeSet<u64>>,
    stop_receiving: Arc<AtomicBool>,
}

/// What became of the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// How many were due; one that the sender's kernel refused counts as lost.
    pub sent: u64,
    /// How many arrived, each counted once.
    pub arrived: u64,
    /// The longest run of lost packets, one after another.
    pub longest_gap: u64,
}

impl Tally {
    /// How many were lost.
    pub fn lost(&self) -> u64 {
        self.sent - self.arrived
    }
}

/// How many packets are behind the sender; some of them its kernel may have refused.
type Sent = u64;

/// Starts a stream from one place to an address of another, with so many packets a second.
pub fn start(from: &Place, to: &Place, address: SocketAddr, rate: u32) -> Result<Stream> {
    let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port());
    let inlet = to.attempt(|| Ok(UdpSocket::bind(any)?))?;
    inlet.set_read_timeout(Some(STRAGGLERS_WITHIN))?;
    // Packets wait here while a busy machine does not let the receiver run: only root of the whole machine may have a
    // larger buffer, and with the usual one a quarter of a second is counted as lost.
    let _ = set_socket_recv_buffer_size_force(&inlet, BUFFER);
    let local = SocketAddr::new(
        match address {
            SocketAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        },
        0,
    );
    let outlet = from.attempt(|| {
        let socket = UdpSocket::bind(local)?;
        socket
            .connect(address)
            .with_context(|| format!("a UDP socket to {address}"))?;
        Ok(socket)
    })?;
    let timer = ticker(rate)?;
    let (stop, stop_receiving) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (begun, begins) = mpsc::channel();
    let sender = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || send(&outlet, &timer, &stop, begun))
    };
    let receiver = {
        let stop = Arc::clone(&stop_receiving);
        std::thread::spawn(move || receive(&inlet, &stop))
    };
    // A stream that was asked for runs: on a busy machine its thread may start late.
    begins
        .recv_timeout(BEGINS_WITHIN)
        .context("the stream did not begin")?;
    Ok(Stream {
        stop,
        sender,
        receiver,
        stop_receiving,
    })
}

impl Stream {
    /// Stops it, waits for stragglers, and counts.
    pub fn finish(self) -> Result<Tally> {
        self.stop.store(true, Ordering::Release);
        let sent = self
            .sender
            .join()
            .map_err(|_| anyhow!("the stream's sender panicked"))??;
        self.stop_receiving.store(true, Ordering::Release);
        let arrived = self
            .receiver
            .join()
            .map_err(|_| anyhow!("the stream's receiver panicked"))?;
        let ends = arrived.iter().copied().chain([sent]);
        let mut next = 0;
        let mut longest_gap = 0;
        for number in ends {
            longest_gap = longest_gap.max(number - next);
            next = number + 1;
        }
        Ok(Tally {
            sent,
            arrived: arrived.len() as u64,
            longest_gap,
        })
    }
}

/// A timer that ticks so often in a second.
pub(crate) fn ticker(rate: u32) -> Result<OwnedFd> {
    let period = Duration::from_secs(1) / rate.max(1);
    let period = Timespec::try_from(period).context("a period")?;
    let timer =
        timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).context("make a timer")?;
    let setting = Itimerspec {
        it_interval: period,
        it_value: period,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting).context("start a timer")?;
    Ok(timer)
}

fn send(
    outlet: &UdpSocket,
    timer: &OwnedFd,
    stop: &AtomicBool,
    begun: mpsc::Sender<()>,
) -> Result<Sent> {
    let mut begun = Some(begun);
    let mut number: u64 = 0;
    while !stop.load(Ordering::Acquire) {
        let mut ticks = [0; 8];
        rustix::io::read(timer, &mut ticks).context("wait for the timer")?;
        for _ in 0..u64::from_ne_bytes(ticks) {
            // An error (no route, refused) is a lost packet and shows as such.
            drop(outlet.send(&number.to_be_bytes()));
            number += 1;
        }
        if let Some(begun) = begun.take() {
            begun.send(()).context("nobody waits for the stream")?;
        }
    }
    Ok(number)
}

fn receive(inlet: &UdpSocket, stop: &AtomicBool) -> BTreeSet<u64> {
    let mut arrived = BTreeSet::new();
    let mut buffer = [0; 8];
    loop {
        match inlet.recv(&mut buffer) {
            Ok(8) => drop(arrived.insert(u64::from_be_bytes(buffer))),
            Ok(_) => {}
            // Nothing for a while: the end, if the sender has stopped.
            Err(_) if stop.load(Ordering::Acquire) => return arrived,
            Err(_) => {}
        }
    }
}
