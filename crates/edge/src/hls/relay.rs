//! Who asks for an object, who waits for it, and what is asked of the origins for them.

mod ahead;
mod follow;
mod parts;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::StatusCode;
use tokio::{
    sync::watch,
    time::{Instant as TokioInstant, timeout, timeout_at},
};
use tracing::{info, warn};
use weir_config::Settings;
use weir_hls::{Rendition, Window};
use weir_media::{Budget, StreamKey};
use weir_upstream::NodeId;

use super::{
    cache::{Cache, Cached},
    fetch::{Failure, Fetched, Fetcher, Known, Wanted},
    followed::{Followed, Waiting},
    memory::Memory,
    object::{Kind, Object, SEGMENT_BYTES_MAX},
    playlist::{Reading, has_ended, listed},
    recent::Recent,
};
use crate::{Ask, origins::Origins, query, upstream::Request};

/// Bytes beyond the cache: objects that are on their way, and those that left the cache while slow viewers were still
/// being sent them. Two of the largest segments.
const SPARE_BYTES: u64 = 2 * SEGMENT_BYTES_MAX as u64;

/// Objects that are on their way at a time. A flight goes on without its viewers, who may come and go quickly.
const FLIGHTS_MAX: usize = 4096;

/// Failures that are remembered, of one second each.
const FAILURES_MAX: usize = 4096;

/// Streams whose trouble has been logged, and for how long after the last failure it counts as the same.
const TROUBLES_MAX: usize = 4096;
const TROUBLE_TIME: Duration = Duration::from_secs(60);

/// An origin that says no faster than this does not wait for streams to begin.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How often origins are asked, and for how long viewers wait for them.
#[derive(Clone, Copy, Debug)]
struct Pauses {
    /// Between two requests for a playlist.
    fresh: Duration,
    /// From a failure to the next request for the same object.
    failed: Duration,
    /// For an answer, when there is an older playlist that will do. Longer than a round trip to anywhere.
    grace: Duration,
    /// The same while no origin is known to be alive: one that has just come back answers in this time.
    away: Duration,
    /// Between two looks at a playlist that is followed.
    follow: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { fresh: second, failed: second, grace: second, away: second * 3 / 10, follow: second }
    }
}

/// What the relay has done, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Objects that origins were asked for.
    pub fetches: u64,
    /// Requests that were answered from memory.
    pub hits: u64,
    /// Requests that waited for an object that had been asked for already.
    pub coalesced: u64,
    /// Requests that were answered with a playlist that may have changed, because no origin said.
    pub stale: u64,
    /// Objects that could not be had.
    pub failures: u64,
    /// Bytes in the cache.
    pub bytes: u64,
    /// Objects in the cache.
    pub entries: usize,
    /// Bytes of all objects: in the cache, on their way, and being sent.
    pub memory: u64,
}

#[derive(Debug, Default)]
struct Counters {
    fetches: AtomicU64,
    hits: AtomicU64,
    coalesced: AtomicU64,
    stale: AtomicU64,
    failures: AtomicU64,
}

/// Serves the HLS of the origins.
#[derive(Debug)]
pub struct HlsRelay {
    fetcher: Fetcher,
    id: NodeId,
    memory: Arc<Memory>,
    settings: Arc<ArcSwap<weir_config::Edge>>,
    pauses: Pauses,
    counters: Counters,
    followed: Followed,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    /// With the parameters that they were begun with.
    flights: HashMap<FlightId, (String, watch::Receiver<Landing>)>,
    failures: Recent<Object, Failure>,
    /// Playlists or segments of a stream that cannot be had, as the log says.
    troubles: Recent<(StreamKey, Part), ()>,
}

/// The object, or why it cannot be had.
type Outcome = Result<Bytes, Failure>;

/// None while it is on its way.
type Landing = Option<Outcome>;

/// What is asked for, and whether origins wait for it; the parameters, where the answer is for nobody else.
type FlightId = (Object, bool, Option<String>);

/// What may be in trouble on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    Playlists,
    Segments,
}

impl From<Kind> for Part {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Playlist | Kind::Rendition(_) => Self::Playlists,
            Kind::Segment(_) => Self::Segments,
        }
    }
}

/// How to ask the origins.
#[derive(Clone, Copy)]
enum Mode {
    /// All of them, and none of them waits.
    Now,
    /// The same, although they have just failed.
    Again,
    /// The first, and it waits for the stream to begin.
    Wait(Duration),
}

