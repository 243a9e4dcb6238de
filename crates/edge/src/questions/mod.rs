//! May this viewer play? The origins decide, for each set of parameters that viewers show; the edge remembers for a
//! moment what they have said.
//!
//! ```text
//! viewer ──► may_play ──► answers: yes, no
//!               │ none that is fresh
//!               ▼
//!            flight ──► Link ──weirMayPlay──► origin
//!            (one a set)  └─ a foreign origin ──► play, until it has decided
//! ```
//!
//! A no is never that of another set. Where an origin says that parameters make no difference, one answer holds for a
//! whole vhost.

mod answers;
mod link;
mod sets;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use ring::digest::{Context, SHA256};
use tokio::{
    sync::watch,
    time::{Instant as TokioInstant, sleep, timeout_at},
};
use weir_config::{Settings, Upstream};
use weir_hub::Status;
use weir_media::StreamKey;
use weir_rtmp::{message::MayPlay, server::PlayRefusal, url::params::Query};

use super::{
    Ask, Edge, Failure, HlsKind, HlsObject, NoStream, Origin, Request,
    search::{self, Connected},
    turns::{Asker, asker},
    upstream,
};
use answers::{Answers, Digest};
use link::{Links, Unasked};
use sets::Sets;

/// For how long a yes is as good as asking: a token may expire so much later, and a crowd that comes with one token is
/// one question in this time.
const YES_TIME: Duration = Duration::from_secs(10);

/// For how long a no is. Shorter, since what was wrong may be mended: a token that is not valid yet, a limit.
const NO_TIME: Duration = Duration::from_secs(2);

/// Yeses that are remembered: each is a hash and a few numbers, some 200 bytes.
const YES_MAX: usize = 16_384;

/// Nos, with the origin's words, of which 200 characters are kept.
const NO_MAX: usize = 4096;

/// How often an origin that has closed its connection is asked again for the same: once, on another connection.
const ATTEMPTS: u32 = 2;

/// How often viewers of a stream that is here are asked for again while no origin answers.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How long a viewer whose wait is over stays for the answer to its question.
const GRACE: Duration = Duration::from_secs(1);

/// How long an origin is waited for that is asked where a stream is. One that is late is asked to play, as if it had
/// not been asked before.
const LOCATE_TIME: Duration = Duration::from_millis(500);

/// What viewers come for. An origin of another kind may let them have the one and not the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The stream itself.
    Live,
    /// Its HLS playlist.
    Hls,
}

/// What the origins say of a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Yes {
        /// Whether anybody may, whatever the parameters.
        any: bool,
    },
    /// It may not.
    No(Arc<str>),
    /// They have no such stream, and so do not say.
    Absent(Arc<str>),
    /// They cannot be asked.
    Away(Arc<str>),
}

/// Where a stream is, as far as origins that answer questions know.
pub enum Located {
    /// No origin has it.
    Nowhere,
    /// These have it, or are not known to have it not.
    Perhaps(Vec<Arc<Origin>>),
}

/// What has been said, and what is being asked.
pub struct Questions {
    state: Mutex<State>,
    links: Links,
}

struct State {
    /// The vhosts where parameters make no difference, and since when that is so. They are those of the configuration,
    /// and a handful.
    open: HashMap<Box<str>, Instant>,
    /// Until when each yes is fresh.
    yes: Answers<Instant>,
    no: Answers<Arc<str>>,
    /// Those who join one listen to it, and it ends when nobody does.
    flights: HashMap<Digest, watch::Sender<Option<Answered>>>,
    sets: Sets,
}

/// What came of a question.
#[derive(Clone, Debug)]
struct Answered {
    verdict: Verdict,
    /// Which door it is about, if it is not about all.
    door: Option<Protocol>,
}

impl Questions {
    /// Nothing has been said.
    pub fn new(settings: &Settings) -> Self {
        let state = State {
            open: HashMap::new(),
            yes: Answers::new(YES_MAX),
            no: Answers::new(NO_MAX),
            flights: HashMap::new(),
            sets: Sets::default(),
        };
        Self { state: Mutex::new(state), links: Links::new(settings) }
    }

