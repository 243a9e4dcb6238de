//! HTTP/2: connections with many requests at a time.
//!
//! hyper answers each request in a task of its own. What the rest of the server takes for granted of a connection is
//! true of each request here: who it counts for, whether its answer is held back, whether its client takes what it is
//! sent. A client that is asked to leave leaves with the connection, except for viewers of HTTP-FLV, each of whom is
//! known to others as a client of its own.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{MissedTickBehavior, interval};
use weir_clients::{
    client::{Admission, Client, next_id},
    end::{End, Kind},
    roster::{Farewell, Roster, RosterEntry},
};
use weir_tls::Stream;

use super::{
    beside::{Guest, until_overdue},
    head::HEAD_BYTES_MAX,
    io::{ClientIo, SocketProgress},
    peer::Peer,
};

/// Requests at a time on one connection: what RFC 9113 section 6.5.2 recommends at least, and more than a page has.
const STREAMS_MAX: u32 = 100;

/// Bytes of requests' bodies that a client may send before they are read: next to no request has one.
const WINDOW_BYTES: u32 = 64 * 1024;

/// Bytes of an answer that wait to be sent, and that a client has to take at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// Requests that a client may take back before they were looked at, and answers that fail: a connection on which more
/// of them wait is closed ("rapid reset", CVE-2023-44487).
const RESETS_MAX: usize = 20;

/// How long a connection may be without a request, between those of a player that has buffered some segments.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a connection may take to end once it has been told to.
const GOODBYE: Duration = Duration::from_secs(10);

/// How often it is asked whether the other end is still there, and for how long an answer may be missing.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is looked who takes nothing.
const LOOK: Duration = Duration::from_secs(1);

/// What a connection takes beside what HTTP/1.1 does: the tables of both ends' header fields, 4 KiB each, and the state
/// of its requests.
pub const CONNECTION_BYTES: usize = 64 * 1024;

/// Whether `socket` has agreed to speak HTTP/2.
pub fn is_spoken(socket: &Stream) -> bool {
    socket.session().is_some_and(|session| session.state().alpn_protocol() == Some(b"h2"))
}

/// Serves a connection to its end, which may be that of a `guest`. Requests that are for a stream (`is_stream`) are of
/// a viewer each. A client may take nothing of an answer for `stall`.
pub async fn serve<F>(
    answer: impl Fn(Arc<Peer>, Request<Incoming>) -> F + Clone,
    is_stream: impl Fn(&Request<Incoming>) -> bool,
    roster: &Arc<Roster>,
    socket: Stream,
    mut client: Client,
    stall: Duration,
    guest: Option<&Guest>,
) where
    F: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    client.fetches = true;
    let connection = Arc::new(Connection {
        peer: Peer::of(&client, client.peer.ip()),
        protocol: client.protocol,
        roster: Arc::clone(roster),
        answers: Mutex::default(),
        next: AtomicU64::new(0),
    });
    let progress = Arc::clone(&connection.peer.progress);
    let socket = ClientIo::new(Default::default(), socket, &progress);
    let of = Arc::clone(&connection);
    let service = service_fn(move |request: Request<Incoming>| {
        let (answered, peer) = of.begin(is_stream(&request));
        let answering = answer(peer, request);
        async move {
            let answer = answering.await?;
            Ok::<_, Infallible>(answer.map(|body| Taken::new(body, answered)))
        }
    });
    let serving = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(PIECE_BYTES)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service);
    let end = {
        let mut serving = pin!(serving);
        let mut overdue = pin!(until_overdue(guest));
        let watched = async {
            tokio::select! {
                served = &mut serving => return end_of(served),
                () = client.presence.until_kicked() => return Farewell::Kicked.end(),
                end = connection.until_stalled(stall, &progress) => return end,
                end = &mut overdue => return end,
                _ = client.presence.until_farewell() => {}
                () = connection.until_idle() => {}
            }
            // What is on its way comes to its end, if that is not long.
            serving.as_mut().graceful_shutdown();
            let last = connection.until_stalled(stall, &progress);
            tokio::select! {
                served = &mut serving => end_of(served),
                () = client.presence.until_kicked() => Farewell::Kicked.end(),
                end = last => end,
                end = &mut overdue => end,
                () = connection.until_silent(GOODBYE) => End::closed(),
            }
        };
        watched.await
    };
    client.end(&end);
}