/// What there is for a request.
enum Look {
    Have(Bytes),
    /// It may have changed, and nobody is to be asked just now.
    Stale(Bytes),
    Failed(Failure),
    Flying {
        landing: watch::Receiver<Landing>,
        /// Whether it asks with the parameters of another viewer.
        is_anothers: bool,
        meanwhile: Option<Bytes>,
        patience: Duration,
    },
}

/// Why an object is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotServed {
    /// What it is for HTTP.
    pub status: StatusCode,
    /// What it is for people.
    pub reason: Arc<str>,
    /// When it may be asked for again.
    pub retry_after: Option<Duration>,
}

/// A playlist that an edge has been asked for.
#[derive(Debug)]
pub enum Relayed {
    /// A playlist of playlists, or one that there is no room for: its text.
    Text(Bytes),
    /// A media playlist.
    Media(Media),
}

/// A media playlist in the window of its stream, where whoever wants more of it than there is can wait. It is kept up
/// to date for as long as this is held.
#[derive(Debug)]
pub struct Media {
    /// The window.
    pub window: Arc<Window>,
    /// Whose playlist it is.
    pub rendition: Rendition,
    _waiting: Option<Waiting>,
}

/// After how long it may be asked for again what could not be had: players ask about as often.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl NotServed {
    fn new(status: StatusCode, reason: impl Into<Arc<str>>) -> Self {
        let may_retry = status == StatusCode::SERVICE_UNAVAILABLE;
        Self { status, reason: reason.into(), retry_after: may_retry.then_some(RETRY_AFTER) }
    }
}

impl From<Failure> for NotServed {
    fn from(failure: Failure) -> Self {
        let (status, reason) = match failure {
            Failure::NotFound(reason) => (StatusCode::NOT_FOUND, reason),
            Failure::Refused(status, reason) => (status, reason),
            Failure::Broken(reason) => (StatusCode::BAD_GATEWAY, reason),
            Failure::Away(reason) | Failure::Late(reason) | Failure::Busy(reason) => {
                (StatusCode::SERVICE_UNAVAILABLE, reason)
            }
        };
        Self::new(status, reason)
    }
}

impl HlsRelay {
    /// A relay in front of `origins`, in the name of the edge `id`.
    pub(crate) fn new(
        origins: Arc<Origins>,
        settings: &Settings,
        id: NodeId,
        budget: &Budget,
    ) -> Arc<Self> {
        Self::with(origins, settings, id, Pauses::default(), budget)
    }

    fn with(
        origins: Arc<Origins>,
        all: &Settings,
        id: NodeId,
        pauses: Pauses,
        budget: &Budget,
    ) -> Arc<Self> {
        let settings = all.now().edge.clone();
        let shared = Arc::new(ArcSwap::from_pointee(settings.clone()));
        let cache_bytes = cache_bytes(&settings, budget);
        let memory = Memory::new(cache_bytes.saturating_add(SPARE_BYTES), budget);
        let state = State {
            cache: Cache::new(cache_bytes),
            flights: HashMap::new(),
            failures: Recent::new(FAILURES_MAX),
            troubles: Recent::new(TROUBLES_MAX),
        };
        Arc::new(Self {
            fetcher: Fetcher::new(origins, (all, &shared), id.clone(), Arc::clone(&memory)),
            id,
            memory,
            settings: shared,
            pauses,
            counters: Counters::default(),
            followed: Followed::default(),
            state: Mutex::new(state),
        })
    }

    /// Answers a request for `object`. One for a playlist that no origin has yet waits up to `play_wait` for the stream
    /// to begin. One that the origins have not let in yet (`alone`) gets what they give to its own parameters. A part
    /// that the origins have announced is waited for.
    ///
    /// # Errors
    /// When it cannot be had, or not by this client.
    pub async fn serve(
        self: &Arc<Self>,
        object: &Object,
        ask: &Ask,
        play_wait: Duration,
        alone: bool,
    ) -> Result<Bytes, NotServed> {
        if let Err(reason) = ask.hops.check(&self.id) {
            info!(stream = %object.key, reason, "HLS request refused");
            return Err(NotServed::new(StatusCode::LOOP_DETECTED, reason));
        }
        let params = query::forwarded(&ask.params, &self.settings.load().forward_query);
        if let Err(reason) = query::check(&object.key, &params) {
            info!(stream = %object.key, reason, "HLS request refused");
            return Err(NotServed::new(StatusCode::NOT_FOUND, reason));
        }
        let wait = ask.wait.map_or(play_wait, |wait| wait.min(play_wait));
        let body = self.get(object, ask, wait, alone).await?;
        if object.kind.is_playlist() {
            self.follow(object, ask, has_ended(&body));
        }
        Ok(body)
    }

