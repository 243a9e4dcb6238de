//! Whose playlists are kept up to date.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use super::object::Object;

/// How long a playlist is followed after it was asked for: players that ask several edges in turn come back within this
/// time.
const WATCHED: Duration = Duration::from_secs(30);

/// Playlists that are followed at a time; others are fetched when they are asked for.
const FOLLOWED_MAX: usize = 512;

/// Those of them for which origins hold a request until there is more; the others are asked for again and again. Each
/// has two connections to an origin.
pub const LIVE_MAX: usize = 256;

/// Older segments of all playlists that are fetched at a time.
const BEHIND_MAX: usize = 8;

/// The playlists that are followed.
#[derive(Debug)]
pub struct Followed {
    playlists: Arc<Mutex<HashMap<Object, Watched>>>,
    /// Places of those that origins hold a request for.
    pub live: Arc<Semaphore>,
    /// Turns to fetch older segments.
    pub behind: Arc<Semaphore>,
}

#[derive(Debug)]
struct Watched {
    /// When it was asked for last.
    asked: Instant,
    /// Who waits for it to go on.
    waiting: usize,
}

impl Default for Followed {
    fn default() -> Self {
        Self {
            playlists: Arc::default(),
            live: Arc::new(Semaphore::new(LIVE_MAX)),
            behind: Arc::new(Semaphore::new(BEHIND_MAX)),
        }
    }
}

impl Followed {
    /// Notes that the playlist was asked for. Whether it is to be followed from now on.
    pub fn begin(&self, playlist: &Object) -> bool {
        let mut playlists = self.lock();
        let now = Instant::now();
        if let Some(watched) = playlists.get_mut(playlist) {
            watched.asked = now;
            return false;
        }
        let has_room = playlists.len() < FOLLOWED_MAX;
        if has_room {
            playlists.insert(playlist.clone(), Watched { asked: now, waiting: 0 });
        }
        has_room
    }

    /// Notes that somebody waits for the playlist to go on, for as long as what this returns is held.
    pub fn wait(&self, playlist: &Object) -> Waiting {
        if let Some(watched) = self.lock().get_mut(playlist) {
            watched.waiting += 1;
        }
        Waiting { playlists: Arc::clone(&self.playlists), playlist: playlist.clone() }
    }

    /// Whether it is still to be followed; if not, it is not from now on.
    pub fn goes_on(&self, playlist: &Object) -> bool {
        let mut playlists = self.lock();
        let is_watched =
            |watched: &Watched| watched.waiting > 0 || watched.asked.elapsed() < WATCHED;
        let goes_on = playlists.get(playlist).is_some_and(is_watched);
        if !goes_on {
            playlists.remove(playlist);
        }
        goes_on
    }

    /// Whether it is followed.
    pub fn follows(&self, playlist: &Object) -> bool {
        self.lock().contains_key(playlist)
    }

    /// It is not to be followed any more.
    pub fn end(&self, playlist: &Object) {
        self.lock().remove(playlist);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Object, Watched>> {
        self.playlists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits for a playlist to go on.
#[derive(Debug)]
pub struct Waiting {
    playlists: Arc<Mutex<HashMap<Object, Watched>>>,
    playlist: Object,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut playlists = self.playlists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = playlists.get_mut(&self.playlist) {
            // It may have been ended and begun again meanwhile.
            watched.waiting = watched.waiting.saturating_sub(1);
            watched.asked = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_media::{DEFAULT_VHOST, StreamKey};

    use super::*;
    use crate::hls::object::Kind;

    #[tokio::test(start_paused = true)]
    async fn a_playlist_is_followed_while_somebody_asks_or_waits() {
        let followed = Followed::default();
        let key = StreamKey::new(DEFAULT_VHOST, "live", "a").expect("a name");
        let playlist = Object { key, kind: Kind::Playlist };
        assert!(followed.begin(&playlist) && !followed.begin(&playlist), "once");
        let waiting = followed.wait(&playlist);
        tokio::time::advance(10 * WATCHED).await;
        assert!(followed.goes_on(&playlist), "somebody waits");
        drop(waiting);
        tokio::time::advance(WATCHED / 2).await;
        assert!(followed.goes_on(&playlist), "it may come back");
        tokio::time::advance(WATCHED / 2).await;
        assert!(!followed.goes_on(&playlist) && !followed.follows(&playlist));
        drop(followed.wait(&playlist));
        assert!(!followed.follows(&playlist));
    }
}
