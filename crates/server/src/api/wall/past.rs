//! The last minutes of a stream, noted every few seconds.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use weir_hub::{Status, StreamStats};
use weir_media::{Budget, Charge, Spent, Use};

use super::crowd::Crowd;

/// Between two notes.
pub const EVERY: Duration = Duration::from_secs(5);

/// Notes that are kept: five minutes of them.
pub const KEPT: usize = 60;

/// Notes in a minute.
const MINUTE: usize = 12;

/// Publishers whose coming is remembered.
const ARRIVALS_MAX: usize = 16;

/// Within which time publishers that come are counted.
const ARRIVALS_WITHIN: Duration = Duration::from_secs(300);

/// What happened between two notes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Point {
    /// Kilobits a second from the publisher.
    pub recv_kbps: u32,
    /// Kilobits a second to viewers.
    pub send_kbps: u32,
    /// Viewers.
    pub viewers: u32,
    /// The length of the last whole group, in milliseconds; 0 if there was none.
    pub group_ms: u32,
    /// Pictures in ten seconds.
    pub fps_x10: u16,
    /// How often viewers were moved on.
    pub skips: u16,
    /// Timestamps that were repaired.
    pub repairs: u16,
}

/// What is remembered of a stream.
#[derive(Debug)]
pub struct Past {
    points: VecDeque<Point>,
    at: Instant,
    bytes: u64,
    sent: u64,
    pictures: u64,
    sounds: u64,
    repairs: u64,
    skips: u64,
    /// When there was something new of it last.
    pub heard: Instant,
    /// When there was sound last; none before there was any.
    pub sounded: Option<Instant>,
    since: Option<Instant>,
    arrivals: VecDeque<Instant>,
    /// The note in which it was seen last.
    pub seen: u64,
    _charge: Charge,
}

/// So much may have been counted anew.
fn grown(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

fn small(many: u64) -> u16 {
    u16::try_from(many).unwrap_or(u16::MAX)
}

impl Past {
    /// Nothing is remembered of it yet.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(
        stats: &StreamStats,
        crowd: &Crowd,
        sent: u64,
        now: Instant,
        budget: &Budget,
    ) -> Result<Self, Spent> {
        let mut charge = Charge::new(budget, Use::Api);
        charge.grow(size_of::<Self>() + KEPT * size_of::<Point>())?;
        Ok(Self {
            points: VecDeque::new(),
            at: now,
            bytes: stats.bytes,
            sent,
            pictures: stats.pictures,
            sounds: stats.sounds,
            repairs: stats.repairs,
            skips: crowd.skips,
            heard: now,
            sounded: None,
            since: stats.since,
            arrivals: stats.since.into_iter().collect(),
            seen: 0,
            _charge: charge,
        })
    }

    /// Looks whether there is another publisher, which need not wait for the next note.
    pub fn look(&mut self, stats: &StreamStats) {
        if stats.since == self.since {
            return;
        }
        self.since = stats.since;
        if let Some(since) = stats.since {
            if self.arrivals.len() == ARRIVALS_MAX {
                self.arrivals.pop_front();
            }
            self.arrivals.push_back(since);
        }
    }

    /// Notes how it is `now`.
    pub fn note(&mut self, stats: &StreamStats, crowd: &Crowd, sent: u64, now: Instant) {
        self.look(stats);
        let millis = now.saturating_duration_since(self.at).as_millis().max(1) as u64;
        let rate = |more: u64| u32::try_from(more.saturating_mul(8) / millis).unwrap_or(u32::MAX);
        let bytes = grown(stats.bytes, self.bytes);
        let pictures = grown(stats.pictures, self.pictures);
        if bytes > 0 {
            self.heard = now;
        }
        if grown(stats.sounds, self.sounds) > 0 {
            self.sounded = Some(now);
        }
        let point = Point {
            recv_kbps: rate(bytes),
            send_kbps: rate(grown(sent, self.sent)),
            viewers: crowd.by.all(),
            group_ms: stats
                .group
                .map_or(0, |group| u32::try_from(group.as_millis()).unwrap_or(u32::MAX)),
            fps_x10: small(pictures.saturating_mul(10_000) / millis),
            skips: small(grown(crowd.skips, self.skips)),
            repairs: small(grown(stats.repairs, self.repairs)),
        };
        if self.points.len() == KEPT {
            self.points.pop_front();
        }
        self.points.push_back(point);
        self.at = now;
        (self.bytes, self.sent, self.pictures) = (stats.bytes, sent, stats.pictures);
        (self.sounds, self.repairs, self.skips) = (stats.sounds, stats.repairs, crowd.skips);
        if stats.status != Status::Live {
            self.heard = now;
        }
    }

    /// All notes, the oldest first.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.points.iter()
    }

    /// The newest note.
    pub fn newest(&self) -> Point {
        self.points.back().copied().unwrap_or_default()
    }

    /// The notes of the last minute.
    pub fn minute(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().rev().take(MINUTE)
    }

    /// How often a publisher has come in the last five minutes.
    pub fn arrivals(&self, now: Instant) -> usize {
        let is_late = |at: &&Instant| now.saturating_duration_since(**at) < ARRIVALS_WITHIN;
        self.arrivals.iter().filter(is_late).count()
    }

    /// Pictures in ten seconds, as is usual for it; none before a minute has passed.
    pub fn usual_fps_x10(&self) -> Option<u16> {
        if self.points.len() < MINUTE {
            return None;
        }
        let mut all: Vec<_> = self.points.iter().map(|point| point.fps_x10).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }
}
