//! Playlists and segments in memory.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderValue;

use super::{
    fetch::Fetched,
    object::{Kind, Object},
    playlist::Playlist,
};

/// What an entry takes beside its bytes: its names, which are 255 bytes a part at most, and its places in two maps.
const OVERHEAD: u64 = 1024;

/// A playlist may be served for half its target duration, but this is the shortest time between two requests for it.
const FRESH_MIN: Duration = Duration::from_millis(500);

/// Objects, as many as a number of bytes allows. Those that were not used for the longest time make room for others.
#[derive(Debug)]
pub struct Cache {
    entries: HashMap<Object, Entry>,
    /// The objects by when they were used last.
    order: BTreeMap<u64, Object>,
    /// Counts uses.
    tick: u64,
    bytes: u64,
    bytes_max: u64,
}

#[derive(Debug)]
struct Entry {
    body: Bytes,
    used: u64,
    times: Option<Times>,
}

/// What is known of a playlist beside its bytes.
#[derive(Debug)]
struct Times {
    asked: Instant,
    fresh_until: Instant,
    etag: Option<(SocketAddr, HeaderValue)>,
    /// The tick at which the segments of its stream were dropped last.
    dropped: u64,
}

/// An object of the cache.
#[derive(Debug)]
pub struct Cached {
    /// All of it.
    pub body: Bytes,
    /// Since when it may have changed, and what it is called at its origin; none while it has not.
    pub stale: Option<Stale>,
}

/// A playlist that may have changed.
#[derive(Debug)]
pub struct Stale {
    /// When an origin gave it.
    pub asked: Instant,
    /// Who did, and what it is called there.
    pub etag: Option<(SocketAddr, HeaderValue)>,
}

impl Cache {
    /// An empty cache for `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), tick: 0, bytes: 0, bytes_max }
    }

    /// From now on it has `bytes_max` bytes.
    pub fn limit_to(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
        self.make_room();
    }

    /// Bytes and objects.
    pub fn size(&self) -> (u64, usize) {
        (self.bytes, self.entries.len())
    }

    /// The moment, as [`Cache::insert`] wants to know it.
    pub fn tick(&self) -> u64 {
        self.tick
    }

    /// An object that is now used.
    pub fn get(&mut self, object: &Object, now: Instant) -> Option<Cached> {
        let entry = self.entries.get_mut(object)?;
        self.tick += 1;
        self.order.remove(&entry.used);
        entry.used = self.tick;
        self.order.insert(self.tick, object.clone());
        let stale = entry.times.as_ref().filter(|times| times.fresh_until <= now);
        let stale = stale.map(|it| Stale { asked: it.asked, etag: it.etag.clone() });
        Some(Cached { body: entry.body.clone(), stale })
    }

    /// Whether there is such an object.
    pub fn contains(&self, object: &Object) -> bool {
        self.entries.contains_key(object)
    }

    /// Takes an object that was asked for at tick `since`. A playlist stays fresh for as long as its origin says, but
    /// for `fresh_min` at least and half its target duration at most.
    pub fn insert(&mut self, object: &Object, fetched: &Fetched, since: u64, fresh_min: Duration) {
        let times = match object.kind {
            Kind::Playlist => Some(self.replaces(object, fetched, fresh_min)),
            Kind::Segment(_) if self.dropped(object) > since => return,
            Kind::Segment(_) => None,
        };
        self.remove(object);
        let cost = cost(&fetched.body);
        if cost > self.bytes_max {
            return;
        }
        self.tick += 1;
        self.bytes += cost;
        self.order.insert(self.tick, object.clone());
        let entry = Entry { body: fetched.body.clone(), used: self.tick, times };
        self.entries.insert(object.clone(), entry);
        self.make_room();
    }

    /// Removes an object, if it is there.
    pub fn remove(&mut self, object: &Object) {
        if let Some(entry) = self.entries.remove(object) {
            self.order.remove(&entry.used);
            self.bytes -= cost(&entry.body);
        }
    }

    /// Notes a newer playlist. When it is not a continuation of the one before, the stream's segments go: their names
    /// stand for others now.
    fn replaces(&mut self, object: &Object, fetched: &Fetched, fresh_min: Duration) -> Times {
        let next = Playlist::read(&fetched.body).unwrap_or_default();
        let half = next.target.map_or(fresh_min, |target| (target / 2).max(FRESH_MIN));
        let fresh = fetched.max_age.unwrap_or(fresh_min).max(fresh_min).min(half);
        let mut dropped = self.dropped(object);
        let begins_again = self.entries.get(object).is_some_and(|entry| {
            Playlist::read(&entry.body).is_some_and(|before| !before.is_continued_by(&next))
        });
        if begins_again {
            self.drop_segments(object);
            self.tick += 1;
            dropped = self.tick;
        }
        Times {
            asked: fetched.asked,
            fresh_until: fetched.asked + fresh,
            etag: fetched.etag.clone(),
            dropped,
        }
    }

    /// The tick at which the segments of the stream were dropped last, as far as that is known.
    fn dropped(&self, object: &Object) -> u64 {
        let playlist = Object { key: object.key.clone(), kind: Kind::Playlist };
        let times = self.entries.get(&playlist).and_then(|entry| entry.times.as_ref());
        times.map_or(0, |times| times.dropped)
    }

    fn drop_segments(&mut self, playlist: &Object) {
        let objects = self.entries.keys();
        let segments = objects.filter(|it| it.key == playlist.key && it.kind != Kind::Playlist);
        for segment in segments.cloned().collect::<Vec<_>>() {
            self.remove(&segment);
        }
    }

    fn make_room(&mut self) {
        while self.bytes > self.bytes_max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.remove(&oldest);
        }
    }
}

