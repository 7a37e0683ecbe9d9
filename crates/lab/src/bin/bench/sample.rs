//! Samples of one thing, and what is said of them.

use std::time::Duration;

/// How long something took, each time that it was done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// In microseconds. Nearest rank: the smallest sample that so many percent do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted
            .get(rank - 1)
            .map_or(f64::NAN, |took| took.as_secs_f64() * 1e6)
    }

    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut samples = Samples::default();
        for us in (1..=200).rev() {
            samples.push(Duration::from_micros(us));
        }
        assert_eq!(samples.median().round(), 100.0);
        assert_eq!(samples.percentile(99).round(), 198.0);
        assert!(Samples::default().median().is_nan());
    }
}
