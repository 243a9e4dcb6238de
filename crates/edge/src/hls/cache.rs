//! Playlists and segments in memory.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderValue;
use weir_hls::{Entry, EntryKind, Held, Listing, MediaPlaylist, Window, file_name};
use weir_media::StreamKey;

use super::{
    fetch::{Fetched, Next},
    object::{Kind, Object},
    playlist::{Playlist, Reading},
};

/// What an entry takes beside its bytes: its names, which are 255 bytes a part at most, and its places in the maps.
const OVERHEAD: u64 = 1024;

/// A playlist may be served for half its target duration, but this is the shortest time between two requests for it.
const FRESH_MIN: Duration = Duration::from_millis(500);

/// How far a length in a playlist is from the true one at most: they are written in milliseconds.
const ROUNDING: Duration = Duration::from_micros(501);

/// Objects, as many as a number of bytes allows. Those that were not used for the longest time make room for others,
/// whatever stream they are of.
///
/// The objects themselves are in the [`Window`] of their stream; here is which of them is used, and what is known of
/// playlists beside what they say. What [`admit`](Self::admit) has let in is put into the window with no lock held,
/// since that wakes whoever waits for it, and then it is to be [`insert`](Self::insert)ed.
#[derive(Debug)]
pub struct Cache {
    /// Those of streams of which there is an object, or somebody waits for one.
    windows: HashMap<StreamKey, Arc<Window>>,
    entries: HashMap<Object, Kept>,
    /// The objects by when they were used last.
    order: BTreeMap<u64, Object>,
    /// Counts uses.
    tick: u64,
    bytes: u64,
    bytes_max: u64,
}

#[derive(Debug)]
struct Kept {
    cost: u64,
    used: u64,
    times: Option<Times>,
}

/// What is known of a playlist beside what it says.
#[derive(Debug)]
struct Times {
    asked: Instant,
    answered: Instant,
    fresh_until: Instant,
    /// Whether its origin tells us when there is a newer one.
    is_current: bool,
    etag: Option<(SocketAddr, HeaderValue)>,
    /// The tick at which the segments of its stream were dropped last.
    dropped: u64,
    is_multivariant: bool,
    has_parts: bool,
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

/// What is to be put into a window, and then [inserted](Cache::insert).
#[derive(Debug)]
pub struct Admitted {
    /// Where.
    pub window: Arc<Window>,
    cost: u64,
    times: Option<Times>,
}

/// How a playlist stands to those who want to know more of it.
#[derive(Debug)]
pub struct Standing {
    /// Where it is.
    pub window: Arc<Window>,
    /// What its origin is to be asked for next, if that answers when there is more.
    pub next: Option<Next>,
    /// The file name of the part that comes next, if it says so.
    pub hint: Option<Arc<str>>,
}

impl Cache {
    /// An empty cache for `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            windows: HashMap::new(),
            entries: HashMap::new(),
            order: BTreeMap::new(),
            tick: 0,
            bytes: 0,
            bytes_max,
        }
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

    /// The moment, as [`Cache::admit`] wants to know it.
    pub fn tick(&self) -> u64 {
        self.tick
    }

    /// An object that is now used.
    pub fn get(&mut self, object: &Object, now: Instant) -> Option<Cached> {
        let entry = self.entries.get(object)?;
        let Some(body) = self.body(object, entry) else {
            // The other name of the same playlist was dropped.
            self.remove(object);
            return None;
        };
        self.tick += 1;
        let entry = self.entries.get_mut(object)?;
        self.order.remove(&entry.used);
        entry.used = self.tick;
        self.order.insert(self.tick, object.clone());
        let is_stale = |times: &&Times| !times.is_current && times.fresh_until <= now;
        let stale = entry.times.as_ref().filter(is_stale);
        let stale = stale.map(|it| Stale { asked: it.asked, etag: it.etag.clone() });
        Some(Cached { body, stale })
    }

    fn body(&self, object: &Object, entry: &Kept) -> Option<Bytes> {
        let window = self.windows.get(&object.key)?;
        match (object.kind.rendition(), &entry.times) {
            (Some(_), Some(times)) if times.is_multivariant => window.multivariant(),
            (Some(rendition), _) => window.playlist(rendition).map(|listing| listing.text.clone()),
            (None, _) => match window.get(&object.file())? {
                Held::Here(body) => Some(body),
                Held::InFile => None,
            },
        }
    }

