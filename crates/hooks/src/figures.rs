//! What is counted, for `/metrics`.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use weir_clients::histogram::{Counted, Histogram};

use crate::event::Action;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The back end has accepted it.
    Accepted,
    /// It has refused it.
    Refused,
    /// It has not decided, or could not be told, however often it was tried.
    Failed,
    /// Too many waited.
    Dropped,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Refused, Self::Failed, Self::Dropped];

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// Counters of one server.
#[derive(Debug, Default)]
pub struct Figures {
    events: [[AtomicU64; Outcome::ALL.len()]; Action::ALL.len()],
    failures: AtomicU64,
    /// Heartbeats: those that were heard, and those that were not.
    beats: [AtomicU64; 2],
    /// It has one writer at a time.
    took: Mutex<Histogram>,
    pub(crate) waiting: AtomicUsize,
}

impl Figures {
    pub(crate) fn count(&self, action: Action, outcome: Outcome) {
        self.events[action as usize][outcome as usize].fetch_add(1, Relaxed);
    }

    /// Counts a call that has an answer, or has failed.
    pub(crate) fn called(&self, took: Duration, has_failed: bool) {
        self.took.lock().unwrap_or_else(PoisonError::into_inner).observe(took, 1);
        self.failures.fetch_add(u64::from(has_failed), Relaxed);
    }

    /// Counts a heartbeat.
    pub(crate) fn beat(&self, has_failed: bool) {
        self.beats[usize::from(has_failed)].fetch_add(1, Relaxed);
    }

    /// Heartbeats so far: those that were heard, and those that were not.
    pub fn beats(&self) -> [u64; 2] {
        self.beats.each_ref().map(|count| count.load(Relaxed))
    }

    /// Events so far, by what became of them.
    pub fn events(&self) -> impl Iterator<Item = (Action, Outcome, u64)> {
        Action::ALL.into_iter().zip(&self.events).flat_map(|(action, counts)| {
            let counts = Outcome::ALL.into_iter().zip(counts);
            counts.map(move |(outcome, count)| (action, outcome, count.load(Relaxed)))
        })
    }

    /// Calls that have failed: each attempt counts.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// How long calls took, those that failed included.
    pub fn took(&self) -> Counted {
        let mut counted = Counted::default();
        self.took.lock().unwrap_or_else(PoisonError::into_inner).add_to(&mut counted);
        counted
    }

    /// Events that wait, or are being told.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }
}
