//! How an edge keeps a playlist up to date that is watched.
//!
//! Where the origin answers when there is more (low latency, RFC 8216bis, 6.2.5.2), it holds one request for what comes
//! next in the playlist, and one for the part that comes next: for each rendition, whatever the number of viewers.
//! Those wait at the window, and for the flight of the part. Every other playlist is asked for once a second.

use std::{
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};
use tracing::info;
use weir_hls::{MediaPlaylist, Multivariant, uri};

use super::{HlsRelay, Look, Mode, Outcome, landed};
use crate::{
    Ask,
    hls::{
        cache::Standing,
        fetch::{Failure, Next, Wanted},
        object::{Kind, Object},
        playlist::has_ended,
    },
};

/// From a question that was not answered as hoped to the next one: as often as origins that have failed are checked.
const AGAIN: Duration = Duration::from_millis(250);

impl HlsRelay {
    /// A viewer has been given the playlist: from now on it is followed.
    pub(super) fn follow(self: &Arc<Self>, object: &Object, ask: &Ask, has_ended: bool) {
        if !has_ended && self.followed.begin(object) {
            tokio::spawn(follow(Arc::downgrade(self), object.clone(), ask.clone()));
        }
    }

    fn standing(&self, object: &Object) -> Option<Standing> {
        self.lock().cache.standing(object)
    }

    /// Asks for what comes next in the playlist, for which origins wait. Whether it has gone on.
    async fn ask_next(self: &Arc<Self>, object: &Object, ask: &Ask, next: Next) -> bool {
        self.counters.fetches.fetch_add(1, Relaxed);
        let wanted = Wanted {
            object: object.clone(),
            params: ask.params.clone(),
            page_url: ask.page(),
            hops: ask.hops.clone(),
            known: None,
            next: Some(next),
        };
        let since = self.lock().cache.tick();
        let fetched = self.fetcher.fetch(&wanted).await;
        let fetched = fetched.and_then(|fetched| self.owned(object, fetched));
        if let Ok(fetched) = &fetched {
            self.keep(object, fetched, since);
            self.ahead(object, ask, &fetched.body);
        }
        let standing = self.standing(object);
        let goes_on = standing.as_ref().and_then(|now| now.next) != Some(next);
        self.lock().cache.is_current(object, goes_on, Instant::now());
        if let (Some(standing), Ok(_), false) = (standing, fetched, goes_on) {
            // The publisher has gone: those who wait here get what there is, as they would there.
            standing.window.interrupt();
        }
        goes_on
    }

    /// Asks the other origins for a playlist that does not go on at the one that it is from: its publisher may have
    /// moved to one of them. Whether one has a newer one.
    async fn look_elsewhere(self: &Arc<Self>, object: &Object, ask: &Ask, next: Next) -> bool {
        let wanted = Wanted {
            object: object.clone(),
            params: ask.params.clone(),
            page_url: ask.page(),
            hops: ask.hops.clone(),
            known: None,
            next: None,
        };
        let since = self.lock().cache.tick();
        let is_newer = |text: &[u8]| {
            let text = str::from_utf8(text).unwrap_or_default();
            let Ok(read) = MediaPlaylist::parse(text) else { return false };
            let after = Next::after(read.progress, read.part_target.is_some());
            read.can_block_reload && !read.progress.is_ended && after > next
        };
        let found = self.fetcher.fetch_elsewhere(&wanted, |fetched| is_newer(&fetched.body)).await;
        let found = found.and_then(|fetched| self.owned(object, fetched).ok());
        let Some(fetched) = found else { return false };
        info!(stream = %object.key, file = object.file(), "HLS goes on at another origin");
        self.keep(object, &fetched, since);
        self.ahead(object, ask, &fetched.body);
        true
    }

    /// Resolves when another origin goes on with the playlist, while the one that it is from says nothing.
    async fn until_elsewhere(self: &Arc<Self>, object: &Object, ask: &Ask, next: Next) {
        loop {
            sleep(AGAIN).await;
            if self.look_elsewhere(object, ask, next).await {
                return;
            }
        }
    }

    /// Asks for the part that comes next in the playlist, unless it is here or on its way. Whoever asks for it
    /// meanwhile waits for the same answer.
    fn ask_hint(self: &Arc<Self>, object: &Object, ask: &Ask, standing: &Standing) {
        let hint = standing.hint.as_ref().and_then(|file| Object::of_file(&object.key, file));
        if let Some(hint) = hint {
            self.send_for(&hint, ask);
        }
    }