    /// Whether there is such an object.
    pub fn contains(&self, object: &Object) -> bool {
        self.entries.contains_key(object)
    }

    /// A media playlist, if it is here.
    pub fn standing(&self, object: &Object) -> Option<Standing> {
        let window = self.windows.get(&object.key)?;
        let times = self.entries.get(object)?.times.as_ref().filter(|it| !it.is_multivariant)?;
        let listing = window.playlist(object.kind.rendition()?)?;
        let goes_on = listing.progress.filter(|progress| !progress.is_ended);
        let next = goes_on.map(|progress| Next::after(progress, times.has_parts));
        let hint = listing.hint.clone();
        Some(Standing { window: Arc::clone(window), next, hint })
    }

    /// The parts that a segment consists of, as far as a playlist that is here says: all of them, in their order.
    pub fn parts(&self, segment: &Object) -> Option<Vec<Object>> {
        if !segment.kind.is_unique() || !segment.kind.has_parts() {
            return None;
        }
        let window = self.windows.get(&segment.key)?;
        listed_parts(window, &segment.key, &segment.file())
            .filter(|parts| parts.iter().all(|it| it.key == segment.key && it.kind.is_part()))
    }

    /// Lets in an object that was asked for at tick `since`, if there is room for it; `reading` is what a playlist
    /// says. A playlist stays fresh for as long as its origin says, but for `fresh_min` at least and half its target
    /// duration at most.
    pub fn admit(
        &mut self,
        object: &Object,
        fetched: &Fetched,
        reading: Option<&Reading>,
        since: u64,
        fresh_min: Duration,
    ) -> Option<Admitted> {
        let times = match reading {
            Some(reading) => Some(self.replaces(object, fetched, reading, fresh_min)?),
            None if !object.kind.is_unique() && self.dropped(object) > since => return None,
            None => None,
        };
        let cost = cost(fetched.body.len() + reading.map_or(0, Reading::more));
        if cost > self.bytes_max {
            self.remove(object);
            return None;
        }
        let window = Arc::clone(self.windows.entry(object.key.clone()).or_default());
        Some(Admitted { window, cost, times })
    }

    /// Takes note of an object that is in its window now.
    pub fn insert(&mut self, object: &Object, admitted: Admitted) {
        let Admitted { window, cost, times } = admitted;
        if let Some(entry) = self.entries.remove(object) {
            self.order.remove(&entry.used);
            self.bytes -= entry.cost;
        }
        // It was held, so that it is still the one of the stream.
        drop(window);
        if self.windows.len() > self.entries.len() {
            // Those in which somebody waited when their last object went.
            self.windows.retain(|_, window| Arc::strong_count(window) > 1 || !is_empty(window));
        }
        self.tick += 1;
        self.bytes += cost;
        self.order.insert(self.tick, object.clone());
        self.entries.insert(object.clone(), Kept { cost, used: self.tick, times });
        self.make_room();
    }

