//! How much is done for the API's clients at a time.
//!
//! An answer may be large, and its client slow: what waits to be sent is bounded for all of them together. A call may
//! be dear, such as a list of all clients: few of them run at a time. Neither stands in the way of a probe.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::Query,
    response::{IntoResponse as _, Response},
};
use http::{Method, Request, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};
use weir_media::{Budget, Charge, Use};

use super::{answer::Failure, slots::Busy};

/// Calls that are computed at a time: with more of them the media's sessions, which have the same threads, would wait.
const CALLS: usize = 4;

/// Calls for whole clusters at a time. They wait for other nodes, and must not keep these waiting for us.
const CLUSTER_CALLS: usize = 4;

/// Calls that wait for news at a time: each is a page that somebody looks at.
const POLLS: usize = 64;

/// Pictures that are made at a time: each may wait for a picture of its stream.
const STILLS: usize = 4;

/// How long a call may wait for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of answers that are gathered, or wait to be sent: ten lists of ten thousand clients.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Answers are counted in units of this many bytes.
const UNIT: usize = 1024;

/// Shorter answers, as those of probes and refusals, are not counted: there are no more of them than connections.
const SMALL: usize = 4 * UNIT;

/// What the connection is given at a time.
const PIECE_BYTES: usize = 16 * 1024;

/// How long an answer may take to be taken by its client: this, and a second for each so many bytes.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
const SEND_BYTES_A_SECOND: usize = 256 << 10;

/// The bounds of one process.
#[derive(Debug)]
pub struct Gate {
    calls: Semaphore,
    cluster_calls: Semaphore,
    polls: Semaphore,
    stills: Semaphore,
    room: Room,
}

/// Room for bytes of answers.
#[derive(Clone, Debug)]
pub struct Room {
    units: Arc<Semaphore>,
    budget: Budget,
}

/// Bytes that have their room; dropping it frees it.
#[derive(Debug)]
pub struct Held {
    units: Option<OwnedSemaphorePermit>,
    charge: Charge,
}

impl Room {
    /// As much as there is for answers, and `budget` has left.
    pub fn new(budget: &Budget) -> Self {
        let units = Arc::new(Semaphore::new(ANSWER_BYTES_MAX / UNIT));
        Self { units, budget: budget.clone() }
    }

    /// What everything of the API counts against.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Room for no bytes yet.
    pub fn nothing(&self) -> Held {
        Held { units: None, charge: Charge::new(&self.budget, Use::Api) }
    }

    /// Room for `bytes`.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(&self, bytes: usize) -> Result<Held, Failure> {
        let mut held = self.nothing();
        if self.add(&mut held, bytes) { Ok(held) } else { Err(no_room()) }
    }

    /// Room for `bytes` more; false if there is none.
    pub fn add(&self, held: &mut Held, bytes: usize) -> bool {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.units).try_acquire_many_owned(units) else { return false };
        if held.charge.grow(bytes).is_err() {
            return false;
        }
        match &mut held.units {
            Some(units) => units.merge(more),
            None => held.units = Some(more),
        }
        true
    }

    /// A text that is going to be written, for which there is no room yet.
    pub fn text(&self) -> Text {
        // What is short needs none.
        Text { room: self.clone(), held: self.nothing(), bytes: Vec::with_capacity(SMALL) }
    }
}

/// A text that is written as far as there is room for it, which is taken before it is used.
#[derive(Debug)]
pub struct Text {
    room: Room,
    held: Held,
    bytes: Vec<u8>,
}

impl Text {
    /// What has been written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes room for `bytes` more, and for as much as there is already.
    #[cold]
    fn grow(&mut self, bytes: usize) -> io::Result<()> {
        let more = bytes.max(self.bytes.capacity());
        if !self.room.add(&mut self.held, more) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.reserve_exact(more);
        Ok(())
    }

    /// What has been written, and its room.
    pub fn into_parts(self) -> (Vec<u8>, Held) {
        (self.bytes, self.held)
    }
}

impl io::Write for Text {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.write_all(piece)?;
        Ok(piece.len())
    }

    // An answer comes in thousands of pieces of a few bytes.
    #[inline]
    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.bytes.capacity() - self.bytes.len() < piece.len() {
            self.grow(piece.len())?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What kind of call a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It is cheap, or bounded elsewhere, or an administrator's.
    Free,
    /// The page of metrics, of which there are few, which bound themselves.
    Metrics,
    /// It looks at many things.
    Call,
    /// It asks other nodes.
    Cluster,
    /// It waits for news.
    Poll,
    /// It waits for a picture.
    Still,
}

