//! How long something took, in buckets: written by one thread, read by others.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds in milliseconds: a flush at once is below 10, one picture is 40, merged writes wait for up to some
/// hundred.
const BOUNDS_MILLIS: [u64; 13] = [1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120];

const BUCKETS: usize = BOUNDS_MILLIS.len() + 1;

/// The writer's side. Adding to it takes neither a lock nor an atomic operation beyond plain loads and stores, since
/// nobody else writes.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    /// Nanoseconds, weighted by viewers, would overflow within weeks.
    micros: AtomicU64,
}

/// What was counted so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// Observations in each bucket, not cumulated.
    buckets: [u64; BUCKETS],
    micros: u64,
}

impl Histogram {
    /// Counts `took` for `weight` observers. Only one thread may call this.
    pub fn observe(&self, took: Duration, weight: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MILLIS.partition_point(|bound| bound * 1000 < micros);
        add(&self.buckets[bucket], weight);
        add(&self.micros, micros.saturating_mul(weight));
    }

    /// Adds what was counted so far to `counted`.
    pub fn add_to(&self, counted: &mut Counted) {
        for (sum, bucket) in counted.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Relaxed);
        }
        counted.micros = counted.micros.saturating_add(self.micros.load(Relaxed));
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

impl Counted {
    /// Observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Seconds in all.
    pub fn seconds(&self) -> f64 {
        self.micros as f64 / 1e6
    }

    /// Upper bounds in seconds and the observations between them.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_MILLIS.iter().map(|millis| *millis as f64 / 1e3);
        bounds.chain([f64::INFINITY]).zip(self.buckets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_are_in_the_bucket_whose_bound_they_reach() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(999), 1);
        histogram.observe(Duration::from_millis(1), 2);
        histogram.observe(Duration::from_micros(1001), 4);
        histogram.observe(Duration::from_secs(60), 8);
        let mut counted = Counted::default();
        histogram.add_to(&mut counted);
        let buckets = counted.buckets();
        assert_eq!(buckets[..2], [(0.001, 3), (0.002, 4)]);
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, 8)));
        assert_eq!(counted.count(), 15);
        assert!((counted.seconds() - 480.007).abs() < 0.001, "{}", counted.seconds());
        histogram.add_to(&mut counted);
        assert_eq!(counted.count(), 30, "several shards add up");
    }
}
