//! What all streams of a process have taken in since its start.

// Not those of `sync`: nobody decides anything by these figures, so loom need not interleave them.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counts what publishers bring. Unlike [`StreamStats`](crate::StreamStats) it goes on when streams end.
#[derive(Clone, Debug, Default)]
pub struct Totals(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
    repairs: AtomicU64,
}

impl Totals {
    /// Frames published.
    pub fn frames(&self) -> u64 {
        self.0.frames.load(Relaxed)
    }

    /// Bytes published.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Relaxed)
    }

    /// Timestamps that had to be repaired.
    pub fn repairs(&self) -> u64 {
        self.0.repairs.load(Relaxed)
    }

    pub(crate) fn count(&self, bytes: usize, repairs: u64) {
        self.0.frames.fetch_add(1, Relaxed);
        self.0.bytes.fetch_add(bytes as u64, Relaxed);
        if repairs > 0 {
            self.0.repairs.fetch_add(repairs, Relaxed);
        }
    }
}