impl Kind {
    fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let path = uri.path().trim_end_matches('/');
        let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
        if !is_reading || matches!(path, "/healthz" | "/startupz" | "/readyz") {
            return Self::Free;
        }
        if path == "/metrics" {
            return Self::Metrics;
        }
        // As the calls read it themselves.
        let query = Query::<Vec<(String, String)>>::try_from_uri(uri).map_or(Vec::new(), |it| it.0);
        match query.iter().any(|(key, value)| key == "scope" && value == "cluster") {
            true => Self::Cluster,
            false if matches!(path, "/api/v1/events" | "/api/v1/wall") => Self::Poll,
            false if path.starts_with("/api/v1/streams/") && path.ends_with("/still") => {
                Self::Still
            }
            false if !path.starts_with("/api/") => Self::Free,
            false => Self::Call,
        }
    }
}

impl Gate {
    /// What it lets through counts against `budget`.
    pub fn new(budget: &Budget) -> Self {
        Self {
            calls: Semaphore::new(CALLS),
            cluster_calls: Semaphore::new(CLUSTER_CALLS),
            polls: Semaphore::new(POLLS),
            stills: Semaphore::new(STILLS),
            room: Room::new(budget),
        }
    }

    /// The room for answers.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// What `call` answers to `request`, once it is its turn. `way` is its way, until the answer is sent.
    pub async fn pass<B, F>(
        &self,
        way: Busy,
        request: Request<B>,
        call: impl FnOnce(Request<B>) -> F,
    ) -> Response
    where
        F: Future<Output = Response>,
    {
        let kind = Kind::of(&request);
        let turn = match kind {
            Kind::Free | Kind::Metrics => None,
            Kind::Call => Some(&self.calls),
            Kind::Cluster => Some(&self.cluster_calls),
            Kind::Poll => Some(&self.polls),
            Kind::Still => Some(&self.stills),
        };
        let turn = match turn {
            None => None,
            Some(turns) => match turn_of(turns).await {
                Some(turn) => Some(turn),
                None => return busy("too many calls in progress").into_response(),
            },
        };
        let answer = call(request).await;
        drop(turn);
        self.send(way, answer, kind == Kind::Metrics).await
    }

    /// Sends an answer, which has its room already if it says so or `has_room`.
    async fn send(&self, way: Busy, answer: Response, has_room: bool) -> Response {
        let (mut head, body) = answer.into_parts();
        let held = head.extensions.remove::<Arc<Held>>();
        // Handlers have made it as a whole already.
        let Ok(body) = body.collect().await else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let bytes = body.to_bytes();
        let counted = if has_room || bytes.len() <= SMALL { 0 } else { bytes.len() };
        let held = match held {
            Some(held) => held,
            None => match self.room.take(counted) {
                Ok(held) => Arc::new(held),
                Err(failure) => return failure.into_response(),
            },
        };
        way.answer(SEND_TIMEOUT + Duration::from_secs((bytes.len() / SEND_BYTES_A_SECOND) as u64));
        Response::from_parts(head, Body::new(Pieces { bytes, _held: held, _way: way }))
    }
}

async fn turn_of(turns: &Semaphore) -> Option<SemaphorePermit<'_>> {
    timeout(TURN_TIMEOUT, turns.acquire()).await.ok()?.ok()
}

/// There is no room for an answer.
pub fn no_room() -> Failure {
    busy("no memory for this answer (limits.memory), or too many others are still being read")
}

fn busy(why: &str) -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, format!("{why}; retry later"))
}

