//! Places, of which there are so many: for connections, and for what else is to be had only so often.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use weir_media::{Budget, Charge, Use};

/// The permits for clients, over all listeners.
#[derive(Clone, Debug)]
pub struct Permits {
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

/// A client's permit; dropping it frees it.
#[derive(Debug)]
pub struct Permit {
    /// None of one that is counted nowhere.
    counter: Option<Arc<Counter>>,
    _charge: Option<Charge>,
}

impl Permits {
    /// `limit` permits; 0 is as many as there can be.
    pub fn new(limit: usize) -> Self {
        let (taken, limit_set) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let counter = Arc::new(Counter { taken, limit: limit_set });
        let permits = Self { counter, budget: None };
        permits.limit_to(limit);
        permits
    }

    /// The same, but connections count against `budget`.
    #[must_use]
    pub fn charging(mut self, budget: &Budget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// From now on there are `limit` permits. Who has one keeps it.
    pub fn limit_to(&self, limit: usize) {
        let limit = if limit == 0 { usize::MAX } else { limit };
        self.counter.limit.store(limit, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn limit(&self) -> usize {
        self.counter.limit.load(Ordering::Relaxed)
    }

    /// A free permit, which is taken until this is dropped; none either when there is no memory for a connection.
    pub fn take(&self) -> Option<Permit> {
        let one_more = |taken| (taken < self.limit()).then_some(taken + 1);
        if self.budget.as_ref().is_some_and(|budget| !budget.has_place(CONNECTION_BYTES)) {
            return None;
        }
        let taken = &self.counter.taken;
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        let charge = self.budget.as_ref().map(|budget| {
            let mut charge = Charge::new(budget, Use::Connections);
            charge.add(CONNECTION_BYTES);
            charge
        });
        Some(Permit { counter: Some(Arc::clone(&self.counter)), _charge: charge })
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.counter.taken.load(Ordering::Relaxed)
    }
}

impl Permit {
    /// One that is not of a number of them: what it is for is counted otherwise.
    pub(crate) const fn uncounted() -> Self {
        Self { counter: None, _charge: None }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(counter) = &self.counter {
            counter.taken.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_find_places_as_long_as_there_is_memory() {
        let budget = Budget::new(16 * CONNECTION_BYTES);
        let permits = Permits::new(0).charging(&budget);
        let mut others = Charge::new(&budget, Use::Logs);
        others.add(10 * CONNECTION_BYTES);
        let mut held: Vec<_> = (0..6).map(|_| permits.take().expect("there is room")).collect();
        assert!(permits.take().is_none(), "the rest is taken");
        assert_eq!(permits.taken(), 6);
        others.add(100 * CONNECTION_BYTES);
        held.truncate(3);
        assert!(permits.take().is_some(), "some have room whatever others hold");
        held.clear();
        assert_eq!(budget.used_for(Use::Connections), 0);
    }
}
