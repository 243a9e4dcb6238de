//! Getting an object from whichever origin has it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Incoming};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::{
    sync::Semaphore,
    time::{Instant as TokioInstant, timeout, timeout_at},
};
use weir_clients::SERVER;
use weir_config::Settings;
use weir_hls::Progress;

use super::{
    followed::LIVE_MAX,
    memory::{Filling, Memory},
    object::{Kind, Object},
    playlist::{Playlist, is_multivariant},
    pool::{Get, Pool, SendError, in_full},
};
use crate::{
    Ask, Hops, NodeId, Origin, Origins,
    query::{Question, forwarded},
};

/// For a connection to one origin while there are others to ask: a dead one costs a viewer this much, and twice as much
/// with TLS, whose handshake takes a second round trip.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// Time for a whole object, as a multiple of the time that an origin may say nothing. A segment that takes longer than
/// that is of no use to a player.
const PATIENCE: u32 = 4;

/// What is read of a refusal, and what is kept of it for the viewer.
const WORDS_BYTES_MAX: usize = 1024;
const WORDS_CHARS_MAX: usize = 200;

/// Longest entity tag that is sent back.
const ETAG_BYTES_MAX: usize = 256;

/// Requests that origins may hold until a stream begins, at a time. They have connections of their own, so that
/// those who ask for what never comes hold nobody up.
const WAITS_MAX: usize = 64;

/// Requests for what comes next that origins may hold at a time, for [`LIVE_MAX`] playlists and one part of each. They
/// have connections of their own, too.
const HELD_MAX: usize = 2 * LIVE_MAX;

/// Characters of a path's component that stand for themselves (RFC 3986, "unreserved").
const COMPONENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Asks origins.
#[derive(Debug)]
pub struct Fetcher {
    origins: Arc<Origins>,
    pool: Pool,
    memory: Arc<Memory>,
    waits: Semaphore,
    held: Semaphore,
    id: NodeId,
    settings: Arc<ArcSwap<weir_config::Edge>>,
    /// Has the vhosts.
    all: Settings,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name.
    pub object: Object,
    /// The parameters of the viewer who asked first.
    pub params: String,
    /// The page that it was on; empty if it did not say.
    pub page_url: Arc<str>,
    /// Where that request came through.
    pub hops: Hops,
    /// What there is already.
    pub known: Option<Known>,
    /// What a playlist has to have before it is answered with, if the origin is to wait for that.
    pub next: Option<Next>,
}

/// What comes next in a playlist (`_HLS_msn` and `_HLS_part`, RFC 8216bis, 6.2.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Next {
    msn: u64,
    /// None where segments have no parts.
    part: Option<usize>,
}

impl Next {
    /// What comes after this.
    pub fn after(progress: Progress, has_parts: bool) -> Self {
        Self { msn: progress.sequence, part: has_parts.then_some(progress.parts) }
    }

    /// The parameters that ask for it.
    fn params(self) -> String {
        let part = self.part.map(|part| format!("&_HLS_part={part}"));
        format!("_HLS_msn={}{}", self.msn, part.unwrap_or_default())
    }
}

impl Wanted {
    /// Whether an origin that does not answer may be waiting for what it is asked for.
    fn may_be_held(&self) -> bool {
        self.next.is_some() || self.object.kind.is_part()
    }
}

/// A playlist that an origin may say is still the same.
#[derive(Clone, Debug)]
pub struct Known {
    /// Who gave it, and what it was called there.
    pub etag: (SocketAddr, HeaderValue),
    /// The playlist.
    pub body: Bytes,
}

/// An object from an origin.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// All of it.
    pub body: Bytes,
    /// How long it may be kept, if the origin says.
    pub max_age: Option<Duration>,
    /// Who gave it, and what it is called there.
    pub etag: Option<(SocketAddr, HeaderValue)>,
    /// When it was asked for.
    pub asked: Instant,
    /// When the answer began.
    pub answered: Instant,
}