    /// Other origins are in force: what those before have said is void.
    pub fn forget_all(&self) {
        let mut state = self.lock();
        state.open.clear();
        state.yes.clear();
        state.no.clear();
    }

    /// Why an origin has just refused this set, if it has.
    pub fn refusal(&self, request: &Request) -> Option<Arc<str>> {
        let now = Instant::now();
        let digests = [None, Some(Protocol::Live)].map(|door| digest(request, door));
        let state = self.lock();
        digests.iter().find_map(|digest| state.no.get(digest, now).cloned())
    }

    /// Takes note that an origin has refused to play with this set.
    pub fn refused(&self, request: &Request, reason: &str) {
        let now = Instant::now();
        let digest = digest(request, Some(Protocol::Live));
        let mut state = self.lock();
        state.no.insert(digest, reason.into(), None, now, now + NO_TIME);
        state.sets.refuse(&request.key, &request.params);
    }

    /// Takes note that the stream can be asked for with this set, which an origin has `accepted` or not said anything
    /// of. Whether that is new.
    pub fn note(
        &self,
        request: &Request,
        accepted: bool,
        is_here: impl Fn(&StreamKey) -> bool,
    ) -> bool {
        let mut state = self.lock();
        state.sets.make_room(Instant::now(), is_here);
        state.sets.note(&request.key, &request.params, accepted)
    }

    /// Whether parameters make no difference on `vhost`, as far as is known.
    fn is_open(&self, vhost: &str) -> bool {
        self.lock().open.contains_key(vhost)
    }

    /// A better set to ask for the stream with than that of `request`, after so many attempts, if there is one.
    pub fn choose(&self, request: &Request, tries: u32) -> Option<Query> {
        self.lock().sets.choose(&request.key, &request.params, tries)
    }