/// An answer in pieces, so that it has its room until its client has taken nearly all of it.
struct Pieces {
    bytes: Bytes,
    _held: Arc<Held>,
    _way: Busy,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let piece = PIECE_BYTES.min(self.bytes.len());
        Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{IpAddr, Ipv4Addr},
    };

    use http::{HeaderValue, header::RETRY_AFTER};
    use tokio::time::Instant;

    use super::*;
    use crate::api::slots::ConnectionSlots;

    fn get(uri: &str) -> Request<()> {
        Request::get(uri).body(()).expect("a request")
    }

    #[test]
    fn probes_wait_for_no_call() {
        for uri in ["/healthz", "/readyz/", "/startupz?x=1"] {
            assert_eq!(Kind::of(&get(uri)), Kind::Free, "{uri}");
        }
        assert_eq!(Kind::of(&get("/metrics/?x=1")), Kind::Metrics);
        assert_eq!(Kind::of(&get("/api/v1/clients?count=9")), Kind::Call);
        for uri in ["/api/v1/clients?scope=cluster", "/api/v1/streams/?count=1&%73cope=cluste%72"] {
            assert_eq!(Kind::of(&get(uri)), Kind::Cluster, "{uri}");
        }
        let post = Request::post("/api/v1/reload").body(()).expect("a request");
        assert_eq!(Kind::of(&post), Kind::Free);
    }

    #[tokio::test]
    async fn answers_have_room_until_they_are_read() {
        let gate = Gate::new(&Budget::unlimited());
        let slot = Arc::new(
            ConnectionSlots::new(4).take(IpAddr::from(Ipv4Addr::LOCALHOST), Instant::now()),
        );
        let large =
            async |_: Request<()>| Body::from(vec![0; ANSWER_BYTES_MAX / 2]).into_response();
        let ask = async || gate.pass(Busy::begin(&slot), get("/api/v1/clients"), large).await;
        let (first, second) = (ask().await, ask().await);
        assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
        let third = ask().await;
        assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(third.headers().get(RETRY_AFTER).map(HeaderValue::as_bytes), Some(&b"5"[..]));
        let small = async |_: Request<()>| Body::from("ok\n").into_response();
        assert_eq!(
            gate.pass(Busy::begin(&slot), get("/healthz"), small).await.status(),
            StatusCode::OK
        );
        let read = first.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(read.len(), ANSWER_BYTES_MAX / 2);
        assert_eq!(ask().await.status(), StatusCode::OK);
        drop(second);
    }

    #[test]
    fn a_text_has_its_room_before_it_is_written() {
        let budget = Budget::new(16 << 20);
        let room = Room::new(&budget);
        let mut text = room.text();
        let line = [b'x'; 1000];
        let written = (0..100_000).take_while(|_| text.write_all(&line).is_ok()).count();
        let most = budget.most_for_one(Use::Api);
        assert!(written * line.len() <= most, "{written} lines");
        assert!(written * line.len() > most / 4, "{written} lines");
        assert!(text.bytes.capacity() <= budget.used_for(Use::Api) + SMALL);
        let (bytes, held) = text.into_parts();
        assert_eq!(bytes.len(), written * line.len());
        drop(held);
        assert_eq!(budget.used(), 0);
        room.text().write_all(&line).expect("what is short has room");
        let other = Room::new(&Budget::unlimited());
        let all = other.take(ANSWER_BYTES_MAX).expect("room for one");
        assert!(other.take(UNIT).is_err());
        other.text().write_all(&line).expect("what is short needs none");
        drop(all);
        assert!(other.take(UNIT).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_calls_run_at_a_time_and_a_probe_is_none_of_them() {
        let gate = Gate::new(&Budget::unlimited());
        let slot = Arc::new(
            ConnectionSlots::new(4).take(IpAddr::from(Ipv4Addr::LOCALHOST), Instant::now()),
        );
        let stuck = |_: Request<()>| std::future::pending::<Response>();
        let mut held: Vec<_> = (0..CALLS)
            .map(|_| Box::pin(gate.pass(Busy::begin(&slot), get("/api/v1/clients"), stuck)))
            .collect();
        for call in &mut held {
            assert!(futures_util::poll!(call).is_pending());
        }
        let ok = async |_: Request<()>| StatusCode::OK.into_response();
        assert_eq!(
            gate.pass(Busy::begin(&slot), get("/readyz"), ok).await.status(),
            StatusCode::OK
        );
        let cluster = get("/api/v1/clients?scope=cluster");
        assert_eq!(gate.pass(Busy::begin(&slot), cluster, ok).await.status(), StatusCode::OK);
        let late = gate.pass(Busy::begin(&slot), get("/api/v1/clients"), ok).await;
        assert_eq!(late.status(), StatusCode::SERVICE_UNAVAILABLE);
        held.pop();
        assert_eq!(
            gate.pass(Busy::begin(&slot), get("/api/v1/clients"), ok).await.status(),
            StatusCode::OK
        );
    }
}