    /// The same for a playlist, which its viewer may want to wait for more of. The parameters of `ask` say nothing of
    /// that.
    ///
    /// # Errors
    /// The same.
    pub async fn playlist(
        self: &Arc<Self>,
        object: &Object,
        ask: &Ask,
        play_wait: Duration,
        alone: bool,
    ) -> Result<Relayed, NotServed> {
        let text = self.serve(object, ask, play_wait, alone).await?;
        let standing = self.lock().cache.standing(object);
        Ok(match (standing, object.kind.rendition()) {
            (Some(standing), Some(rendition)) => {
                let _waiting = standing.next.map(|_| self.followed.wait(object));
                Relayed::Media(Media { window: standing.window, rendition, _waiting })
            }
            _ => Relayed::Text(text),
        })
    }

    /// The object if it is here, without asking anybody.
    pub fn held(&self, object: &Object) -> Option<Bytes> {
        let cached = self.lock().cache.get(object, Instant::now())?;
        self.counters.hits.fetch_add(1, Relaxed);
        Some(cached.body)
    }

    /// Whether a playlist is followed: somebody has it from here, and wants what comes next.
    pub fn follows(&self, playlist: &Object) -> bool {
        self.followed.follows(playlist)
    }

    /// What it counts against.
    pub fn budget(&self) -> &Budget {
        self.memory.budget()
    }

    /// What the relay has done, and what it holds.
    pub fn stats(&self) -> Stats {
        let (bytes, entries) = self.lock().cache.size();
        let Counters { fetches, hits, coalesced, stale, failures } = &self.counters;
        Stats {
            fetches: fetches.load(Relaxed),
            hits: hits.load(Relaxed),
            coalesced: coalesced.load(Relaxed),
            stale: stale.load(Relaxed),
            failures: failures.load(Relaxed),
            bytes,
            entries,
            memory: self.memory.used(),
        }
    }

    /// Whether the origins let `request` fetch `object`.
    ///
    /// # Errors
    /// When they do not, or cannot be asked.
    pub(crate) async fn may_fetch(
        &self,
        object: &Object,
        request: &Request,
    ) -> Result<(), weir_upstream::Failure> {
        let wanted = Wanted {
            object: object.clone(),
            params: request.params.to_string(),
            page_url: Arc::clone(&request.page_url),
            hops: request.hops.clone(),
            known: None,
            next: None,
        };
        self.fetcher.fetch(&wanted).await.map(drop).map_err(weir_upstream::Failure::from)
    }

    async fn get(
        self: &Arc<Self>,
        object: &Object,
        ask: &Ask,
        wait: Duration,
        alone: bool,
    ) -> Outcome {
        let mut answer = self.get_as(object, ask, Mode::Now, alone).await;
        let deadline = TokioInstant::now() + wait;
        while let Err(Failure::NotFound(_)) = &answer
            && object.kind.is_playlist()
        {
            let asked = TokioInstant::now();
            let left = deadline.duration_since(asked);
            if left.is_zero() {
                break;
            }
            let begun = self.get_as(object, ask, Mode::Wait(left), alone);
            let Ok(next) = timeout_at(deadline, begun).await else { break };
            answer = next;
            // Else the wait of another viewer is over, who came earlier.
            if asked.elapsed() < AT_ONCE {
                break;
            }
        }
        answer
    }

    async fn get_as(
        self: &Arc<Self>,
        object: &Object,
        ask: &Ask,
        mode: Mode,
        alone: bool,
    ) -> Outcome {
        match self.look(object, ask, mode, alone) {
            Look::Have(body) => Ok(body),
            Look::Stale(body) => Ok(self.stale(body)),
            Look::Failed(failure) => Err(failure),
            // What another one has shown is refused: that says nothing of this one.
            Look::Flying { landing, is_anothers: true, meanwhile: None, .. } => {
                match landed(landing).await {
                    Err(Failure::Refused(..)) => match self.look(object, ask, mode, true) {
                        Look::Flying { landing, .. } => landed(landing).await,
                        Look::Have(body) | Look::Stale(body) => Ok(body),
                        Look::Failed(failure) => Err(failure),
                    },
                    outcome => outcome,
                }
            }
            Look::Flying { landing, meanwhile: None, .. } => landed(landing).await,
            Look::Flying { landing, meanwhile: Some(body), patience, .. } => {
                match timeout(patience, landed(landing)).await {
                    Ok(Ok(newer)) => Ok(newer),
                    _ => Ok(self.stale(body)),
                }
            }
        }
    }