    /// Nobody asks for the stream any more.
    pub fn forget(&self, key: &StreamKey) {
        self.lock().sets.forget(key);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known already.
    fn known(&self, request: &Request, door: Protocol, now: Instant) -> Option<Verdict> {
        let digests = [digest(request, None), digest(request, Some(door))];
        let state = self.lock();
        if state.is_open(request.key.vhost(), now) {
            return Some(Verdict::Yes { any: true });
        }
        let no = digests.iter().find_map(|digest| state.no.get(digest, now));
        if let Some(reason) = no {
            return Some(Verdict::No(Arc::clone(reason)));
        }
        let is_fresh = |digest| state.yes.get(digest, now).is_some_and(|fresh| now < *fresh);
        digests.iter().any(is_fresh).then_some(Verdict::Yes { any: false })
    }

    /// Whether it was let in not long ago, or anybody was.
    fn was_let_in(&self, request: &Request, door: Protocol) -> bool {
        let now = Instant::now();
        let digests = [digest(request, None), digest(request, Some(door))];
        let state = self.lock();
        state.open.contains_key(request.key.vhost())
            || digests.iter().any(|digest| state.yes.get(digest, now).is_some())
    }

    /// Remembers what was answered. A yes is kept for `kept` beyond its time, for when the origins are away.
    fn keep(&self, request: &Request, asker: Asker, answered: &Answered, kept: Duration) {
        let now = Instant::now();
        let digest = digest(request, answered.door);
        let mut state = self.lock();
        match &answered.verdict {
            Verdict::Yes { any: true } => {
                state.open.insert(request.key.vhost().into(), now);
            }
            Verdict::Yes { any: false } => {
                state.open.remove(request.key.vhost());
                state.no.remove(&digest);
                state.yes.insert(digest, now + YES_TIME, asker, now, now + YES_TIME + kept);
            }
            Verdict::No(reason) => {
                state.open.remove(request.key.vhost());
                state.yes.remove(&digest);
                state.no.insert(digest, Arc::clone(reason), asker, now, now + NO_TIME);
                state.sets.refuse(&request.key, &request.params);
            }
            // Each stream for itself, then.
            Verdict::Absent(_) => drop(state.open.remove(request.key.vhost())),
            Verdict::Away(_) => {}
        }
    }
}

impl State {
    fn is_open(&self, vhost: &str, now: Instant) -> bool {
        self.open.get(vhost).is_some_and(|since| now < *since + YES_TIME)
    }
}

/// What is asked, as a hash: as long as it is, it takes as much memory as anything else.
fn digest(request: &Request, door: Option<Protocol>) -> Digest {
    let key = &request.key;
    let door = match door {
        None => "",
        Some(Protocol::Live) => "live",
        Some(Protocol::Hls) => "hls",
    };
    let mut hash = Context::new(&SHA256);
    for part in [door, key.vhost(), key.app(), key.stream(), request.params.as_str()] {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    finished(hash)
}

/// The same for everybody on a vhost where parameters make no difference.
fn digest_of_vhost(vhost: &str) -> Digest {
    let mut hash = Context::new(&SHA256);
    hash.update(b"open");
    hash.update(vhost.as_bytes());
    finished(hash)
}

fn finished(hash: Context) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(hash.finish().as_ref());
    digest
}

impl Edge {
    /// Whether the one who asks may have `key`, as the origins say, or have said a moment ago. When they cannot be
    /// asked, whoever they have let in not long ago may.
    pub async fn may_play(self: &Arc<Self>, key: &StreamKey, ask: &Ask, door: Protocol) -> Verdict {
        if let Err(reason) = self.check(key, ask) {
            return Verdict::No(reason.into());
        }
        let request = self.request(key, ask);
        let mut known = self.questions.known(&request, door, Instant::now());
        while known.is_none() {
            let asked = self.ask_once(&request, ask, door).await;
            // An answer for another door, or for somebody else of a vhost that is not open any more, is none here.
            known = match asked {
                Some(verdict) => Some(verdict),
                None => self.questions.known(&request, door, Instant::now()),
            };
        }
        let verdict = known.unwrap_or(Verdict::Yes { any: false });
        match &verdict {
            Verdict::Away(_) if self.questions.was_let_in(&request, door) => {
                Verdict::Yes { any: false }
            }
            _ => verdict,
        }
    }

    /// Asks, or joins those who ask the same. None if the answer is about something else.
    async fn ask_once(
        self: &Arc<Self>,
        request: &Request,
        ask: &Ask,
        door: Protocol,
    ) -> Option<Verdict> {
        let vhost = request.key.vhost();
        let own_door = self.questions.links.any_foreign().then_some(door);
        let (mut answers, is_mine) = {
            let mut state = self.questions.lock();
            // One question for all whose parameters made no difference so far.
            let was_open = state.open.contains_key(vhost);
            let id = if was_open { digest_of_vhost(vhost) } else { digest(request, own_door) };
            match state.flights.get(&id) {
                Some(answers) => (answers.subscribe(), !was_open),
                None => {
                    let (done, answers) = watch::channel(None);
                    state.flights.insert(id, done.clone());
                    let flight = InFlight { edge: Arc::clone(self), id, done };
                    tokio::spawn(flight.run(request.clone(), asker(ask.peer), door));
                    (answers, true)
                }
            }
        };
        // Else it ended in the moment in which it was joined.
        let answered = answers.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
        let Answered { verdict, door: about } = answered?;
        let is_for_all = matches!(verdict, Verdict::Yes { any: true } | Verdict::Away(_));
        let is_this_door = about.is_none_or(|about| about == door);
        (is_for_all || (is_mine && is_this_door)).then_some(verdict)
    }