    /// Has an object fetched if it is neither here nor on its way.
    pub(super) fn send_for(self: &Arc<Self>, object: &Object, ask: &Ask) {
        let state = self.lock();
        let is_on_its_way = state.flights.contains_key(&(object.clone(), false, None));
        let is_here = state.cache.contains(object);
        drop(state);
        if !is_here && !is_on_its_way {
            drop(self.look(object, ask, Mode::Now, false));
        }
    }

    /// Whether the origins offer other playlists of the stream and this one no more: its track is gone, while a stream
    /// that is gone may be published again.
    async fn is_withdrawn(&self, object: &Object, ask: &Ask) -> bool {
        if !matches!(object.kind, Kind::Rendition(_)) {
            return false;
        }
        let wanted = Wanted {
            object: Object { key: object.key.clone(), kind: Kind::Playlist },
            params: ask.params.clone(),
            page_url: ask.page(),
            hops: ask.hops.clone(),
            known: None,
            next: None,
        };
        let Ok(fetched) = self.fetcher.fetch(&wanted).await else { return false };
        let text = str::from_utf8(&fetched.body).unwrap_or_default();
        Multivariant::is(text) && !text.contains(&uri(&object.file()))
    }

    /// The newest playlist that any origin has, with whatever failed a moment ago forgotten.
    async fn refreshed(self: &Arc<Self>, object: &Object, ask: &Ask) -> Outcome {
        match self.look(object, ask, Mode::Again, false) {
            Look::Have(body) | Look::Stale(body) => Ok(body),
            Look::Failed(failure) => Err(failure),
            Look::Flying { landing, .. } => landed(landing).await,
        }
    }
}

/// Keeps a playlist up to date until nobody has asked for it for a while, or it has ended.
async fn follow(relay: Weak<HlsRelay>, object: Object, ask: Ask) {
    // Held while the origin answers when there is more.
    let mut place: Option<OwnedSemaphorePermit> = None;
    loop {
        let Some(strong) = relay.upgrade() else { return };
        let standing = strong.standing(&object);
        let next = standing.as_ref().and_then(|standing| standing.next);
        if next.is_none() {
            place = None;
        } else if place.is_none() {
            place = Arc::clone(&strong.followed.live).try_acquire_owned().ok();
        }
        let pause = match (standing, next) {
            (Some(standing), Some(next)) if place.is_some() => {
                strong.ask_hint(&object, &ask, &standing);
                drop(standing);
                if strong.ask_next(&object, &ask, next).await { Duration::ZERO } else { AGAIN }
            }
            _ => strong.pauses.follow,
        };
        if pause.is_zero() {
            if strong.followed.goes_on(&object) {
                continue;
            }
            break;
        }
        drop(strong);
        if !look_again(&relay, &object, &ask, (pause, place.is_some())).await {
            break;
        }
    }
    if let Some(relay) = relay.upgrade() {
        relay.lock().cache.is_current(&object, false, Instant::now());
        relay.followed.end(&object);
    }
}

/// Asks for what there is after a pause, or before one if the playlist should have gone on. Whether it is to be
/// followed any longer.
async fn look_again(
    relay: &Weak<HlsRelay>,
    object: &Object,
    ask: &Ask,
    (pause, is_late): (Duration, bool),
) -> bool {
    if !is_late {
        sleep(pause).await;
    }
    let Some(strong) = relay.upgrade() else { return false };
    if !strong.followed.goes_on(object) {
        return false;
    }
    let before = strong.standing(object).and_then(|standing| standing.next);
    let refreshed = match before.filter(|_| is_late) {
        Some(next) => tokio::select! {
            biased;
            refreshed = strong.refreshed(object, ask) => refreshed,
            () = strong.until_elsewhere(object, ask, next) => return true,
        },
        None if is_late => strong.refreshed(object, ask).await,
        None => strong.get_as(object, ask, Mode::Now, false).await,
    };
    match refreshed {
        Ok(playlist) if has_ended(&playlist) => return false,
        Ok(_) => {}
        // Another viewer may be allowed to what this one is not any more.
        Err(Failure::Refused(..)) => {
            strong.forget(object);
            return false;
        }
        // It may be published again, and those who wait for it are still here.
        Err(Failure::NotFound(_)) if !is_late => return false,
        Err(Failure::NotFound(_)) if strong.is_withdrawn(object, ask).await => {
            strong.forget(object);
            return false;
        }
        Err(_) => {}
    }
    let after = strong.standing(object).and_then(|standing| standing.next);
    if is_late
        && before == after
        && let Some(next) = after
        && strong.look_elsewhere(object, ask, next).await
    {
        return true;
    }
    if is_late && before == after {
        let changed = strong.fetcher.origins_changed();
        // Whether it was that or the time: it is asked for.
        let _ = timeout(pause, changed).await;
    }
    true
}

#[cfg(test)]
mod tests;