/// Why there is no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The origins do not have it; the words of the first.
    NotFound(Arc<str>),
    /// An origin forbids it.
    Refused(StatusCode, Arc<str>),
    /// What came from an origin is not what was asked for.
    Broken(Arc<str>),
    /// An origin that may have it does not answer.
    Away(Arc<str>),
    /// An origin has waited for it, as it should, and it did not come.
    Late(Arc<str>),
    /// This edge has too much to do.
    Busy(Arc<str>),
}

impl Failure {
    /// What happened, in words for people.
    pub fn reason(&self) -> &str {
        match self {
            Self::NotFound(reason)
            | Self::Refused(_, reason)
            | Self::Broken(reason)
            | Self::Away(reason)
            | Self::Late(reason)
            | Self::Busy(reason) => reason,
        }
    }
}

impl From<Failure> for crate::Failure {
    fn from(failure: Failure) -> Self {
        let words = |words: Arc<str>| words.to_string();
        match failure {
            Failure::NotFound(why) => Self::Missing(words(why)),
            Failure::Refused(status, why) => {
                Self::Refused { code: format!("HTTP {}", status.as_u16()), description: words(why) }
            }
            // The health of an origin is that of its RTMP port.
            Failure::Broken(why) | Failure::Away(why) | Failure::Late(why) | Failure::Busy(why) => {
                Self::Busy(words(why))
            }
        }
    }
}

fn no_origin() -> Failure {
    Failure::Away("no origin is known".into())
}

/// How long one origin may take, for the connection and for the head of its answer.
#[derive(Clone, Copy)]
struct Limits {
    connect: Duration,
    head: Duration,
    /// Whether it may rightly wait that long.
    is_held: bool,
}

impl Fetcher {
    /// Asks `origins` in the name of the edge `id`.
    pub fn new(
        origins: Arc<Origins>,
        (all, settings): (&Settings, &Arc<ArcSwap<weir_config::Edge>>),
        id: NodeId,
        memory: Arc<Memory>,
    ) -> Self {
        Self {
            origins,
            pool: Pool::default(),
            memory,
            waits: Semaphore::new(WAITS_MAX),
            held: Semaphore::new(HELD_MAX),
            id,
            settings: Arc::clone(settings),
            all: all.clone(),
        }
    }

    fn dead_after(&self) -> Duration {
        self.settings.load().dead_after
    }

    /// Whether an origin is alive, as far as one can know.
    pub fn any_healthy(&self) -> bool {
        self.origins.any_healthy()
    }

