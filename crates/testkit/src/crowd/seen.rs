//! What a viewer of a crowd is, and what it sees.

use std::time::{Duration, Instant};

use super::watch::Watch;

/// What a viewer plays with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RTMP.
    Rtmp,
    /// HTTP-FLV.
    HttpFlv,
}

impl Protocol {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Rtmp, Self::HttpFlv];
}

/// What a viewer has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When it began to connect.
    pub began: Option<Instant>,
    /// When the first picture came.
    pub first: Option<Instant>,
    /// When the first picture came that is newer than all before the latest [`Crowd::mark`](super::Crowd::mark).
    pub resumed: Option<Instant>,
    /// When the latest picture came.
    pub last: Option<Instant>,
    /// The longest time between two pictures each of which was newer than all before it, since the latest
    /// [`Crowd::mark`](super::Crowd::mark).
    pub gap: Duration,
    /// When the latest of those pictures came.
    newer: Option<Instant>,
    /// What came, and what is wrong with it.
    pub watch: Watch,
    /// How the server ended or refused it, in its own words: a status code and description, or a status line and body.
    pub end: Option<String>,
    mark: Option<u64>,
    marked: bool,
}

impl Seen {
    /// The first thing that is wrong.
    pub fn fault(&self) -> Option<&str> {
        self.watch.fault()
    }

    /// The number of the newest picture.
    pub fn newest(&self) -> Option<u64> {
        self.watch.newest()
    }

    /// The number of the newest packet of sound.
    pub fn newest_sound(&self) -> Option<u64> {
        self.watch.newest_sound()
    }

    /// From connecting to the first picture.
    pub fn delay(&self) -> Option<Duration> {
        Some(self.first?.duration_since(self.began?))
    }

    pub(super) fn mark(&mut self) {
        (self.mark, self.marked, self.resumed) = (self.newest(), true, None);
        self.gap = Duration::ZERO;
    }

    pub(super) fn take(&mut self, tag: &weir_flv::Tag) {
        let before = self.newest();
        if !self.watch.take(tag) {
            return;
        }
        let now = Instant::now();
        if self.newest() > before {
            let newer = self.newer.replace(now).unwrap_or(now);
            self.gap = self.gap.max(now.duration_since(newer));
        }
        self.first.get_or_insert(now);
        self.last = Some(now);
        if self.marked && self.newest() > self.mark {
            self.resumed.get_or_insert(now);
        }
    }
}
