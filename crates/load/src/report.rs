//! What was measured, as a table or as JSON.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cpu::Spent;

/// A distribution of durations, in microseconds.
#[derive(Debug)]
pub struct Times(Histogram<u32>);

impl Default for Times {
    fn default() -> Self {
        // Auto-resizing with two significant figures: a few KB whatever is recorded.
        Self(
            Histogram::new(2)
                .unwrap_or_else(|_| unreachable!("2 is a valid number of significant figures")),
        )
    }
}

impl Times {
    /// Counts a duration.
    pub fn record(&mut self, time: Duration) {
        // Fails only for values that no 64-bit histogram holds.
        let _ = self.0.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX >> 1));
    }

    /// The distribution in milliseconds.
    pub fn spread(&self) -> Spread {
        let at = |quantile| millis(self.0.value_at_quantile(quantile));
        Spread { count: self.0.len(), p50: at(0.5), p99: at(0.99), max: millis(self.0.max()) }
    }
}

fn millis(micros: u64) -> f64 {
    (Duration::from_micros(micros).as_secs_f64() * 1e5).round() / 100.0
}

/// A distribution in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Spread {
    /// How many values.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// What 1 of 100 exceeds.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {:.1}  p99 {:.1}  max {:.1} ms  ({} values)",
            self.p50, self.p99, self.max, self.count
        )
    }
}

/// The outcome of `weir-load play`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Seconds measured.
    pub seconds: f64,
    /// Viewers that were to play through the measurement.
    pub viewers: usize,
    /// Of those, how many did.
    pub playing: usize,
    /// Viewers that were refused or never got a picture.
    pub failed: usize,
    /// Viewers that were cut off.
    pub cut: usize,
    /// Bytes that all viewers received in the measurement.
    pub bytes: u64,
    /// Received bytes of the viewer that got the least, as a share of the mean.
    pub least: f64,
    /// Age of pictures at arrival.
    pub latency: Spread,
    /// From the viewer's first packet to its first key frame.
    pub join: Spread,
    /// The same for the viewers of the storm.
    pub storm_join: Spread,
    /// Viewers that got nothing for too long.
    pub stalled: usize,
    /// The longest time without a byte of any viewer, in milliseconds.
    pub longest_gap: f64,
    /// CPU seconds of the watched processes.
    pub cpu: f64,
    /// Of those, the seconds of the threads that send to viewers, where the process is Weir.
    pub cpu_shards: f64,
    /// CPU seconds of the kernel's softirq threads.
    pub softirq: f64,
    /// CPU seconds for each GB delivered, softirq threads included.
    pub cpu_per_gb: Option<f64>,
    /// Resident memory of the watched processes before the viewers came, in KiB.
    pub rss_before: u64,
    /// The same at the end of the measurement.
    pub rss: u64,
}

impl Report {
    /// Adds what the processes used.
    pub fn add_cpu(&mut self, spent: Spent) {
        (self.cpu, self.cpu_shards, self.softirq) = (spent.process, spent.shards, spent.softirq);
        if self.bytes > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let gigabytes = self.bytes as f64 / 1e9;
            self.cpu_per_gb = Some((self.cpu + self.softirq) / gigabytes);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let megabits = self.bytes as f64 * 8e-6 / self.seconds.max(1e-9);
        writeln!(
            f,
            "viewers       {} of {} ({} failed, {} cut)",
            self.playing, self.viewers, self.failed, self.cut
        )?;
        writeln!(
            f,
            "received      {megabits:.1} Mb/s; least {:.0} % of the mean",
            self.least * 100.0
        )?;
        writeln!(f, "latency       {}", self.latency)?;
        writeln!(f, "join          {}", self.join)?;
        if self.storm_join.count > 0 {
            writeln!(f, "storm join    {}", self.storm_join)?;
        }
        writeln!(
            f,
            "stalled       {} viewers; longest gap {:.0} ms",
            self.stalled, self.longest_gap
        )?;
        if let Some(cpu) = self.cpu_per_gb {
            writeln!(
                f,
                "cpu           {cpu:.2} s/GB ({:.2} s, of which {:.2} s to send, and {:.2} s softirq)",
                self.cpu, self.cpu_shards, self.softirq
            )?;
            writeln!(f, "memory        {} KiB, {} KiB before", self.rss, self.rss_before)?;
        }
        Ok(())
    }
}