    /// Finds the object, or joins those who wait for it, or sends for it. `alone`: with nobody else.
    fn look(self: &Arc<Self>, object: &Object, ask: &Ask, mode: Mode, alone: bool) -> Look {
        let now = Instant::now();
        let mut state = self.lock();
        let cached = if alone { None } else { state.cache.get(object, now) };
        let (meanwhile, known) = match cached {
            Some(Cached { body, stale: None }) => {
                self.counters.hits.fetch_add(1, Relaxed);
                return Look::Have(body);
            }
            Some(Cached { body, stale: Some(stale) }) => {
                let will_do = now.duration_since(stale.asked) < self.settings.load().give_up;
                let known = stale.etag.map(|etag| Known { etag, body: body.clone() });
                (will_do.then_some(body), known)
            }
            None => (None, None),
        };
        let own = alone.then(|| ask.params.clone());
        let id = (object.clone(), matches!(mode, Mode::Wait(_)), own);
        let hindrance = state.hinders(&id, now).filter(|failure| {
            // Too much to do is too much whatever happened before.
            !matches!(mode, Mode::Again) || matches!(failure, Failure::Busy(_))
        });
        match (hindrance, meanwhile) {
            (Some(_), Some(body)) => Look::Stale(body),
            (Some(failure), None) => Look::Failed(failure),
            (None, meanwhile) => {
                let trouble = (object.key.clone(), Part::Playlists);
                let is_away = state.troubles.get(&trouble, now).is_some();
                let is_away = is_away && !self.fetcher.any_healthy();
                let patience = if is_away { self.pauses.away } else { self.pauses.grace };
                if let Some((params, landing)) = state.flights.get(&id).cloned() {
                    self.counters.coalesced.fetch_add(1, Relaxed);
                    let is_anothers = params != ask.params;
                    return Look::Flying { landing, is_anothers, meanwhile, patience };
                }
                let (done, landing) = watch::channel(None);
                state.flights.insert(id.clone(), (ask.params.clone(), landing.clone()));
                let since = state.cache.tick();
                drop(state);
                let wanted = Wanted {
                    object: object.clone(),
                    params: ask.params.clone(),
                    page_url: ask.page(),
                    hops: ask.hops.clone(),
                    known,
                    next: None,
                };
                let flight =
                    InFlight { relay: Arc::clone(self), id, ask: ask.clone(), since, done };
                tokio::spawn(flight.run(wanted, mode));
                Look::Flying { landing, is_anothers: false, meanwhile, patience }
            }
        }
    }

    /// Keeps what came, or remembers for a moment that nothing came.
    /// What came to somebody `alone` says nothing of others.
    fn land(&self, object: &Object, alone: bool, since: u64, fetched: &Result<Fetched, Failure>) {
        let now = Instant::now();
        let part = (object.key.clone(), Part::from(object.kind));
        let mut state = self.lock();
        let failure = match fetched {
            Ok(fetched) => {
                state.failures.remove(object, now);
                let was_in_trouble = state.troubles.remove(&part, now);
                drop(state);
                self.keep(object, fetched, since);
                if was_in_trouble {
                    info!(stream = %object.key, file = object.file(), "HLS is available from an origin again");
                }
                return;
            }
            Err(failure) => failure,
        };
        self.counters.failures.fetch_add(1, Relaxed);
        // Another viewer may be allowed to what this one is not, and what was late may come in this moment.
        let is_lasting = !matches!(failure, Failure::Refused(..) | Failure::Late(_));
        if !alone && is_lasting {
            state.failures.insert(object.clone(), failure.clone(), now, now + self.pauses.failed);
        }
        let is_kept = object.kind.is_playlist() && state.cache.contains(object);
        let is_gone = matches!(failure, Failure::NotFound(_) | Failure::Refused(..));
        if is_gone && !is_kept || matches!(failure, Failure::Late(_)) {
            return;
        }
        let is_news = state.troubles.get(&part, now).is_none();
        state.troubles.insert(part, (), now, now + TROUBLE_TIME);
        drop(state);
        let (stream, file, reason) = (&object.key, object.file(), failure.reason());
        let then = if is_kept { "viewers get the cached copy" } else { "viewers are refused" };
        if is_news && is_gone {
            info!(%stream, file, reason, "no origin has this HLS file any more: {then}");
        } else if is_news {
            warn!(%stream, file, reason, "cannot get HLS from an origin: {then}");
        }
    }

