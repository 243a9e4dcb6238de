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
mod asking;
mod link;
mod sets;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ring::digest::{Context, SHA256};
use tokio::sync::watch;
use weir_config::Settings;
use weir_media::StreamKey;
use weir_rtmp::url::params::Query;
use weir_upstream::Asker;

use self::{
    answers::{Answers, Digest},
    link::Links,
    sets::Sets,
};
use crate::upstream::Request;

pub use asking::Located;

/// For how long a yes is as good as asking: a token may expire so much later, and a crowd that comes with one token is
/// one question in this time.
const YES_TIME: Duration = Duration::from_secs(10);

/// For how long a no is. Shorter, since what was wrong may be mended: a token that is not valid yet, a limit.
const NO_TIME: Duration = Duration::from_secs(2);

/// Yeses that are remembered: each is a hash and a few numbers, some 200 bytes.
const YES_MAX: usize = 16_384;

/// Nos, with the origin's words, of which 200 characters are kept.
const NO_MAX: usize = 4096;

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
    /// Which protocol it is about, if it is not about all.
    protocol: Option<Protocol>,
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

    /// The same, and questions are asked on other connections from now on.
    pub fn begin_anew(&self) {
        self.forget_all();
        self.links.forget();
    }

    /// Why an origin has just refused this set, if it has.
    pub fn refusal(&self, request: &Request) -> Option<Arc<str>> {
        let now = Instant::now();
        let digests = [None, Some(Protocol::Live)].map(|protocol| digest(request, protocol));
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
    fn known(&self, request: &Request, protocol: Protocol, now: Instant) -> Option<Verdict> {
        let digests = [digest(request, None), digest(request, Some(protocol))];
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
    fn was_let_in(&self, request: &Request, protocol: Protocol) -> bool {
        let now = Instant::now();
        let digests = [digest(request, None), digest(request, Some(protocol))];
        let state = self.lock();
        state.open.contains_key(request.key.vhost())
            || digests.iter().any(|digest| state.yes.get(digest, now).is_some())
    }

    /// Remembers what was answered. A yes is kept for `kept` beyond its time, for when the origins are away.
    fn keep(&self, request: &Request, asker: Asker, answered: &Answered, kept: Duration) {
        let now = Instant::now();
        let digest = digest(request, answered.protocol);
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
fn digest(request: &Request, protocol: Option<Protocol>) -> Digest {
    let key = &request.key;
    let protocol = match protocol {
        None => "",
        Some(Protocol::Live) => "live",
        Some(Protocol::Hls) => "hls",
    };
    let mut hash = Context::new(&SHA256);
    let (params, page) = (request.params.as_str(), &*request.page_url);
    for part in [protocol, key.vhost(), key.app(), key.stream(), params, page] {
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
