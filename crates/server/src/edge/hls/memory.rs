//! The bytes of objects, counted for as long as anybody holds them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

/// Counts the bytes of all objects: those in the cache, those on their way from an origin, and those that slow viewers
/// are still being sent after they have left the cache.
#[derive(Debug)]
pub struct Memory {
    used: AtomicU64,
    max: AtomicU64,
}

/// An object that is being read.
#[derive(Debug)]
pub struct Filling {
    data: Vec<u8>,
    memory: Arc<Memory>,
}

impl Memory {
    /// Room for `max` bytes.
    pub fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), max: AtomicU64::new(max) })
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
        Self { data: Vec::new(), memory: Arc::clone(memory) }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Appends; whether there was room for it.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let has_room = self.memory.take(bytes.len() as u64);
        if has_room {
            self.data.extend_from_slice(bytes);
        }
        has_room
    }

    /// The object, whole.
    pub fn finish(mut self) -> Bytes {
        self.data.shrink_to_fit();
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
        let memory = Memory::new(10);
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