    /// Asks the origins, side by side if they are slow.
    async fn ask_origins(
        self: &Arc<Self>,
        request: &Request,
        asker: Asker,
        door: Protocol,
    ) -> Answered {
        self.origins.ready().await;
        let order = self.origins.order(&request.key);
        let asked = search::race(order, |origin, connected| async move {
            self.ask_one(&origin, request, asker, door, &connected).await
        });
        let verdict = match asked.await {
            Ok((_, answered)) => return answered,
            Err(Failure::Missing(why)) => Verdict::Absent(why.into()),
            Err(Failure::Unreachable(why) | Failure::Busy(why)) => Verdict::Away(why.into()),
            Err(Failure::Refused { code, description }) => Verdict::No(said(&code, &description)),
        };
        let door = self.questions.links.any_foreign().then_some(door);
        Answered { verdict, door }
    }

    async fn ask_one(
        self: &Arc<Self>,
        origin: &Arc<Origin>,
        request: &Request,
        asker: Asker,
        door: Protocol,
        connected: &Connected,
    ) -> Result<Answered, Failure> {
        let protocol = self.settings().edge.protocol;
        let dead_after = self.settings().edge.dead_after;
        match self.question(origin, request, asker, dead_after, connected).await {
            Ok(MayPlay { refusal: None, any, .. }) => {
                Ok(Answered { verdict: Verdict::Yes { any }, door: None })
            }
            Ok(MayPlay { refusal: Some((code, description)), .. }) => {
                let description = upstream::words(&description);
                if code == PlayRefusal::StreamNotFound.code() {
                    return Err(Failure::Missing(description));
                }
                let reason = said(&upstream::words(&code), &description);
                Ok(Answered { verdict: Verdict::No(reason), door: None })
            }
            Err(Unasked::Foreign | Unasked::Closed) => {
                self.ask_foreign(origin, request, asker, door, connected).await
            }
            // Where streams come over HTTP, nothing else may be reachable.
            Err(Unasked::Failed(Failure::Unreachable(_))) if protocol == Upstream::Flv => {
                self.ask_foreign(origin, request, asker, door, connected).await
            }
            // HTTP carries names that RTMP does not.
            Err(Unasked::Failed(Failure::Missing(_)))
                if protocol == Upstream::Flv || door == Protocol::Hls =>
            {
                self.ask_foreign(origin, request, asker, door, connected).await
            }
            Err(Unasked::Failed(failure)) => Err(failure),
        }
    }

    /// Asks on the connection for questions. Once it is its turn, the answer has to come within `limit`.
    async fn question(
        &self,
        origin: &Arc<Origin>,
        request: &Request,
        asker: Asker,
        limit: Duration,
        connected: &Connected,
    ) -> Result<MayPlay, Unasked> {
        let question = upstream::question(origin, request).map_err(Unasked::Failed)?;
        for _ in 0..ATTEMPTS {
            let link = self.questions.links.to(origin, &self.origins);
            match link.ask(question.clone(), request, asker, limit, connected).await {
                Err(Unasked::Closed) => {}
                asked => return asked,
            }
        }
        Err(Unasked::Closed)
    }

    /// Has an origin play that knows no questions, until it has decided.
    async fn ask_foreign(
        self: &Arc<Self>,
        origin: &Arc<Origin>,
        request: &Request,
        asker: Asker,
        door: Protocol,
        connected: &Connected,
    ) -> Result<Answered, Failure> {
        let settings = self.settings();
        let (protocol, dead_after) = (settings.edge.protocol, settings.edge.dead_after);
        match door {
            Protocol::Live => {
                let _turn = self.turns.turn(asker).await;
                upstream::may_play(origin, protocol, request, dead_after, connected).await?;
            }
            Protocol::Hls => {
                let object = HlsObject { key: request.key.clone(), kind: HlsKind::Playlist };
                self.hls.may_fetch(&object, request).await?;
            }
        }
        Ok(Answered { verdict: Verdict::Yes { any: false }, door: Some(door) })
    }