    /// Resolves when an origin has failed or become alive again, or there are others, after this call.
    pub fn origins_changed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.origins.changed()
    }

    /// Asks one origin after the other, none of which is to wait for the stream to begin.
    ///
    /// # Errors
    /// When none of them has it. It is missing if all of them say so, but for those that were known to be away.
    pub async fn fetch(&self, wanted: &Wanted) -> Result<Fetched, Failure> {
        // At a start the names may not have been looked up yet.
        self.origins.ready().await;
        let order = self.origins.order(&wanted.object.key);
        // Without a place it is asked for like anything else.
        let held = if wanted.may_be_held() { self.held.try_acquire().ok() } else { None };
        let patience = self.dead_after();
        // One that rightly waits leaves the others their time.
        let deadline = Instant::now() + if held.is_some() { patience * 2 } else { patience };
        let (mut missing, mut failure, mut known_failure) = (None, None, None);
        for (origin, others) in order.iter().zip((0..order.len() as u32).rev()) {
            let left = deadline.saturating_duration_since(Instant::now());
            // One that says nothing leaves time for the others.
            let share = left / (others + 1);
            let connect = if others > 0 { share.min(connect_timeout(origin)) } else { share };
            let head = if held.is_some() { left.min(patience) } else { share };
            let limits = Limits { connect, head, is_held: held.is_some() };
            let is_healthy = origin.is_healthy();
            let asked = match held {
                Some(_) => self.ask(origin, wanted, no_wait(wanted), limits).await,
                None => self.ask_in_turn(origin, wanted, limits).await,
            };
            match asked {
                Ok(fetched) => {
                    self.origins.found(&wanted.object.key, origin);
                    return Ok(fetched);
                }
                Err(Failure::NotFound(words)) => missing = missing.or(Some(words)),
                Err(Failure::Refused(status, words)) => {
                    return Err(Failure::Refused(status, words));
                }
                Err(other) if is_healthy => failure = Some(other),
                Err(other) => known_failure = Some(other),
            }
        }
        // Players give up over a segment that is missing, and ask again after other failures.
        let counts = missing.is_none() || !wanted.object.kind.is_playlist();
        let failure = failure.or(known_failure.filter(|_| counts));
        Err(failure.or(missing.map(Failure::NotFound)).unwrap_or_else(no_origin))
    }

    /// Asks the origins other than the first, which has the stream, but does not go on with it. What the first of them
    /// has that `is_better`: it is asked first from then on.
    pub async fn fetch_elsewhere(
        &self,
        wanted: &Wanted,
        is_better: impl Fn(&Fetched) -> bool,
    ) -> Option<Fetched> {
        let order = self.origins.order(&wanted.object.key);
        let head = self.dead_after() / order.len().max(1) as u32;
        for origin in order.iter().skip(1).filter(|origin| origin.is_healthy()) {
            let connect = head.min(connect_timeout(origin));
            let limits = Limits { connect, head, is_held: false };
            let asked = self.ask_in_turn(origin, wanted, limits).await;
            if let Some(fetched) = asked.ok().filter(&is_better) {
                self.origins.found(&wanted.object.key, origin);
                return Some(fetched);
            }
        }
        None
    }

    /// Asks the first origin, which may wait for the stream to begin.
    ///
    /// # Errors
    /// When it does not begin in time, or too many others are waited for.
    pub async fn wait(&self, wanted: &Wanted, wait: Duration) -> Result<Fetched, Failure> {
        let Ok(_place) = self.waits.try_acquire() else {
            let why = "nobody publishes it yet, and too many requests wait for other streams";
            return Err(Failure::NotFound(why.into()));
        };
        let order = self.origins.order(&wanted.object.key);
        let origin = order.first().ok_or_else(no_origin)?;
        let head = wait + self.dead_after();
        let limits = Limits { connect: self.dead_after(), head, is_held: false };
        let fetched = self.ask(origin, wanted, Some(wait), limits).await?;
        self.origins.found(&wanted.object.key, origin);
        Ok(fetched)
    }

    /// Asks on one of the origin's regular connections.
    async fn ask_in_turn(
        &self,
        origin: &Origin,
        wanted: &Wanted,
        limits: Limits,
    ) -> Result<Fetched, Failure> {
        let Ok(_place) = timeout(limits.head, self.pool.place(origin)).await else {
            return Err(Failure::Busy("all connections to the origin are in use".into()));
        };
        self.ask(origin, wanted, no_wait(wanted), limits).await
    }

    /// Asks `origin`, and tells its health how that went.
    async fn ask(
        &self,
        origin: &Origin,
        wanted: &Wanted,
        wait: Option<Duration>,
        limits: Limits,
    ) -> Result<Fetched, Failure> {
        let failure = match self.exchange(origin, wanted, wait, limits).await {
            Ok(Answer::Object(fetched)) => return Ok(fetched),
            Ok(Answer::Other(status, words)) => {
                let words = if words.is_empty() { status.to_string() } else { words };
                let is_segment = matches!(wanted.object.kind, Kind::Segment(_));
                if is_segment && status == StatusCode::TOO_MANY_REQUESTS {
                    // Our viewers have asked for many that are not there, and this is one.
                    return Err(Failure::NotFound(words.into()));
                }
                if limits.is_held && status == StatusCode::SERVICE_UNAVAILABLE {
                    return Err(Failure::Late(words.into()));
                }
                return Err(refusal(origin, status, &words));
            }
            Err(failure) => failure,
        };
        let described =
            |why| format!("{} from origin {}: {why}", wanted.object.file(), origin.http);
        let (why, failure): (String, fn(Arc<str>) -> Failure) = match failure {
            Bad::Ours(why) => return Err(Failure::Busy(why.into())),
            Bad::Unnamed(why) => return Err(Failure::NotFound(why.into())),
            Bad::Late(why) => (described(why), Failure::Late),
            Bad::Silent(why) => (described(why), Failure::Away),
            Bad::Wrong(why) => (described(why), Failure::Broken),
        };
        // The origins' health is that of their RTMP port: where HTTP alone is broken, or alone works, streams must not
        // move for it.
        Err(failure(why.into()))
    }

    async fn exchange(
        &self,
        origin: &Origin,
        wanted: &Wanted,
        wait: Option<Duration>,
        limits: Limits,
    ) -> Result<Answer, Bad> {
        let asked = Instant::now();
        let request = self.request(origin, wanted, wait)?;
        let sent = self.pool.send(origin, &request, limits.connect);
        let sent = timeout(limits.head, sent).await;
        let sent = sent.map_err(|_| {
            let why = format!("no answer within {:?}", limits.head);
            if limits.is_held { Bad::Late(why) } else { Bad::Silent(why) }
        })?;
        let mut exchange = sent.map_err(Bad::from)?;
        let answered = Instant::now();
        let status = exchange.response.status();
        let body = match (status, &wanted.known) {
            (StatusCode::OK, _) => self.body(&mut exchange.response, wanted.object.kind).await?,
            (StatusCode::NOT_MODIFIED, Some(known)) => {
                // Without this the connection would not be seen to be free.
                words(&mut exchange.response, self.dead_after()).await;
                known.body.clone()
            }
            _ => {
                let (words, is_whole) = words(&mut exchange.response, self.dead_after()).await;
                if is_whole {
                    self.pool.keep(exchange);
                }
                return Ok(Answer::Other(status, words));
            }
        };
        let headers = exchange.response.headers();
        let etag = headers.get(header::ETAG).filter(|etag| etag.len() <= ETAG_BYTES_MAX);
        let etag = etag.map(|etag| (origin.http, etag.clone()));
        let max_age = max_age(headers);
        self.pool.keep(exchange);
        Ok(Answer::Object(Fetched { body, max_age, etag, asked, answered }))
    }

    fn request(
        &self,
        origin: &Origin,
        wanted: &Wanted,
        wait: Option<Duration>,
    ) -> Result<Get, Bad> {
        let (host, target) = self.target(origin, wanted).map_err(Bad::Unnamed)?;
        let mut request = http::Request::get(target)
            .header(header::HOST, host)
            .header(header::USER_AGENT, SERVER)
            .header(Hops::HEADER, wanted.hops.and(&self.id).to_string());
        if let Some(token) = &self.settings.load().token {
            request = request.header(Ask::TOKEN_HEADER, token.expose());
        }
        if !wanted.page_url.is_empty() {
            request = request.header(Ask::PAGE_HEADER, &*wanted.page_url);
        }
        if let Some(wait) = wait {
            request = request.header(Ask::WAIT_HEADER, wait.as_millis().to_string());
        }
        if let Some(Known { etag: (address, etag), .. }) = &wanted.known
            && *address == origin.http
        {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let request = request.body(Empty::new());
        request.map_err(|error| Bad::Ours(format!("cannot make a request: {error}")))
    }

    /// The host, and the path with the parameters.
    fn target(&self, origin: &Origin, wanted: &Wanted) -> Result<(String, String), String> {
        let key = &wanted.object.key;
        let app = utf8_percent_encode(key.app(), COMPONENT);
        let file = wanted.object.file();
        let path = format!("/{app}/{}", utf8_percent_encode(&file, COMPONENT));
        let params = &forwarded(&wanted.params, &self.settings.load().forward_query);
        let config = &self.all.now();
        let (host, address) = (origin.host.as_str(), origin.http);
        let (host, mut target) =
            Question { config, host, address, key, params }.http(&path, &file)?;
        if let Some(next) = wanted.next {
            target.push(if target.contains('?') { '&' } else { '?' });
            target += &next.params();
        }
        Ok((host, target))
    }

    /// Reads the whole object.
    async fn body(&self, response: &mut Response<Incoming>, kind: Kind) -> Result<Bytes, Bad> {
        let max = kind.bytes_max();
        let too_large = || Bad::Wrong(format!("it is larger than {max} bytes"));
        let body = response.body_mut();
        if body.size_hint().lower() > max as u64 {
            return Err(too_large());
        }
        let deadline = TokioInstant::now() + self.dead_after() * PATIENCE;
        let mut filling = Filling::new(&self.memory);
        loop {
            let patience = deadline.min(TokioInstant::now() + self.dead_after());
            let frame = timeout_at(patience, body.frame()).await.map_err(|_| {
                Bad::Wrong(format!("it takes too long ({} bytes received)", filling.len()))
            })?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| Bad::Wrong(in_full(&error)))?;
            // Trailers say nothing that matters here.
            let Some(data) = frame.data_ref() else { continue };
            if filling.len() + data.len() > max {
                return Err(too_large());
            }
            if !filling.push(data) {
                return Err(Bad::Ours("no memory for another object".to_owned()));
            }
        }
        let body = filling.finish();
        check(kind, &body).map_err(|why| Bad::Wrong(why.to_owned()))?;
        Ok(body)
    }
}

