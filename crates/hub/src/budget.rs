//! One bound over the bytes of all logs of the process.

use crate::sync::{Arc, AtomicUsize, Ordering};

/// Counts the bytes that logs hold. Logs that share a budget shrink to their newest group once it is spent.
///
/// The count may overshoot by one entry per log: the entry that spends it is kept.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    used: AtomicUsize,
    limit: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Counter { used: AtomicUsize::new(0), limit: AtomicUsize::new(limit) }))
    }

    /// A budget that is never spent.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Bytes held by all logs that share this budget.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Whether the logs hold more than they may.
    pub fn is_spent(&self) -> bool {
        self.used() > self.0.limit.load(Ordering::Relaxed)
    }

    /// From now on it is of `limit` bytes. Logs that hold more shrink with their next entry.
    pub fn limit_to(&self, limit: usize) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }

    pub(crate) fn take(&self, bytes: usize) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
