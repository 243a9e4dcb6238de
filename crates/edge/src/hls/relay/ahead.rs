//! What an edge does before it is asked: it has what its playlists list, and keeps them up to date.
//!
//! Edges know nothing of each other, and a player may ask another one each time. So every edge that a stream is watched
//! at follows it at the origin, whether somebody asks in this moment or not, and lists a segment once it has it. Then
//! all of them list the same but for what has come within the last second, and go on with it when the origin is away.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::{HlsRelay, Mode};
use crate::{
    ask::Ask,
    hls::{
        fetch::{Failure, Fetched},
        object::{Kind, Object},
        playlist::{Listed, listed},
    },
};

/// Segments at the end of a playlist that are to be here before it is given to anybody: where players begin.
const START: usize = 3;

/// How long a playlist waits for its segments. A player would wait for them itself, but for an origin that is so slow
/// the list is worth more than its completeness.
const SEGMENTS_WAIT: Duration = Duration::from_secs(3);

impl HlsRelay {
    /// A viewer has been given `playlist`: from now on it is followed.
    pub(super) fn follow(self: &Arc<Self>, object: &Object, ask: &Ask, playlist: &Bytes) {
        if has_ended(playlist) || !self.followed.begin(&object.key) {
            return;
        }
        tokio::spawn(follow(Arc::downgrade(self), object.clone(), ask.clone()));
    }

    /// Fetches the segments of a playlist that are not here yet, the newest ones before it is given to anybody. If the
    /// origins do not give them, the playlist ends before them.
    pub(super) async fn complete(
        self: &Arc<Self>,
        object: &Object,
        ask: &Ask,
        mut fetched: Fetched,
    ) -> Fetched {
        if object.kind != Kind::Playlist || self.settings.load().hls_cache == 0 {
            return fetched;
        }
        let list = listed(&object.key, &fetched.body);
        let (ahead, behind) = self.missing(object, &list);
        let first_missing = self.first_missing(&list, &ahead, ask);
        let first_missing = timeout(SEGMENTS_WAIT, first_missing).await.ok().flatten();
        // A list of nothing helps nobody.
        if let Some(at) = first_missing.filter(|at| *at > 0) {
            fetched.body = fetched.body.slice(..list[at - 1].end);
            // What the origin calls by this tag is longer.
            fetched.etag = None;
        }
        if !behind.is_empty() {
            let objects = behind.into_iter().rev().map(|at| list[at].object.clone()).collect();
            tokio::spawn(fetch_behind(Arc::clone(self), objects, ask.clone()));
        }
        fetched
    }

    /// The places in `list`, which is to become that of the playlist `object`, of what is not here: first what it waits
    /// for, then the others. What was listed once stays listed: a list must not end earlier than the one before.
    fn missing(&self, object: &Object, list: &[Listed]) -> (Vec<usize>, Vec<usize>) {
        let mut state = self.lock();
        let before = state.cache.get(object, Instant::now().into_std());
        let before = before.map(|cached| listed(&object.key, &cached.body)).unwrap_or_default();
        let is_missing = |at: &usize| !state.cache.contains(&list[*at].object);
        let mut behind: Vec<_> = (0..list.len()).filter(is_missing).collect();
        let is_new = |at: &usize| before.iter().all(|old| old.object != list[*at].object);
        let newest = behind.split_off(behind.len().saturating_sub(START));
        let (ahead, listed_before): (Vec<_>, Vec<_>) = newest.into_iter().partition(is_new);
        behind.extend(listed_before);
        (ahead, behind)
    }

    /// The first of these places in `list` whose segment the origins do not give.
    async fn first_missing(
        self: &Arc<Self>,
        list: &[Listed],
        places: &[usize],
        ask: &Ask,
    ) -> Option<usize> {
        for &place in places {
            match self.get_as(&list[place].object, ask, Mode::Now, false).await {
                // What there is no room for here may be had when it is asked for.
                Ok(_) | Err(Failure::Busy(_)) => {}
                Err(_) => return Some(place),
            }
        }
        None
    }
}

/// Keeps a playlist up to date until nobody has asked for it for a while, or it has ended.
async fn follow(relay: Weak<HlsRelay>, object: Object, ask: Ask) {
    loop {
        let Some(pause) = relay.upgrade().map(|relay| relay.pauses.follow) else { return };
        sleep(pause).await;
        let Some(relay) = relay.upgrade() else { return };
        if !relay.followed.goes_on(&object.key) {
            return;
        }
        match relay.get_as(&object, &ask, Mode::Now, false).await {
            Ok(playlist) if has_ended(&playlist) => break,
            // Another viewer may be allowed to what this one is not any more.
            Err(Failure::Refused(..) | Failure::NotFound(_)) => break,
            _ => {}
        }
    }
    if let Some(relay) = relay.upgrade() {
        relay.followed.end(&object.key);
    }
}

/// Fetches older segments, one after the other: players that began earlier may ask for them.
async fn fetch_behind(relay: Arc<HlsRelay>, objects: Vec<Object>, ask: Ask) {
    let Ok(_turn) = Arc::clone(&relay.followed.behind).try_acquire_owned() else { return };
    for object in objects {
        if relay.get_as(&object, &ask, Mode::Now, false).await.is_err() {
            return;
        }
    }
}

fn has_ended(playlist: &[u8]) -> bool {
    playlist.trim_ascii_end().ends_with(b"#EXT-X-ENDLIST")
}