/// Whether `bytes` can be such an object. Segments may be encrypted, so that nothing can be said of their bytes.
fn check(kind: Kind, bytes: &[u8]) -> Result<(), &'static str> {
    match kind {
        Kind::Playlist if Playlist::read(bytes).is_none() && !is_multivariant(bytes) => {
            Err("not an HLS playlist")
        }
        Kind::Rendition(_) if Playlist::read(bytes).is_none() => Err("not a media playlist"),
        Kind::Segment(_) if bytes.is_empty() => Err("it is empty"),
        _ => Ok(()),
    }
}

fn connect_timeout(origin: &Origin) -> Duration {
    if origin.scheme.is_tls() { CONNECT_TIMEOUT * 2 } else { CONNECT_TIMEOUT }
}

/// How long an origin is to wait for a stream to begin that it is asked for in turn: not at all.
fn no_wait(wanted: &Wanted) -> Option<Duration> {
    wanted.object.kind.is_playlist().then_some(Duration::ZERO)
}

enum Answer {
    Object(Fetched),
    /// Another status, and the origin's words for people.
    Other(StatusCode, String),
}

/// Why there is no answer.
enum Bad {
    /// It is this edge that cannot.
    Ours(String),
    /// There is no way to ask for it.
    Unnamed(String),
    /// The origin does not answer.
    Silent(String),
    /// The same, but it may be waiting for what it was asked for.
    Late(String),
    /// What it answers is not what was asked for.
    Wrong(String),
}

