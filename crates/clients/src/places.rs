//! Places, of which there are so many: for connections, and for what else is to be had only so often.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use weir_media::{Budget, Charge, Use};

/// The places for clients, over all listeners.
#[derive(Clone, Debug)]
pub struct Places {
    counter: Arc<Counter>,
    /// What each of them counts against.
    budget: Option<Budget>,
}

/// What a connection takes in this process beside what it sends and is sent, as measured: its session, its task or its
/// place on a shard, and what others know of it.
const CONNECTION_BYTES: usize = 8 * 1024;

#[derive(Debug)]
struct Counter {
    taken: AtomicUsize,
    limit: AtomicUsize,
}

/// A client's place; dropping it frees it.
#[derive(Debug)]
pub struct Place {
    counter: Arc<Counter>,
    _charge: Option<Charge>,
}

impl Places {
    /// `limit` places; 0 is as many as there can be.
    pub fn new(limit: usize) -> Self {
        let (taken, limit_set) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let counter = Arc::new(Counter { taken, limit: limit_set });
        let places = Self { counter, budget: None };
        places.limit_to(limit);
        places
    }

    /// The same, but connections count against `budget`.
    #[must_use]
    pub fn charging(mut self, budget: &Budget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// From now on there are `limit` places. Who has one keeps it.
    pub fn limit_to(&self, limit: usize) {
        let limit = if limit == 0 { usize::MAX } else { limit };
        self.counter.limit.store(limit, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn limit(&self) -> usize {
        self.counter.limit.load(Ordering::Relaxed)
    }

    /// A free place, which is taken until this is dropped.
    pub fn take(&self) -> Option<Place> {
        let one_more = |taken| (taken < self.limit()).then_some(taken + 1);
        let taken = &self.counter.taken;
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        let charge = self.budget.as_ref().map(|budget| {
            let mut charge = Charge::new(budget, Use::Connections);
            charge.add(CONNECTION_BYTES);
            charge
        });
        Some(Place { counter: Arc::clone(&self.counter), _charge: charge })
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.counter.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counter.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
