//! Rates over the last seconds.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Between two samples.
pub const TICK: Duration = Duration::from_secs(1);

/// Samples that are kept: five seconds between the first and the last, in which a group or two are sent, so that key
/// frames do not make the rate jump.
const SAMPLES: usize = 6;

/// What has been sent and computed so far, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// Bytes sent.
    pub sent: u64,
    /// Processor time used.
    pub cpu: Duration,
}

/// The last samples.
#[derive(Debug, Default)]
pub struct Window(VecDeque<Sample>);

impl Window {
    /// One more.
    pub fn push(&mut self, sample: Sample) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// Bits sent a second.
    pub fn bits_per_second(&self) -> f64 {
        self.rate(|from, to| to.sent.saturating_sub(from.sent) as f64 * 8.0)
    }

    /// Processors used.
    pub fn cpus(&self) -> f64 {
        self.rate(|from, to| to.cpu.saturating_sub(from.cpu).as_secs_f64())
    }

    fn rate(&self, difference: impl Fn(&Sample, &Sample) -> f64) -> f64 {
        let (Some(from), Some(to)) = (self.0.front(), self.0.back()) else { return 0.0 };
        let seconds = to.at.saturating_duration_since(from.at).as_secs_f64();
        if seconds > 0.0 { difference(from, to) / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_seconds_count() {
        let (mut window, start) = (Window::default(), Instant::now());
        assert_eq!(window.bits_per_second(), 0.0);
        let sample = |second: u64, sent: u64| Sample {
            at: start + TICK * u32::try_from(second).unwrap(),
            sent,
            cpu: Duration::from_millis(second * 500),
        };
        window.push(sample(0, 0));
        assert_eq!(window.bits_per_second(), 0.0, "one moment has no rate");
        window.push(sample(1, 1_000_000));
        assert_eq!(window.bits_per_second(), 8e6);
        (2..=6).for_each(|second| window.push(sample(second, 1_000_000)));
        assert_eq!(window.bits_per_second(), 0.0, "what was sent in the first second is long ago");
        assert!((window.cpus() - 0.5).abs() < 1e-9, "{}", window.cpus());
    }
}
