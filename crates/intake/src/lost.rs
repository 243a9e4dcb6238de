//! Streams that somebody watched and that lost their publisher for good, for an alert. Counted when they are looked at:
//! a publisher that comes back in time, and an encoder that has said its goodbye, are none of them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use weir_clients::counts::COUNTS;
use weir_media::StreamKey;

/// How long a publisher may be away, where `publish.linger` is longer: viewers see no picture meanwhile.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// Streams that may come back: as many as lose their publishers within that time, some 200 bytes each. What is more
/// counts at once.
const WAITING_MAX: usize = 4096;

/// The streams without a publisher that may come back, each with the time at which it counts as lost.
#[derive(Debug, Default)]
pub struct LostStreams(Mutex<HashMap<StreamKey, Instant>>);

impl LostStreams {
    /// The publisher of `key` has been lost while somebody watched; it may come back within `linger`.
    pub fn lost(&self, key: &StreamKey, linger: Duration, now: Instant) {
        let mut waiting = self.waiting();
        if waiting.len() < WAITING_MAX || waiting.contains_key(key) {
            waiting.insert(key.clone(), now + linger.min(AWAY_MAX));
        } else {
            COUNTS.streams_lost.increase();
        }
    }

    /// `key` has a publisher.
    pub fn found(&self, key: &StreamKey) {
        self.waiting().remove(key);
    }

    /// Counts what has not come back in time. `is_live` says of a stream whether it has come by another way: an edge
    /// may have it from an origin.
    pub fn count(&self, now: Instant, is_live: impl Fn(&StreamKey) -> bool) {
        let due: Vec<_> = self.waiting().extract_if(|_, due| *due <= now).collect();
        let lost = due.iter().filter(|(key, _)| !is_live(key)).count();
        COUNTS.streams_lost.add(lost as u64);
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<StreamKey, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use weir_media::DEFAULT_VHOST;

    use super::*;

    #[test]
    fn what_does_not_come_back_in_time_counts_once() {
        let key = |name: &str| StreamKey::new(DEFAULT_VHOST, "live", name).expect("a good key");
        let (lost, start) = (LostStreams::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let counted = |seconds, live: &str| {
            let before = COUNTS.streams_lost.get();
            lost.count(at(seconds), |key| key.stream() == live);
            COUNTS.streams_lost.get() - before
        };
        for name in ["a", "b", "c"] {
            lost.lost(&key(name), Duration::from_secs(10), start);
        }
        lost.lost(&key("long"), Duration::from_secs(3600), start);
        lost.found(&key("a"));
        assert_eq!(counted(9, ""), 0);
        assert_eq!(counted(10, "b"), 1, "c; b comes from elsewhere");
        assert_eq!(counted(29, ""), 0);
        assert_eq!(counted(30, ""), 1, "nobody waits for an hour");
        assert_eq!(counted(9999, ""), 0);
        for number in 0..WAITING_MAX {
            lost.lost(&key(&number.to_string()), Duration::ZERO, start);
        }
        let before = COUNTS.streams_lost.get();
        lost.lost(&key("one too many"), Duration::ZERO, start);
        assert_eq!((COUNTS.streams_lost.get() - before, lost.waiting().len()), (1, WAITING_MAX));
    }
}