    /// Parts whose bytes are those of their segment now cost nothing more.
    pub fn merged<'a>(&mut self, parts: impl IntoIterator<Item = &'a Object>) {
        for part in parts {
            let Some(entry) = self.entries.get_mut(part) else { continue };
            self.bytes -= entry.cost - OVERHEAD;
            entry.cost = OVERHEAD;
        }
    }

    /// Whether its origin tells us from now on when there is a newer one of this playlist; if not, it may have changed
    /// already.
    pub fn is_current(&mut self, playlist: &Object, is_current: bool, now: Instant) {
        let entry = self.entries.get_mut(playlist);
        let Some(times) = entry.and_then(|entry| entry.times.as_mut()) else { return };
        if times.is_current && !is_current {
            times.fresh_until = now;
        }
        times.is_current = is_current;
    }

    /// Removes an object, if it is there.
    pub fn remove(&mut self, object: &Object) {
        let Some(entry) = self.entries.remove(object) else { return };
        self.order.remove(&entry.used);
        self.bytes -= entry.cost;
        let Some(window) = self.windows.get(&object.key) else { return };
        match (object.kind.rendition(), entry.times) {
            (Some(_), Some(times)) if times.is_multivariant => window.choose(None),
            (Some(rendition), _) => window.unlist(rendition),
            (None, _) => window.remove([&*object.file()]),
        }
        // Whoever waits at it, or puts something in, has to find it again.
        if Arc::strong_count(window) == 1 && is_empty(window) {
            self.windows.remove(&object.key);
        }
    }

    /// Notes a newer playlist; none if it is older. When it is not a continuation of the one before, the stream's
    /// segments go whose names stand for others now.
    fn replaces(
        &mut self,
        object: &Object,
        fetched: &Fetched,
        reading: &Reading,
        fresh_min: Duration,
    ) -> Option<Times> {
        let half = reading.target.map_or(fresh_min, |target| (target / 2).max(FRESH_MIN));
        let fresh = fetched.max_age.unwrap_or(fresh_min).max(fresh_min).min(half);
        let mut dropped = self.dropped(object);
        let entry = self.entries.get(object);
        let before = entry.and_then(|entry| entry.times.as_ref());
        if before.is_some_and(|before| before.answered > fetched.answered) {
            return None;
        }
        let before = entry.filter(|_| reading.can_be_guessed);
        let before = before.and_then(|entry| self.body(object, entry)).unwrap_or_default();
        let begins_again = Playlist::read(&before).is_some_and(|before| {
            !before.is_continued_by(&Playlist::read(&fetched.body).unwrap_or_default())
        });
        if begins_again {
            self.drop_segments(object);
            self.tick += 1;
            dropped = self.tick;
        }
        Some(Times {
            asked: fetched.asked,
            answered: fetched.answered,
            fresh_until: fetched.asked + fresh,
            is_current: false,
            etag: fetched.etag.clone(),
            dropped,
            is_multivariant: reading.listing.is_none(),
            has_parts: reading.has_parts,
        })
    }

    /// The tick at which the segments of the stream were dropped last, as far as that is known.
    fn dropped(&self, object: &Object) -> u64 {
        let playlist = Object { key: object.key.clone(), kind: Kind::Playlist };
        let times = self.entries.get(&playlist).and_then(|entry| entry.times.as_ref());
        times.map_or(0, |times| times.dropped)
    }

    fn drop_segments(&mut self, playlist: &Object) {
        let is_dropped =
            |it: &&Object| it.key == playlist.key && !it.kind.is_playlist() && !it.kind.is_unique();
        let segments: Vec<_> = self.entries.keys().filter(is_dropped).cloned().collect();
        segments.iter().for_each(|segment| self.remove(segment));
    }

    fn make_room(&mut self) {
        while self.bytes > self.bytes_max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.remove(&oldest);
        }
    }
}

impl Admitted {
    /// Puts the object into its window, with no lock held: who waits for it is woken. Returns the parts whose bytes are
    /// now those of this segment ([`Cache::merged`]).
    pub fn store(&self, object: &Object, body: Bytes, reading: Option<Reading>) -> Vec<Object> {
        let window = &*self.window;
        match (object.kind, reading) {
            (Kind::Playlist, Some(Reading { listing: None, .. })) => window.choose(Some(body)),
            (kind, Some(Reading { listing: Some(listing), .. })) => {
                if kind == Kind::Playlist && window.multivariant().is_some() {
                    window.choose(None);
                }
                if let Some(rendition) = kind.rendition() {
                    window.list(rendition, listing);
                }
            }
            (kind, _) if kind.is_part() => window.put_part(&object.file(), body),
            _ => {
                let file = object.file();
                let parts = parts_of(window, &object.key, &file, &body);
                let names: Vec<_> = parts.iter().map(Object::file).collect();
                window.put_whole(&file, &body, names.iter().map(String::as_str));
                return parts;
            }
        }
        Vec::new()
    }
}

/// The parts of the segment with this file name, if all of them are in the window and together are what it is.
fn parts_of(window: &Window, key: &StreamKey, file: &str, body: &Bytes) -> Vec<Object> {
    let parts = listed_parts(window, key, file).unwrap_or_default();
    let mut rest = &body[..];
    let has_all = parts.iter().all(|part| match window.get(&part.file()) {
        Some(Held::Here(part)) => rest.strip_prefix(&part[..]).map(|after| rest = after).is_some(),
        _ => false,
    });
    if has_all && rest.is_empty() { parts } else { Vec::new() }
}

