//! The bytes of objects, counted for as long as anybody holds them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use weir_media::{Budget, Charge, Use};

/// Counts the bytes of all objects: those in the cache, those on their way from an origin, and those that slow viewers
/// are still being sent after they have left the cache.
#[derive(Debug)]
pub struct Memory {
    used: AtomicU64,
    max: AtomicU64,
    /// What everything counts against that peers make the process hold.
    budget: Budget,
}

/// An object that is being read.
#[derive(Debug)]
pub struct Filling {
    data: Vec<u8>,
    memory: Arc<Memory>,
    /// The capacity of `data`.
    charge: Charge,
}

impl Memory {
    /// Room for `max` bytes, as far as `budget` has it.
    pub fn new(max: u64, budget: &Budget) -> Arc<Self> {
        let (used, max) = (AtomicU64::new(0), AtomicU64::new(max));
        Arc::new(Self { used, max, budget: budget.clone() })
    }

    /// What it counts against.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// From now on there is room for `max` bytes; what is here stays.
    pub fn limit_to(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    fn take(&self, bytes: u64) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        let take = |used: u64| used.checked_add(bytes).filter(|used| *used <= max);
        self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

impl Filling {
    /// Nothing yet.
    pub fn new(memory: &Arc<Memory>) -> Self {
        let charge = Charge::new(&memory.budget, Use::HlsCache);
        Self { data: Vec::new(), memory: Arc::clone(memory), charge }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Appends; whether there was room for it.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if !self.reserve(bytes.len()) || !self.memory.take(bytes.len() as u64) {
            return false;
        }
        self.data.extend_from_slice(bytes);
        true
    }

    /// Makes room for `more` bytes, doubling, if the budget has it.
    fn reserve(&mut self, more: usize) -> bool {
        if self.data.capacity() - self.data.len() >= more {
            return true;
        }
        let room = more.max(self.data.len());
        let grown = self.data.len() + room - self.data.capacity();
        self.charge.grow(grown).is_ok() && self.data.try_reserve_exact(room).is_ok()
    }

    /// The object, whole.
    pub fn finish(mut self) -> Bytes {
        self.data.shrink_to_fit();
        self.charge.set(self.data.capacity());
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Filling {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.data.len() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_the_last_holder_lets_go() {
        let memory = Memory::new(10, &Budget::unlimited());
        let mut filling = Filling::new(&memory);
        assert!(filling.push(b"12345678"));
        assert!(!filling.push(b"9ab"), "there is room for ten");
        assert_eq!((filling.len(), memory.used()), (8, 8));
        let object = filling.finish();
        let part = object.slice(2..4);
        drop(object);
        assert_eq!((&*part, memory.used()), (&b"34"[..], 8));
        drop(part);
        assert_eq!(memory.used(), 0);
    }
}
