//! Random numbers that are the same again with the same seed.
//!
//! The generator is SplitMix64 (Steele, Lea, Flood 2014). A test prints its seed; `HOSTILE_SEED=N` repeats it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

pub(super) struct Random(u64);

impl Random {
    pub(super) fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// One of `0..bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        usize::try_from(self.next() % bound).unwrap_or_default()
    }

    pub(super) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub(super) fn of_these<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// The seed that was asked for, or another one each time; told either way.
pub(super) fn seed(what: &str) -> u64 {
    let asked = std::env::var("HOSTILE_SEED").ok();
    // Of the standard library's own keys, which are others each time.
    let another = || RandomState::new().build_hasher().finish();
    let seed = asked
        .map(|text| text.parse().expect("HOSTILE_SEED is a number"))
        .unwrap_or_else(another);
    println!("{what}: to repeat it, set HOSTILE_SEED={seed}");
    seed
}