impl From<SendError> for Bad {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Silent(why) => Self::Silent(why),
            SendError::Wrong(why) => Self::Wrong(why),
        }
    }
}

fn refusal(origin: &Origin, status: StatusCode, words: &str) -> Failure {
    let why = || format!("the origin {} answered {}: {words}", origin.http, status.as_u16()).into();
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Failure::NotFound(words.into()),
        // It has too much to do.
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Failure::Away(why()),
        _ if status.is_client_error() => Failure::Refused(status, words.into()),
        // Its own origins may be away.
        _ if status.is_server_error() => Failure::Away(why()),
        _ => Failure::Broken(why()),
    }
}

/// The first line of a body that is a message for people, and whether the body was read to its end.
async fn words(response: &mut Response<Incoming>, limit: Duration) -> (String, bool) {
    let mut text = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = response.body_mut().frame().await {
            text.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if text.len() > WORDS_BYTES_MAX {
                return false;
            }
        }
        true
    };
    let is_whole = timeout(limit, read).await.unwrap_or(false);
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    (line.chars().filter(|c| !c.is_control()).take(WORDS_CHARS_MAX).collect(), is_whole)
}

/// How long a cache may answer for the origin.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let control = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    let ages = control.split(',').filter_map(|directive| directive.trim().strip_prefix("max-age="));
    ages.filter_map(|age| age.parse().ok()).map(Duration::from_secs).next()
}
