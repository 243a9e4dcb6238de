//! What the windows of all streams may hold together, and each of them when that is too much.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use weir_media::{Budget, Charge, Use};

/// The share of the memory that is for windows.
#[derive(Clone, Debug)]
pub struct Share {
    budget: Budget,
    windows: Arc<AtomicUsize>,
}

/// The part of it that one window has.
#[derive(Debug)]
pub struct Part(Share);

impl Share {
    /// All of it is free.
    pub fn new(budget: &Budget) -> Self {
        Self { budget: budget.clone(), windows: Arc::default() }
    }

    /// For one window more.
    pub fn part(&self) -> Part {
        self.windows.fetch_add(1, Relaxed);
        Part(self.clone())
    }

    /// Whether more is held than should be: by windows, and by clients that read slowly what has left them.
    pub fn is_spent(&self) -> bool {
        self.budget.used_for(Use::HlsWindow) > self.budget.share(Use::HlsWindow)
    }
}

impl Part {
    /// What a window may hold that holds `own` bytes: all of that while there is room for everybody's, and an equal
    /// part in any case.
    pub fn most(&self, own: usize) -> usize {
        let Share { budget, windows } = &self.0;
        let share = budget.share(Use::HlsWindow);
        let surplus = budget.used_for(Use::HlsWindow).saturating_sub(share);
        own.saturating_sub(surplus).max(share / windows.load(Relaxed).max(1))
    }

    /// Whether there is room for so many bytes more.
    pub fn has_room(&self, bytes: usize) -> bool {
        let Share { budget, .. } = &self.0;
        budget.used_for(Use::HlsWindow).saturating_add(bytes) <= budget.share(Use::HlsWindow)
    }

    /// `bytes`, which count for as long as anybody holds them.
    pub fn counted(&self, bytes: Vec<u8>) -> Bytes {
        let mut charge = Charge::new(&self.0.budget, Use::HlsWindow);
        charge.add(bytes.capacity());
        Bytes::from_owner(Counted { bytes, _charge: charge })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.windows.fetch_sub(1, Relaxed);
    }
}

struct Counted {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_window_has_what_others_leave_and_an_equal_part_in_any_case() {
        // A quarter is for windows.
        let share = Share::new(&Budget::new(64 * MIB));
        let (large, small) = (share.part(), share.part());
        let mut held: Vec<_> = (0..14).map(|_| large.counted(vec![0; MIB])).collect();
        assert_eq!(large.most(14 * MIB), 14 * MIB, "nobody else wants it");
        assert!(small.has_room(2 * MIB) && !small.has_room(3 * MIB));
        held.extend((0..6).map(|_| small.counted(vec![0; MIB])));
        assert!(share.is_spent());
        assert_eq!(large.most(14 * MIB), 10 * MIB, "four are too much");
        assert_eq!(small.most(6 * MIB), 8 * MIB, "less than its part: it keeps all");
        drop(held);
        assert!(!share.is_spent());
        drop(small);
        let slow = large.counted(vec![0; 40 * MIB]);
        assert_eq!(large.most(9 * MIB), 16 * MIB, "whoever reads slowly takes nobody's part");
        drop(slow);
    }
}
