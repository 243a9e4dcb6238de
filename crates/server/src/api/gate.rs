//! How much is done for the API's clients at a time.
//!
//! An answer may be large, and its client slow: what waits to be sent is bounded for all of them together. A call may
//! be dear, such as a list of all clients: few of them run at a time. Neither stands in the way of a probe.

use std::{
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
use http::{HeaderValue, Method, Request, StatusCode, header::RETRY_AFTER};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{answer::Failure, serve::Busy};

/// Calls that are computed at a time: with more of them the media's sessions, which have the same threads, would wait.
const CALLS: usize = 4;

/// Calls for whole clusters at a time. They wait for other nodes, and must not keep these waiting for us.
const CLUSTER_CALLS: usize = 4;

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
    room: Room,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            calls: Semaphore::new(CALLS),
            cluster_calls: Semaphore::new(CLUSTER_CALLS),
            room: Room::default(),
        }
    }
}

/// Room for bytes of answers.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ANSWER_BYTES_MAX / UNIT)))
    }
}

/// Bytes that have their room; dropping it frees it.
#[derive(Debug)]
pub struct Held(OwnedSemaphorePermit);

impl Room {
    /// Room for no bytes yet.
    pub fn nothing(&self) -> Option<Held> {
        Arc::clone(&self.0).try_acquire_many_owned(0).ok().map(Held)
    }

    /// Room for `bytes` more; false if there is none.
    pub fn add(&self, held: &mut Held, bytes: usize) -> bool {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.0).try_acquire_many_owned(units);
        more.map(|more| held.0.merge(more)).is_ok()
    }
}

/// What kind of call a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It is cheap, or bounded elsewhere, or an administrator's.
    Free,
    /// It looks at many things.
    Call,
    /// It asks other nodes.
    Cluster,
}

impl Kind {
    fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let path = uri.path().trim_end_matches('/');
        let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
        if !is_reading || matches!(path, "/healthz" | "/startupz" | "/readyz" | "/metrics") {
            return Self::Free;
        }
        // As the calls read it themselves.
        let query = Query::<Vec<(String, String)>>::try_from_uri(uri).map_or(Vec::new(), |it| it.0);
        match query.iter().any(|(key, value)| key == "scope" && value == "cluster") {
            true => Self::Cluster,
            false => Self::Call,
        }
    }
}

impl Gate {
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
        let turn = match Kind::of(&request) {
            Kind::Free => None,
            Kind::Call => Some(&self.calls),
            Kind::Cluster => Some(&self.cluster_calls),
        };
        let turn = match turn {
            None => None,
            Some(turns) => match turn_of(turns).await {
                Some(turn) => Some(turn),
                None => return busy("too many calls are under way"),
            },
        };
        let answer = call(request).await;
        drop(turn);
        self.send(way, answer).await
    }

    async fn send(&self, way: Busy, answer: Response) -> Response {
        let (head, body) = answer.into_parts();
        // Handlers have made it as a whole already.
        let Ok(body) = body.collect().await else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let bytes = body.to_bytes();
        let held = self.room.nothing().and_then(|mut held| {
            let counted = if bytes.len() > SMALL { bytes.len() } else { 0 };
            self.room.add(&mut held, counted).then_some(held)
        });
        let Some(held) = held else { return busy("other answers wait to be read") };
        way.answer(SEND_TIMEOUT + Duration::from_secs((bytes.len() / SEND_BYTES_A_SECOND) as u64));
        Response::from_parts(head, Body::new(Pieces { bytes, _held: held, _way: way }))
    }
}

async fn turn_of(turns: &Semaphore) -> Option<SemaphorePermit<'_>> {
    timeout(TURN_TIMEOUT, turns.acquire()).await.ok()?.ok()
}

fn busy(why: &str) -> Response {
    let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, format!("{why}; ask again later"));
    let mut answer = failure.into_response();
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

/// An answer in pieces, so that it has its room until its client has taken nearly all of it.
struct Pieces {
    bytes: Bytes,
    _held: Held,
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
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::api::seats::Seats;

    fn get(uri: &str) -> Request<()> {
        Request::get(uri).body(()).expect("a request")
    }

    #[test]
    fn probes_wait_for_no_call() {
        for uri in ["/healthz", "/readyz/", "/startupz?x=1", "/metrics"] {
            assert_eq!(Kind::of(&get(uri)), Kind::Free, "{uri}");
        }
        assert_eq!(Kind::of(&get("/api/v1/clients?count=9")), Kind::Call);
        for uri in ["/api/v1/clients?scope=cluster", "/api/v1/streams/?count=1&%73cope=cluste%72"] {
            assert_eq!(Kind::of(&get(uri)), Kind::Cluster, "{uri}");
        }
        let post = Request::post("/api/v1/reload").body(()).expect("a request");
        assert_eq!(Kind::of(&post), Kind::Free);
    }

    #[tokio::test]
    async fn answers_have_room_until_they_are_read() {
        let gate = Gate::default();
        let seat = Arc::new(Seats::new(4).take(IpAddr::from(Ipv4Addr::LOCALHOST)));
        let large =
            async |_: Request<()>| Body::from(vec![0; ANSWER_BYTES_MAX / 2]).into_response();
        let ask = async || gate.pass(Busy::begin(&seat), get("/api/v1/clients"), large).await;
        let (first, second) = (ask().await, ask().await);
        assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
        let third = ask().await;
        assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(third.headers().get(RETRY_AFTER).map(HeaderValue::as_bytes), Some(&b"5"[..]));
        let small = async |_: Request<()>| Body::from("ok\n").into_response();
        assert_eq!(
            gate.pass(Busy::begin(&seat), get("/healthz"), small).await.status(),
            StatusCode::OK
        );
        let read = first.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(read.len(), ANSWER_BYTES_MAX / 2);
        assert_eq!(ask().await.status(), StatusCode::OK);
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_calls_run_at_a_time_and_a_probe_is_none_of_them() {
        let gate = Gate::default();
        let seat = Arc::new(Seats::new(4).take(IpAddr::from(Ipv4Addr::LOCALHOST)));
        let stuck = |_: Request<()>| std::future::pending::<Response>();
        let mut held: Vec<_> = (0..CALLS)
            .map(|_| Box::pin(gate.pass(Busy::begin(&seat), get("/api/v1/clients"), stuck)))
            .collect();
        for call in &mut held {
            assert!(futures_util::poll!(call).is_pending());
        }
        let ok = async |_: Request<()>| StatusCode::OK.into_response();
        assert_eq!(
            gate.pass(Busy::begin(&seat), get("/readyz"), ok).await.status(),
            StatusCode::OK
        );
        let cluster = get("/api/v1/clients?scope=cluster");
        assert_eq!(gate.pass(Busy::begin(&seat), cluster, ok).await.status(), StatusCode::OK);
        let late = gate.pass(Busy::begin(&seat), get("/api/v1/clients"), ok).await;
        assert_eq!(late.status(), StatusCode::SERVICE_UNAVAILABLE);
        held.pop();
        assert_eq!(
            gate.pass(Busy::begin(&seat), get("/api/v1/clients"), ok).await.status(),
            StatusCode::OK
        );
    }
}