    /// Lets a viewer in, if the origins do; false if they have not decided, so that they have to be asked again once
    /// the stream is here.
    ///
    /// # Errors
    /// Why it is not let in.
    pub async fn admit(
        self: &Arc<Self>,
        key: &StreamKey,
        ask: &Ask,
        door: Protocol,
        deadline: TokioInstant,
    ) -> Result<bool, NoStream> {
        loop {
            let is_here = self.registry.status(key) == Some(Status::Live);
            let asked = timeout_at(deadline + GRACE, self.may_play(key, ask, door)).await;
            let silent =
                |_| Verdict::Away(format!("the origins have not answered for {key}").into());
            match asked.unwrap_or_else(silent) {
                Verdict::Yes { any } => {
                    if !any && door == Protocol::Live {
                        self.note(key, ask, true);
                    }
                    return Ok(true);
                }
                Verdict::No(reason) => return Err(NoStream::Refused(reason.to_string())),
                Verdict::Absent(reason) if is_here => {
                    return Err(NoStream::Missing(reason.to_string()));
                }
                Verdict::Away(reason) if is_here => {
                    if TokioInstant::now() >= deadline {
                        return Err(NoStream::Unavailable(reason.to_string()));
                    }
                    tokio::select! {
                        () = sleep(ASK_AGAIN) => {}
                        () = self.origins.changed() => {}
                    }
                }
                Verdict::Absent(_) | Verdict::Away(_) => return Ok(false),
            }
        }
    }

    /// Where `request` would find its stream, before it is asked for: one question to each origin, all at once. The
    /// first one that has it is enough.
    pub async fn locate(
        &self,
        request: &Request,
        asker: Asker,
        order: Vec<Arc<Origin>>,
    ) -> Located {
        let questions = order.iter().enumerate().map(|(at, origin)| async move {
            let connected = Connected::default();
            let asked = self.question(origin, request, asker, LOCATE_TIME, &connected).await;
            (at, asked.ok().map(|answer| answer.here))
        });
        let mut questions: FuturesUnordered<_> = questions.collect();
        let (mut there, mut without) = (None, Vec::new());
        while there.is_none()
            && let Some((at, here)) = questions.next().await
        {
            match here {
                Some(true) => there = Some(at),
                Some(false) => without.push(at),
                None => {}
            }
        }
        if !order.is_empty() && without.len() == order.len() {
            return Located::Nowhere;
        }
        // Those that say nothing may have it as well.
        let others = (0..order.len()).filter(|at| Some(*at) != there && !without.contains(at));
        let all = there.into_iter().chain(others);
        Located::Perhaps(all.map(|at| Arc::clone(&order[at])).collect())
    }

    /// Takes note of what `ask` shows. A pull that has asked in vain so far is told of what an origin accepts.
    pub(super) fn note(&self, key: &StreamKey, ask: &Ask, accepted: bool) {
        let is_here = |key: &StreamKey| self.registry.status(key).is_some();
        // What makes no difference need not be remembered.
        if self.questions.is_open(key.vhost()) {
            return;
        }
        let is_new = self.questions.note(&self.request(key, ask), accepted, is_here);
        if is_new && accepted {
            self.pulls.wake(key);
        }
    }
}

fn said(code: &str, description: &str) -> Arc<str> {
    format!("the origin answered {code}: {description}").into()
}

/// A question on its way. It is over when it is dropped.
struct InFlight {
    edge: Arc<Edge>,
    id: Digest,
    done: watch::Sender<Option<Answered>>,
}

impl InFlight {
    async fn run(self, request: Request, asker: Asker, door: Protocol) {
        let answered = tokio::select! {
            answered = self.edge.ask_origins(&request, asker, door) => answered,
            // Nobody wants to know any more.
            () = self.done.closed() => return,
        };
        let kept = self.edge.settings().edge.give_up;
        self.edge.questions.keep(&request, asker, &answered, kept);
        self.edge.questions.lock().flights.remove(&self.id);
        self.done.send_replace(Some(answered));
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.edge.questions.lock();
        // Another one may be on its way meanwhile.
        let is_own = |done: &watch::Sender<_>| done.same_channel(&self.done);
        if state.flights.get(&self.id).is_some_and(is_own) {
            state.flights.remove(&self.id);
        }
    }
}
