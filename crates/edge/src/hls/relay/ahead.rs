//! What an edge does before it is asked: it has what its playlists list, and keeps them up to date.
//!
//! Edges know nothing of each other, and a player may ask another one each time. So every edge that a stream is watched
//! at follows it at the origin, whether somebody asks in this moment or not, and lists a segment once it has it. Then
//! all of them list the same but for what has come within the last second, and go on with it when the origin is away.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use weir_hls::MediaPlaylist;

use super::{HlsRelay, Mode};
use crate::{
    Ask,
    hls::{
        fetch::{Failure, Fetched},
        object::Object,
        playlist::{Listed, listed},
    },
};

/// Segments at the end of a playlist that are to be here before it is given to anybody: where players begin.
const START: usize = 3;

/// How long a playlist waits for its segments. A player would wait for them itself, but for an origin that is so slow
/// the list is worth more than its completeness.
const SEGMENTS_WAIT: Duration = Duration::from_secs(3);

impl HlsRelay {
    /// Fetches what a playlist lists and is not here yet, the newest of it before it is given to anybody. If the
    /// origins do not give that, the playlist ends before it. One of low latency is given at once, and as it is:
    /// whoever asks for what it lists waits for that.
    pub(super) async fn complete(
        self: &Arc<Self>,
        object: &Object,
        ask: &Ask,
        mut fetched: Fetched,
    ) -> Fetched {
        if !object.kind.is_playlist() || self.settings.load().hls_cache == 0 {
            return fetched;
        }
        if is_live(&fetched.body) {
            self.ahead(object, ask, &fetched.body);
            return fetched;
        }
        let list = listed(&object.key, &fetched.body);
        let (ahead, behind) = self.missing(object, &list);
        let first_missing = self.first_missing(&list, &ahead, ask);
        let first_missing = timeout(SEGMENTS_WAIT, first_missing).await.ok().flatten();
        let end = first_missing.and_then(|at| at.checked_sub(1)).map(|last| list[last].end);
        // A list of nothing helps nobody.
        if let Some(end) = end.filter(|end| *end > 0) {
            fetched.body = fetched.body.slice(..end);
            // What the origin calls by this tag is longer.
            fetched.etag = None;
        }
        if !behind.is_empty() {
            let objects = behind.into_iter().rev().map(|at| list[at].object.clone()).collect();
            tokio::spawn(fetch_behind(Arc::clone(self), objects, ask.clone()));
        }
        fetched
    }

    /// Has the newest segments fetched that a playlist of low latency lists, and what they need, if they are not here.
    pub(super) fn ahead(self: &Arc<Self>, object: &Object, ask: &Ask, playlist: &Bytes) {
        let list = listed(&object.key, playlist);
        let older = list.iter().filter(|it| it.is_segment()).count().saturating_sub(START);
        let (segments, needed): (Vec<_>, Vec<_>) = list.iter().partition(|it| it.is_segment());
        let newest = segments.into_iter().skip(older);
        needed.into_iter().chain(newest).for_each(|it| self.send_for(&it.object, ask));
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
        let needed: Vec<_> = behind.extract_if(.., |at| !list[*at].is_segment()).collect();
        let newest = behind.split_off(behind.len().saturating_sub(START));
        let newest = needed.into_iter().chain(newest);
        let (mut ahead, listed_before): (Vec<_>, Vec<_>) = newest.partition(is_new);
        ahead.sort_unstable();
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

/// Fetches older segments, one after the other: players that began earlier may ask for them.
async fn fetch_behind(relay: Arc<HlsRelay>, objects: Vec<Object>, ask: Ask) {
    let Ok(_turn) = Arc::clone(&relay.followed.behind).try_acquire_owned() else { return };
    for object in objects {
        if relay.get_as(&object, &ask, Mode::Now, false).await.is_err() {
            return;
        }
    }
}

/// Whether the origin of a playlist answers when there is more of it.
fn is_live(playlist: &[u8]) -> bool {
    let text = str::from_utf8(playlist).unwrap_or_default();
    MediaPlaylist::parse(text).is_ok_and(|playlist| playlist.can_block_reload)
}