    /// Puts what came into its window, where whoever waits for it finds it.
    fn keep(&self, object: &Object, fetched: &Fetched, since: u64) {
        let reading = object.kind.is_playlist();
        let reading = reading.then(|| Reading::of(&object.key, &fetched.body, &self.memory));
        let admitted =
            self.lock().cache.admit(object, fetched, reading.as_ref(), since, self.pauses.fresh);
        let Some(admitted) = admitted else { return };
        let parts = admitted.store(object, fetched.body.clone(), reading);
        let mut state = self.lock();
        state.cache.insert(object, admitted);
        state.cache.merged(&parts);
    }

    /// A playlist is here no more. Who waits for it asks for it with parameters of its own.
    fn forget(&self, object: &Object) {
        self.lock().cache.remove(object);
    }

    /// What came, if it is of this stream. The playlist of a rendition may also be that of a stream that is called like
    /// it, and the other way round: it is for those who may have that stream.
    fn owned(&self, object: &Object, fetched: Fetched) -> Result<Fetched, Failure> {
        let is_ambiguous = match object.kind {
            Kind::Playlist => Rendition::of_playlist(object.key.stream()).is_some(),
            Kind::Rendition(_) => true,
            Kind::Segment(_) => false,
        };
        if !is_ambiguous {
            return Ok(fetched);
        }
        let list = listed(&object.key, &fetched.body);
        if list.iter().any(|listed| listed.object.key != object.key) {
            let why = format!("{} is the playlist of another stream", object.file());
            return Err(Failure::NotFound(why.into()));
        }
        Ok(fetched)
    }

    fn stale(&self, body: Bytes) -> Bytes {
        self.counters.stale.fetch_add(1, Relaxed);
        body
    }

    /// From now on `settings` are in force.
    pub(crate) fn reconfigure(&self, settings: &weir_config::Edge) {
        self.settings.store(Arc::new(settings.clone()));
        let cache_bytes = cache_bytes(settings, self.memory.budget());
        self.memory.limit_to(cache_bytes.saturating_add(SPARE_BYTES));
        self.lock().cache.limit_to(cache_bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Why nobody is to be asked for this just now.
    fn hinders(&self, id: &FlightId, now: Instant) -> Option<Failure> {
        let (object, waits, _) = id;
        if let Some(failure) = self.failures.get(object, now).filter(|_| !waits) {
            return Some(failure.clone());
        }
        let is_full = self.flights.len() >= FLIGHTS_MAX && !self.flights.contains_key(id);
        is_full.then(|| Failure::Busy("too many other files are being fetched".into()))
    }
}

/// An object on its way from an origin, whoever still waits for it. It is over when it is dropped.
struct InFlight {
    relay: Arc<HlsRelay>,
    id: FlightId,
    ask: Ask,
    /// The cache's tick at the start.
    since: u64,
    done: watch::Sender<Landing>,
}

impl InFlight {
    async fn run(self, wanted: Wanted, mode: Mode) {
        let relay = &self.relay;
        let is_alone = self.id.2.is_some();
        let fetched = match relay.put_together(&wanted.object, is_alone).await {
            Some(whole) => Ok(whole),
            None => {
                relay.counters.fetches.fetch_add(1, Relaxed);
                match mode {
                    Mode::Now | Mode::Again => relay.fetcher.fetch(&wanted).await,
                    Mode::Wait(wait) => relay.fetcher.wait(&wanted, wait).await,
                }
            }
        };
        let fetched = match fetched.and_then(|fetched| relay.owned(&wanted.object, fetched)) {
            Ok(fetched) => Ok(relay.complete(&wanted.object, &self.ask, fetched).await),
            Err(failure) => Err(failure),
        };
        // Whoever comes from now on finds it in the cache.
        relay.land(&wanted.object, is_alone, self.since, &fetched);
        self.done.send_replace(Some(fetched.map(|fetched| fetched.body)));
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.relay.lock().flights.remove(&self.id);
    }
}

/// What the cache may keep: a quarter of `limits.memory` at most, so that there is room for what is on its way.
fn cache_bytes(settings: &weir_config::Edge, budget: &Budget) -> u64 {
    settings.hls_cache.min(budget.limit() as u64 / 4)
}

async fn landed(mut landing: watch::Receiver<Landing>) -> Outcome {
    let landed = landing.wait_for(Option::is_some).await;
    let outcome = landed.ok().and_then(|landed| landed.clone());
    outcome.unwrap_or_else(|| Err(Failure::Busy("the server is shutting down".into())))
}

#[cfg(test)]
mod tests;
