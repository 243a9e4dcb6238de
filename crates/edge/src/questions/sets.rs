//! Which parameters a stream can be asked for with: those of its viewers.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use weir_media::StreamKey;
use weir_rtmp::url::params::Query;

/// Sets of parameters that are remembered of a stream: enough for some of them to be good when others have expired.
const SETS_MAX: usize = 16;

/// Streams of which sets are remembered.
const STREAMS_MAX: usize = 1024;

/// How often it is looked for streams that are gone, at most.
const SWEEP: Duration = Duration::from_secs(1);

/// Bytes of all sets of all streams.
const BYTES_MAX: usize = 8 << 20;

/// The sets of all streams whose origins look at them.
#[derive(Debug, Default)]
pub struct Sets {
    streams: HashMap<StreamKey, OfStream>,
    bytes: usize,
    swept: Option<Instant>,
}

#[derive(Debug, Default)]
struct OfStream {
    /// Those that an origin has accepted, the newest first.
    accepted: VecDeque<Query>,
    /// Those that no origin has said anything of yet.
    unknown: VecDeque<Query>,
}

impl Sets {
    /// Takes note of a set. Whether it is a new one.
    pub fn note(&mut self, key: &StreamKey, params: &Query, accepted: bool) -> bool {
        if !self.streams.contains_key(key) && self.streams.len() >= STREAMS_MAX {
            return false;
        }
        let of_stream = self.streams.entry(key.clone()).or_default();
        let known = of_stream.accepted.iter().position(|known| known == params);
        let before = of_stream.bytes();
        let is_new = match (known, accepted) {
            (Some(_), false) => return false,
            (Some(at), true) => {
                // The newest first: it is good for the longest.
                let known = of_stream.accepted.remove(at);
                known.into_iter().for_each(|known| of_stream.accepted.push_front(known));
                false
            }
            (None, true) => {
                of_stream.unknown.retain(|known| known != params);
                of_stream.accepted.push_front(params.clone());
                of_stream.accepted.truncate(SETS_MAX);
                true
            }
            (None, false) if of_stream.unknown.iter().any(|known| known == params) => false,
            (None, false) => {
                of_stream.unknown.push_front(params.clone());
                of_stream.unknown.truncate(SETS_MAX);
                true
            }
        };
        let after = of_stream.bytes();
        self.bytes = self.bytes - before + after;
        if self.bytes > BYTES_MAX {
            self.forget(key);
        }
        is_new
    }

    /// An origin has refused this set.
    pub fn refuse(&mut self, key: &StreamKey, params: &Query) {
        let Some(of_stream) = self.streams.get_mut(key) else { return };
        let before = of_stream.bytes();
        of_stream.accepted.retain(|known| known != params);
        of_stream.unknown.retain(|known| known != params);
        self.bytes = self.bytes - before + of_stream.bytes();
    }

    /// The set to ask with after so many attempts: `present`, if it has been accepted, else one that has, else one
    /// after the other. None if there is none but `present`.
    pub fn choose(&self, key: &StreamKey, present: &Query, tries: u32) -> Option<Query> {
        let OfStream { accepted, unknown } = self.streams.get(key)?;
        if accepted.iter().any(|known| known == present) {
            return None;
        }
        let next = match accepted.front() {
            Some(newest) => Some(newest),
            None => unknown.get(tries as usize % unknown.len().max(1)),
        };
        next.filter(|next| *next != present).cloned()
    }

    /// Nobody asks for the stream any more.
    pub fn forget(&mut self, key: &StreamKey) {
        if let Some(of_stream) = self.streams.remove(key) {
            self.bytes -= of_stream.bytes();
        }
    }

    /// Forgets the streams that are not `present`, if there is no room for another one.
    pub fn make_room(&mut self, now: Instant, present: impl Fn(&StreamKey) -> bool) {
        let is_soon = self.swept.is_some_and(|swept| now < swept + SWEEP);
        if self.streams.len() >= STREAMS_MAX && !is_soon {
            self.swept = Some(now);
            self.streams.retain(|key, _| present(key));
            self.bytes = self.streams.values().map(OfStream::bytes).sum();
        }
    }
}

impl OfStream {
    fn bytes(&self) -> usize {
        self.accepted.iter().chain(&self.unknown).map(|set| set.as_str().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use weir_rtmp::url::params::params;

    use super::*;

    fn set(text: impl AsRef<str>) -> Query {
        let mut set = Query::default();
        params(text.as_ref()).for_each(|param| set.push(&param));
        set
    }

    fn key(stream: &str) -> StreamKey {
        StreamKey::new("v", "live", stream).expect("a name")
    }

    #[test]
    fn accepted_ones_come_first_and_stay() {
        let (mut sets, key) = (Sets::default(), key("a"));
        assert!(sets.note(&key, &set("?t=1"), true) && !sets.note(&key, &set("?t=1"), true));
        for number in 0..1000 {
            sets.note(&key, &set(format!("?bad={number}")), false);
        }
        assert_eq!(sets.choose(&key, &set("?t=1"), 3), None, "it is good");
        assert_eq!(sets.choose(&key, &set("?bad=7"), 3), Some(set("?t=1")));
        assert!(sets.note(&key, &set("?t=2"), true));
        sets.refuse(&key, &set("?t=1"));
        assert_eq!(sets.choose(&key, &set("?t=1"), 0), Some(set("?t=2")));
        sets.refuse(&key, &set("?t=2"));
        let tried: Vec<_> =
            (0..20).filter_map(|tries| sets.choose(&key, &set("?t=2"), tries)).collect();
        assert_eq!((tried.len(), &tried[0]), (20, &set("?bad=999")));
        assert_ne!(tried[0], tried[1], "one after the other");
        let bytes: usize = sets.streams.values().map(OfStream::bytes).sum();
        assert_eq!(sets.bytes, bytes);
        sets.forget(&key);
        assert_eq!((sets.bytes, sets.choose(&key, &set(""), 0)), (0, None));
    }

    #[test]
    fn there_is_a_bound() {
        let mut sets = Sets::default();
        for number in 0..2 * STREAMS_MAX {
            sets.note(&key(&number.to_string()), &set("?t=1"), true);
        }
        assert_eq!(sets.streams.len(), STREAMS_MAX);
        sets.make_room(Instant::now(), |key| key.stream() == "7");
        assert_eq!((sets.streams.len(), sets.bytes), (1, 4));
        let large = "x".repeat(8 << 10);
        for number in 0..2000 {
            sets.note(&key(&(number % 100).to_string()), &set(format!("{large}{number}")), true);
            assert!(sets.bytes <= BYTES_MAX);
        }
    }
}