fn end_of(served: hyper::Result<()>) -> End {
    match served {
        Ok(()) => End::closed(),
        Err(error) if error.is_timeout() => {
            End::new(Kind::Idle, format!("did not answer a ping within {PING_TIMEOUT:?}"))
        }
        Err(error) => End::new(Kind::Failed, error.to_string()),
    }
}

/// What the requests of a connection have in common.
struct Connection {
    peer: Peer,
    protocol: &'static str,
    roster: Arc<Roster>,
    answers: Mutex<Answers>,
    next: AtomicU64,
}

/// The answers that are not over.
#[derive(Debug, Default)]
struct Answers {
    /// Since when the client has not taken what there was of it; none while it is we who are waited for.
    waiting: BTreeMap<u64, Option<Instant>>,
    /// When the last one was over.
    last: Option<Instant>,
}

impl Connection {
    /// A request begins: what is known of it until its answer has been taken, and who asks.
    fn begin(self: &Arc<Self>, is_stream: bool) -> (Answered, Arc<Peer>) {
        let number = self.next.fetch_add(1, Relaxed);
        self.answers().waiting.insert(number, None);
        let mut peer = Peer { standing: Arc::new(Admission::of_request()), ..self.peer.clone() };
        let entry = is_stream.then(|| {
            let address = self.peer.presence.doing().peer;
            let entry = self.roster.enlist(next_id(), self.protocol, address);
            let tls = self.peer.presence.doing().tls;
            entry.note(|doing| doing.tls = tls);
            peer.presence = Arc::clone(&entry);
            entry
        });
        (Answered { of: Arc::clone(self), number, _entry: entry }, Arc::new(peer))
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when an answer has not been taken for as long as `limit`, or the socket has taken nothing for so long.
    async fn until_stalled(&self, limit: Duration, progress: &SocketProgress) -> End {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                end = progress.until_stalled() => return end,
            }
            let oldest = self.answers().waiting.values().flatten().min().copied();
            if oldest.is_some_and(|since| since.elapsed() >= limit) {
                return progress.stall(limit);
            }
        }
    }

    /// Resolves when there has been no request for too long.
    async fn until_idle(&self) {
        self.until_silent(IDLE_TIMEOUT).await;
    }

    /// Resolves when no request has been under way for `time`.
    async fn until_silent(&self, time: Duration) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let began = Instant::now();
        loop {
            tick.tick().await;
            let answers = self.answers();
            let since = answers.last.map_or(began, |last| last.max(began));
            if answers.waiting.is_empty() && since.elapsed() >= time {
                return;
            }
        }
    }
}

/// One request, until its answer has been taken or given up.
struct Answered {
    of: Arc<Connection>,
    number: u64,
    /// Of a viewer of HTTP-FLV.
    _entry: Option<RosterEntry>,
}

impl Answered {
    fn waits(&self, since: Option<Instant>) {
        if let Some(waiting) = self.of.answers().waiting.get_mut(&self.number) {
            *waiting = since;
        }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        let mut answers = self.of.answers();
        answers.waiting.remove(&self.number);
        answers.last = Some(Instant::now());
    }
}

/// The body of an answer, in pieces: what asks for the next one has room for it.
struct Taken {
    body: Body,
    rest: Bytes,
    answered: Answered,
}

impl Taken {
    fn new(body: Body, answered: Answered) -> Self {
        Self { body, rest: Bytes::new(), answered }
    }
}

impl HttpBody for Taken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Poll::Ready(other) => return Poll::Ready(other),
                Poll::Pending => {
                    self.answered.waits(None);
                    return Poll::Pending;
                }
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        self.answered.waits(Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, inner) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(inner.lower() + rest);
        hint
    }
}
