//! What happens to a viewer or an encoder on its way from server to server.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Without a picture for so long after it began to connect, a join counts as one that hangs; an encoder that has no
/// answer for so long as well.
pub const HUNG: Duration = Duration::from_secs(3);

/// Before a viewer or encoder that was refused comes again.
pub(super) const AGAIN: Duration = Duration::from_millis(100);

/// Distances of new pictures that are noted one by one.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// What a roaming viewer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plays over HTTP-FLV.
    HttpFlv,
    /// Plays over RTMP and knows no reconnect requests.
    Rtmp,
    /// Plays over RTMP and follows reconnect requests (E-RTMP v2): it plays at the next server before it leaves the
    /// present one.
    Reconnecting,
}

/// How a server ended what a viewer or encoder had begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    /// In good order: with the end of the HTTP body, or a status of RTMP.
    LetGo(String),
    /// The client left by itself, as it was asked to.
    Followed,
    /// The connection ended without a word before, or in the midst of something.
    Cut(String),
}

/// What happened to one viewer.
#[derive(Clone, Debug, Default)]
pub struct ViewerReport {
    /// Attempts to play.
    pub joins: usize,
    /// The answers to those that were refused.
    pub refused: Vec<String>,
    /// How many showed no picture [for long](HUNG).
    pub hung: usize,
    /// When and how each stay at a server ended that had shown a picture.
    pub departures: Vec<(Instant, Departure)>,
    /// When a picture came that is newer than all before it.
    pub latest: Option<Instant>,
    /// The newest picture.
    pub newest: Option<u64>,
    /// The longest time between two new pictures.
    pub longest_gap: Duration,
    /// Times between new pictures that were long enough to notice, and when they ended.
    pub pauses: Vec<(Instant, Duration)>,
    /// Pictures that it did not see.
    pub missed: u64,
    /// The most that were missing at one place.
    pub missed_at_once: u64,
    /// What was wrong with what came.
    pub fault: Option<String>,
}

impl ViewerReport {
    /// A picture has come.
    pub(super) fn picture(&mut self, number: u64, now: Instant) {
        if self.newest.is_some_and(|newest| number <= newest) {
            return;
        }
        if let Some(newest) = self.newest {
            let missing = number - newest - 1;
            self.missed += missing;
            self.missed_at_once = self.missed_at_once.max(missing);
        }
        if let Some(latest) = self.latest {
            let gap = now.duration_since(latest);
            self.longest_gap = self.longest_gap.max(gap);
            if gap >= PAUSE {
                self.pauses.push((now, gap));
            }
        }
        (self.newest, self.latest) = (Some(number), Some(now));
    }

    /// How often it moved.
    pub fn moves(&self) -> usize {
        self.departures.len()
    }

    /// How often it moved in this time.
    pub fn moves_within(&self, from: Instant, to: Instant) -> usize {
        self.departures.iter().filter(|(at, _)| (from..to).contains(at)).count()
    }

    /// Those stays that a server broke off.
    pub fn cuts(&self) -> impl Iterator<Item = &str> {
        self.departures.iter().filter_map(|(_, departure)| match departure {
            Departure::Cut(how) => Some(how.as_str()),
            _ => None,
        })
    }
}

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