/// The parts that a playlist in the window lists of the segment with this file name. None if it lists no such segment,
/// or not all of its parts: then they are not as long together as it is. Encrypted segments are not what their parts
/// are.
fn listed_parts(window: &Window, key: &StreamKey, file: &str) -> Option<Vec<Object>> {
    let lists = |listing: &Arc<Listing>| listing.files.iter().any(|listed| **listed == *file);
    let mut listings = window.renditions().into_iter().filter_map(|it| window.playlist(it));
    let listing = listings.find(lists)?;
    let read = MediaPlaylist::parse(str::from_utf8(&listing.text).ok()?).ok()?;
    let is_it = |entry: &&Entry<'_>| file_name(entry.uri).is_some_and(|name| name == file);
    let segment = read.of(EntryKind::Segment).find(is_it)?;
    if read.of(EntryKind::Key).next().is_some() {
        return None;
    }
    let parts: Vec<_> =
        read.of(EntryKind::Part).filter(|part| part.sequence == segment.sequence).collect();
    let length: Duration = parts.iter().map(|part| part.duration).sum();
    let rounding = ROUNDING * u32::try_from(parts.len() + 1).unwrap_or(u32::MAX);
    if parts.is_empty() || length.abs_diff(segment.duration) > rounding {
        return None;
    }
    parts.iter().map(|part| Object::of_file(key, &file_name(part.uri)?)).collect()
}

fn is_empty(window: &Window) -> bool {
    window.files().is_empty() && window.renditions().is_empty() && window.multivariant().is_none()
}

fn cost(bytes: usize) -> u64 {
    bytes as u64 + OVERHEAD
}

#[cfg(test)]
mod tests {
    use weir_hls::{Form, Nonce, Progress, Rendition, SegmentName};
    use weir_media::{Budget, DEFAULT_VHOST, StreamKey};

    use super::*;
    use crate::hls::memory::Memory;

    const SECOND: Duration = Duration::from_secs(1);

    fn numbered(sequence: u64) -> Kind {
        Kind::Segment(SegmentName { sequence, nonce: None, form: Form::Ts })
    }

    fn object(name: &str, kind: Kind) -> Object {
        Object { key: StreamKey::new(DEFAULT_VHOST, "live", name).expect("a name"), kind }
    }

    fn fetched(body: &str) -> Fetched {
        let (body, now) = (Bytes::copy_from_slice(body.as_bytes()), Instant::now());
        Fetched { body, max_age: None, etag: None, asked: now, answered: now }
    }

