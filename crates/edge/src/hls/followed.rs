//! Whose playlists are kept up to date.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};
use weir_media::StreamKey;

/// How long a stream is followed after its playlist was asked for: players that ask several edges in turn come back
/// within this time.
const WATCHED: Duration = Duration::from_secs(30);

/// Streams that are followed at a time; others are fetched when they are asked for.
const FOLLOWED_MAX: usize = 512;

/// Older segments of all playlists that are fetched at a time.
const BEHIND_MAX: usize = 8;

/// The streams that are followed.
#[derive(Debug)]
pub struct Followed {
    streams: Mutex<HashMap<StreamKey, Instant>>,
    /// Turns to fetch older segments.
    pub behind: Arc<Semaphore>,
}

impl Default for Followed {
    fn default() -> Self {
        Self { streams: Mutex::default(), behind: Arc::new(Semaphore::new(BEHIND_MAX)) }
    }
}

impl Followed {
    /// Notes that the playlist of `key` was asked for. Whether it is to be followed from now on.
    pub fn begin(&self, key: &StreamKey) -> bool {
        let mut streams = self.lock();
        let now = Instant::now();
        if let Some(asked) = streams.get_mut(key) {
            *asked = now;
            return false;
        }
        let has_room = streams.len() < FOLLOWED_MAX;
        if has_room {
            streams.insert(key.clone(), now);
        }
        has_room
    }

    /// Whether it is still to be followed; if not, it is not from now on.
    pub fn goes_on(&self, key: &StreamKey) -> bool {
        let mut streams = self.lock();
        let goes_on = streams.get(key).is_some_and(|asked| asked.elapsed() < WATCHED);
        if !goes_on {
            streams.remove(key);
        }
        goes_on
    }

    /// Whether `key` is followed.
    #[cfg(test)]
    pub fn follows(&self, key: &StreamKey) -> bool {
        self.lock().contains_key(key)
    }

    /// It is not to be followed any more.
    pub fn end(&self, key: &StreamKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamKey, Instant>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
