//! Tells publishers when somebody begins or ceases to watch.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use weir_hub::{Demand, Wake};
use weir_media::StreamKey;

use crate::wake_signal::WakeSignal;

/// The signals of all publishers of this process.
#[derive(Default)]
pub struct DemandSignals(Mutex<HashMap<StreamKey, Weak<WakeSignal>>>);

impl DemandSignals {
    /// A signal that is given when the first viewer of `key` comes, and when the last one leaves, for as long as it is
    /// held.
    pub fn of(&self, key: &StreamKey) -> Arc<WakeSignal> {
        let mut signals = self.lock();
        // A publisher that took over is the one that counts; the signals of those that left are let go of here.
        signals.retain(|_, signal| signal.strong_count() > 0);
        let signal = Arc::new(WakeSignal::default());
        signals.insert(key.clone(), Arc::downgrade(&signal));
        signal
    }

    /// Wakes every publisher: what it goes by may have changed.
    pub fn ring_all(&self) {
        let signals: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        signals.iter().for_each(|signal| signal.wake());
    }

    fn ring(&self, key: &StreamKey) {
        let signal = self.lock().get(key).and_then(Weak::upgrade);
        if let Some(signal) = signal {
            signal.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamKey, Weak<WakeSignal>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Demand for DemandSignals {
    fn wanted(&self, key: &StreamKey) {
        self.ring(key);
    }

    fn unwanted(&self, key: &StreamKey) {
        self.ring(key);
    }
}

#[cfg(test)]
mod tests {
    use weir_media::DEFAULT_VHOST;

    use super::*;

    #[tokio::test]
    async fn only_the_present_publisher_of_the_stream_hears_of_viewers() {
        let key = |stream| StreamKey::new(DEFAULT_VHOST, "live", stream).expect("a good key");
        let audiences = DemandSignals::default();
        let (before, other) = (audiences.of(&key("a")), audiences.of(&key("b")));
        let present = audiences.of(&key("a"));
        audiences.wanted(&key("a"));
        present.rang().await;
        for deaf in [before, other] {
            let rang = tokio::time::timeout(std::time::Duration::ZERO, deaf.rang()).await;
            assert!(rang.is_err(), "nobody came for this one");
        }
        drop(present);
        audiences.unwanted(&key("a"));
        let _next = audiences.of(&key("c"));
        assert!(!audiences.lock().contains_key(&key("a")), "nobody publishes it any more");
    }
}
