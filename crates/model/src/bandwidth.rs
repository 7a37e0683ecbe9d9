//! How fast a pod may send and receive, and the kernel's queue that sees to it.
//!
//! Rates and bursts of people and runtimes are bits (CNI conventions, `bandwidth`); those of a queue are bytes, as in
//! tc-tbf(8). How one follows from the other is decided in `plan`.

use crate::name::IfName;
use core::fmt;
use serde::{Deserialize, Serialize};

/// A limit of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Bits a second.
    pub rate: u64,
    /// Bits that may go at once after a rest, if somebody has chosen that.
    pub burst: Option<u64>,
}

/// The limits of one attachment, from the pod's view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Of what comes to the pod.
    pub ingress: Option<Limit>,
    /// Of what the pod sends.
    pub egress: Option<Limit>,
}

impl Bandwidth {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// Nanoseconds by which the kernel counts a bucket (`PSCHED_SHIFT`).
const TICK: u64 = 64;

/// A token bucket filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tbf {
    /// Bytes a second.
    pub rate: u64,
    /// Bytes in the full bucket.
    pub burst: u32,
    /// Bytes that may wait.
    pub limit: u32,
}

impl Tbf {
    /// Whether the kernel shows this one as `seen`: it keeps the bucket as a time in ticks of 64 ns, 32 bits of them, so bytes
    /// come back rounded, and of what lasts longer only the rest.
    #[must_use]
    pub fn is_shown_as(&self, seen: &Self) -> bool {
        let tick = self.rate.saturating_mul(TICK) / 1_000_000_000;
        let rounding = u64::from(self.burst / 64) + tick + 1;
        let lasts = u128::from(self.burst) * 1_000_000_000
            > u128::from(self.rate) * (u128::from(TICK) << 32);
        (self.rate, self.limit) == (seen.rate, seen.limit)
            && (lasts || u64::from(self.burst.abs_diff(seen.burst)) <= rounding)
    }
}

impl fmt::Display for Tbf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, burst, limit } = self;
        write!(f, "tbf rate {rate}bps burst {burst} limit {limit}")
    }
}

/// A queue at the root of a link: what leaves the link goes through it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Qdisc {
    /// The link's name.
    pub dev: IfName,
    /// What it does.
    pub tbf: Tbf,
}

impl fmt::Display for Qdisc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "qdisc dev {} root {}", self.dev, self.tbf)
    }
}
