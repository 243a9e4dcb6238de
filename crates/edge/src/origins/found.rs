//! Where streams were found that are not at their owner.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use weir_media::StreamKey;

/// Streams whose place is remembered. More than this away from their owners at once means that the origins change
/// faster than streams do; those that were used least lately are looked for again.
const STREAMS_MAX: usize = 10_000;

/// How long a place is remembered after its last use: an encoder that pauses comes back to the same origin.
const KEPT: Duration = Duration::from_secs(10 * 60);

/// Streams, and the RTMP addresses of the origins that had them.
#[derive(Debug, Default)]
pub struct Found(HashMap<StreamKey, Location>);

#[derive(Debug)]
struct Location {
    origin: SocketAddr,
    used: Instant,
}

impl Found {
    /// Where `key` was found last. It counts as a use.
    pub fn get(&mut self, key: &StreamKey, now: Instant) -> Option<SocketAddr> {
        let place = self.0.get_mut(key)?;
        if is_old(place, now) {
            self.0.remove(key);
            return None;
        }
        place.used = now;
        Some(place.origin)
    }

    /// Takes note that `key` is at `origin`. Whether that is news.
    pub fn insert(&mut self, key: &StreamKey, origin: SocketAddr, now: Instant) -> bool {
        if self.0.len() >= STREAMS_MAX && !self.0.contains_key(key) {
            self.make_room(now);
        }
        let before = self.0.insert(key.clone(), Location { origin, used: now });
        before.is_none_or(|before| before.origin != origin)
    }

    /// Forgets where `key` was. Whether it was known.
    pub fn remove(&mut self, key: &StreamKey) -> bool {
        self.0.remove(key).is_some()
    }

    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, place| !is_old(place, now));
        if self.0.len() < STREAMS_MAX {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, place)| place.used);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.0.remove(&key);
        }
    }
}

fn is_old(place: &Location, now: Instant) -> bool {
    now.duration_since(place.used) >= KEPT
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_media::DEFAULT_VHOST;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(number: usize) -> StreamKey {
        StreamKey::new(DEFAULT_VHOST, "live", &number.to_string()).expect("a name")
    }

    fn origin() -> SocketAddr {
        "10.0.0.1:1935".parse().expect("an address")
    }

    #[test]
    fn places_are_forgotten_some_time_after_their_last_use() {
        let (mut found, start) = (Found::default(), Instant::now());
        found.insert(&key(1), origin(), start);
        let used = start + KEPT - SECOND;
        assert_eq!(found.get(&key(1), used), Some(origin()));
        assert_eq!(found.get(&key(1), used + KEPT - SECOND), Some(origin()), "it was used since");
        assert_eq!(found.get(&key(1), used + KEPT + KEPT), None);
        assert!(found.0.is_empty());
    }

    #[test]
    fn the_place_used_least_lately_makes_room() {
        let (mut found, start) = (Found::default(), Instant::now());
        for n in 0..STREAMS_MAX {
            found.insert(&key(n), origin(), start);
        }
        for n in (0..STREAMS_MAX).filter(|&n| n != 7) {
            found.get(&key(n), start + SECOND);
        }
        found.insert(&key(0), origin(), start + SECOND);
        assert_eq!(found.0.len(), STREAMS_MAX, "one that is there already needs no room");
        found.insert(&key(STREAMS_MAX), origin(), start + SECOND);
        assert_eq!(found.0.len(), STREAMS_MAX);
        assert_eq!(found.get(&key(7), start + SECOND), None);
        assert_eq!(found.get(&key(STREAMS_MAX), start + SECOND), Some(origin()));
    }

    #[test]
    fn what_was_lost_is_forgotten() {
        let (mut found, now) = (Found::default(), Instant::now());
        found.insert(&key(1), origin(), now);
        found.remove(&key(1));
        assert_eq!(found.get(&key(1), now), None);
    }
}