fn cost(body: &Bytes) -> u64 {
    body.len() as u64 + OVERHEAD
}

#[cfg(test)]
mod tests {
    use weir_hls::{Form, SegmentName};
    use weir_media::{DEFAULT_VHOST, StreamKey};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn numbered(sequence: u64) -> Kind {
        Kind::Segment(SegmentName { sequence, nonce: None, form: Form::Ts })
    }

    fn object(name: &str, kind: Kind) -> Object {
        Object { key: StreamKey::new(DEFAULT_VHOST, "live", name).expect("a name"), kind }
    }

    fn fetched(body: &str) -> Fetched {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Fetched { body, max_age: None, etag: None, asked: Instant::now() }
    }

    fn playlist(sequence: u64) -> Fetched {
        fetched(&format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n#EXTINF:4,\na-{sequence}.ts\n"
        ))
    }

    fn put(cache: &mut Cache, object: &Object, fetched: &Fetched) {
        cache.insert(object, fetched, cache.tick(), SECOND);
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let body = "x".repeat(1000);
        let mut cache = Cache::new(3 * (1000 + OVERHEAD));
        let segments: Vec<_> = (0..4).map(|n| object("a", numbered(n))).collect();
        for segment in &segments[..3] {
            put(&mut cache, segment, &fetched(&body));
        }
        assert!(cache.get(&segments[0], Instant::now()).is_some());
        put(&mut cache, &segments[3], &fetched(&body));
        let kept: Vec<_> = segments.iter().map(|it| cache.contains(it)).collect();
        assert_eq!(kept, [true, false, true, true]);
        assert_eq!(cache.size(), (3 * (1000 + OVERHEAD), 3));
        put(&mut cache, &segments[1], &fetched(&"x".repeat(4 * 1000 + 4096)));
        assert!(!cache.contains(&segments[1]), "one that is larger than all there is");
        for segment in &segments {
            cache.remove(segment);
        }
        assert_eq!((cache.size(), cache.order.len()), ((0, 0), 0));
    }

    #[test]
    fn a_playlist_is_fresh_as_long_as_its_origin_says_within_bounds() {
        let fresh_for = |max_age: Option<u64>| {
            let mut cache = Cache::new(1 << 20);
            let object = object("a", Kind::Playlist);
            let fetched = Fetched { max_age: max_age.map(Duration::from_secs), ..playlist(1) };
            put(&mut cache, &object, &fetched);
            let is_fresh = |millis: &u64| {
                let at = fetched.asked + Duration::from_millis(*millis);
                cache.get(&object, at).is_some_and(|cached| cached.stale.is_none())
            };
            [0, 999, 1000, 1999, 2000, 9999].into_iter().filter(is_fresh).max()
        };
        assert_eq!(fresh_for(None), Some(999));
        assert_eq!(fresh_for(Some(0)), Some(999), "one request a second is enough");
        assert_eq!(fresh_for(Some(3600)), Some(1999), "half of the target duration");
    }

    #[test]
    fn a_stream_that_begins_again_loses_its_segments_and_only_its_own() {
        let mut cache = Cache::new(1 << 20);
        let (list, segment) = (object("a", Kind::Playlist), object("a", numbered(7)));
        let neighbour = object("b", numbered(7));
        put(&mut cache, &list, &playlist(7));
        put(&mut cache, &segment, &fetched("old"));
        put(&mut cache, &neighbour, &fetched("b"));
        put(&mut cache, &list, &playlist(8));
        assert!(cache.contains(&segment), "the playlist went on");
        let before = cache.tick();
        put(&mut cache, &list, &playlist(0));
        assert!(!cache.contains(&segment) && cache.contains(&neighbour));
        cache.insert(&segment, &fetched("old"), before, SECOND);
        assert!(!cache.contains(&segment), "it was on its way from before");
        put(&mut cache, &list, &playlist(1));
        cache.insert(&segment, &fetched("old"), before, SECOND);
        assert!(!cache.contains(&segment), "a later playlist does not change that");
        put(&mut cache, &segment, &fetched("new"));
        assert!(cache.contains(&segment));
    }
}