    fn playlist(sequence: u64) -> Fetched {
        fetched(&format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n#EXTINF:4,\na-{sequence}.ts\n"
        ))
    }

    fn put(cache: &mut Cache, object: &Object, fetched: &Fetched) {
        put_since(cache, object, fetched, cache.tick());
    }

    fn put_since(cache: &mut Cache, object: &Object, fetched: &Fetched, since: u64) {
        let memory = Memory::new(u64::MAX, &Budget::unlimited());
        let reading = object.kind.is_playlist();
        let reading = reading.then(|| Reading::of(&object.key, &fetched.body, &memory));
        let admitted = cache.admit(object, fetched, reading.as_ref(), since, SECOND);
        let Some(admitted) = admitted else { return };
        let parts = admitted.store(object, fetched.body.clone(), reading);
        cache.insert(object, admitted);
        cache.merged(&parts);
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
        put_since(&mut cache, &segment, &fetched("old"), before);
        assert!(!cache.contains(&segment), "it was on its way from before");
        put(&mut cache, &list, &playlist(1));
        put_since(&mut cache, &segment, &fetched("old"), before);
        assert!(!cache.contains(&segment), "a later playlist does not change that");
        put(&mut cache, &segment, &fetched("new"));
        assert!(cache.contains(&segment));
    }

    fn named(form: Form) -> Kind {
        Kind::Segment(SegmentName { sequence: 7, nonce: Some(Nonce::new(0)), form })
    }

    /// A playlist of segment 7 with two parts.
    fn live() -> Fetched {
        fetched(
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n\
             #EXT-X-PART-INF:PART-TARGET=1\n#EXT-X-MEDIA-SEQUENCE:7\n\
             #EXT-X-PART:DURATION=1,URI=\"a-7-aaaaaaaaaaaaaaaa.0.m4s\"\n\
             #EXT-X-PART:DURATION=1,URI=\"a-7-aaaaaaaaaaaaaaaa.1.m4s\"\n\
             #EXTINF:2,\na-7-aaaaaaaaaaaaaaaa.m4s\n",
        )
    }

    #[test]
    fn parts_have_the_bytes_of_their_segment_once_it_is_here() {
        let list = object("a", Kind::Rendition(Rendition::Video(1)));
        let segment = object("a", named(Form::Mp4));
        let parts = [0, 1].map(|part| object("a", named(Form::Part(part))));
        for (whole, is_merged) in [("onetwo", true), ("two and one", false), ("onetwo.", false)] {
            let mut cache = Cache::new(1 << 20);
            put(&mut cache, &list, &live());
            put(&mut cache, &parts[0], &fetched("one"));
            put(&mut cache, &parts[1], &fetched("two"));
            let before = cache.size().0;
            put(&mut cache, &segment, &fetched(whole));
            let more = cache.size().0 - before;
            let own = if is_merged { 0 } else { whole.len() as u64 };
            assert_eq!(more, OVERHEAD + own, "{whole}: what is merged costs nothing twice");
            for (part, text) in parts.iter().zip(["one", "two"]) {
                assert_eq!(cache.get(part, Instant::now()).expect("it is here").body, text);
            }
            [&parts[..], &[segment.clone(), list.clone()]]
                .concat()
                .iter()
                .for_each(|it| cache.remove(it));
            assert_eq!((cache.size(), cache.windows.len()), ((0, 0), 0));
        }
    }

    #[test]
    fn a_playlist_that_its_origin_tells_of_is_fresh_until_it_does_so_no_more() {
        let mut cache = Cache::new(1 << 20);
        let list = object("a", Kind::Playlist);
        put(&mut cache, &list, &live());
        let later = Instant::now() + 10 * SECOND;
        let is_stale = |cache: &mut Cache, at| {
            cache.get(&list, at).is_some_and(|cached| cached.stale.is_some())
        };
        assert!(is_stale(&mut cache, later));
        cache.is_current(&list, true, later);
        assert!(!is_stale(&mut cache, later + 10 * SECOND));
        let now = Instant::now();
        cache.is_current(&list, false, now);
        assert!(is_stale(&mut cache, now), "at once, not after a second");
        let standing = cache.standing(&list).expect("it is here");
        let progress = Progress { sequence: 8, parts: 0, is_ended: false };
        assert_eq!(standing.next, Some(Next::after(progress, true)));
    }

    #[test]
    fn an_older_answer_does_not_replace_a_newer_one() {
        let mut cache = Cache::new(1 << 20);
        let list = object("a", Kind::Playlist);
        let (old, new) = (playlist(7), playlist(8));
        assert!(old.answered <= new.answered);
        let old = Fetched { answered: new.answered - SECOND, ..old };
        put(&mut cache, &list, &new);
        put(&mut cache, &list, &old);
        assert_eq!(cache.get(&list, Instant::now()).expect("it is here").body, new.body);
    }

    #[test]
    fn a_name_is_that_of_one_playlist_or_of_several() {
        let mut cache = Cache::new(1 << 20);
        let (main, first) =
            (object("a", Kind::Playlist), object("a", Kind::Rendition(Rendition::MAIN)));
        let several = fetched("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na~v0.m3u8\n");
        put(&mut cache, &main, &several);
        put(&mut cache, &first, &live());
        let body = |cache: &mut Cache, object| cache.get(object, Instant::now()).map(|it| it.body);
        assert_eq!(body(&mut cache, &main), Some(several.body));
        assert_eq!(body(&mut cache, &first), Some(live().body));
        assert!(cache.standing(&main).is_none() && cache.standing(&first).is_some());
        put(&mut cache, &main, &playlist(7));
        assert_eq!(body(&mut cache, &main), Some(playlist(7).body));
        assert!(cache.standing(&main).is_some());
    }
}
