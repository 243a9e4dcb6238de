//! What accepted connections get on the API ports.

use std::{convert::Infallible, future::Future, pin::pin, sync::Arc, time::Duration};

use axum::{Extension, Router, response::Response};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::AsyncWriteExt as _,
    task::yield_now,
    time::{Instant, timeout},
};
use tower::ServiceExt as _;
use weir_clients::{
    client::{Admission, Client},
    end::{End, Kind},
    listen,
    quota::Refusal,
};
use weir_media::{Charge, Use};
use weir_tls::{Stream, handshake::Failure};

use super::{
    gate::Gate,
    rights::Certified,
    slots::{Busy, ConnectionSlot, ConnectionSlots},
};
use crate::{
    http as media,
    http::{HEAD_BYTES_MAX, Peer},
    tls::Tls,
};

/// How long a client may say nothing once it is connected: it has come to ask. Long enough for a retransmission.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a TLS handshake may take, and a request's head; also how long a connection may wait for its next request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the system is asked what a client has said before its connection makes room for another one: what it is
/// asked once may be about others.
const LOOKS: usize = 2;

/// What a connection takes: buffers for reading and writing, of 8 KiB each and 16 KiB at most, what the call says, and
/// the piece of the answer that is being sent; estimates, rounded up.
const CONNECTION_BYTES: usize = 64 * 1024;

/// What TLS takes beside that, which keeps up to 64 KiB that its other end does not read.
const TLS_BYTES: usize = 64 * 1024;

/// What HTTP/2 takes beside that: the tables of both ends' header fields, 4 KiB each, the state of requests, and
/// frames.
const HTTP2_BYTES: usize = 64 * 1024;

/// Requests at a time on a connection of HTTP/2: more than a console asks at once, and few enough that a connection
/// costs what several of HTTP/1.1 do.
const STREAMS_MAX: u32 = 32;

/// Bytes of requests' bodies that a client may send before they are read: next to no call has one.
const WINDOW_BYTES: u32 = 64 * 1024;

/// Bytes of an answer that wait to be sent.
const PIECE_BYTES: usize = 64 * 1024;

/// Requests that a client may take back before they were looked at, and answers that fail: a connection on which more
/// of them wait is closed ("rapid reset", CVE-2023-44487).
const RESETS_MAX: usize = 20;

/// How often a connection of HTTP/2 is asked whether its other end is still there, and for how long an answer may be
/// missing.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a connection of HTTP/2 may be without a request: a console asks every few seconds.
const HTTP2_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection of HTTP/2 may take to end once it has to make room: what its client had asked by then crosses
/// a network meanwhile, and is answered. Those who are on their way out have places of their own ([`SEATED`]).
const GOODBYE: Duration = Duration::from_millis(500);

/// Of the connections that there may be, the part that has slots: the others are on their way out.
const SEATED: (usize, usize) = (3, 4);

/// The API, over TLS where the configuration says so.
pub struct Service {
    router: Router,
    tls: Arc<Tls>,
    gate: Arc<Gate>,
    slots: Arc<ConnectionSlots>,
}

impl Service {
    /// What `router` answers, through `gate`, on `connections` at a time.
    pub fn new(router: Router, tls: &Arc<Tls>, gate: &Arc<Gate>, connections: usize) -> Self {
        let slots = ConnectionSlots::new(connections * SEATED.0 / SEATED.1);
        Self { router, tls: Arc::clone(tls), gate: Arc::clone(gate), slots }
    }

    /// The same with other answers, on the same connections.
    pub fn beside(&self, router: Router) -> Self {
        let Self { tls, gate, slots, .. } = self;
        Self { router, tls: Arc::clone(tls), gate: Arc::clone(gate), slots: Arc::clone(slots) }
    }

    /// Answers a request that came over a connection to a port of viewers.
    pub fn call_beside(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        slot: &Arc<ConnectionSlot>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        self.call(self.router.clone(), request, peer, slot)
    }

    /// Serves a connection to its end; returns why it ended.
    async fn speak(&self, socket: Stream, peer: Peer, slot: &Arc<ConnectionSlot>) -> End {
        if let Err(error) = media::bound_stalls(socket.socket(), media::STALL_TIMEOUT) {
            return error.into();
        }
        match timeout(FIRST_BYTE_TIMEOUT, socket.socket().peek(&mut [0])).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(_)) => return End::closed(),
            Ok(Err(error)) => return error.into(),
            Err(_) => {
                let late = format!("sent nothing within {FIRST_BYTE_TIMEOUT:?}");
                return End::new(Kind::Idle, late);
            }
        }
        let mut charge = Charge::new(self.gate.room().budget(), Use::Api);
        charge.add(CONNECTION_BYTES);
        let Some(tls) = self.tls.now() else {
            return self.answer(self.router.clone(), socket, peer, slot).await;
        };
        charge.add(TLS_BYTES);
        let (socket, _) = socket.into_parts();
        match self.tls.handshakes().accept(socket, tls.config()).await {
            Ok(stream) => {
                let right = Certified(tls.right_of(&stream));
                let router = self.router.clone().layer(Extension(right));
                if media::is_http2(&stream) {
                    charge.add(HTTP2_BYTES);
                    return self.answer_many(router, stream, peer, slot).await;
                }
                self.answer(router, stream, peer, slot).await
            }
            Err(Failure::NotTls(mut socket)) => {
                // Its request is read, so that the answer is not taken back with what is unread.
                let _ = socket.try_read(&mut [0; HEAD_BYTES_MAX]);
                let _ = socket.write_all(media::NO_TLS).await;
                End::peer("speaks plain HTTP, and this port HTTPS (api.tls)")
            }
            Err(Failure::Closed) => End::closed(),
            Err(failure @ Failure::Late) => End::policy(failure.to_string()),
            Err(failure) => End::peer(failure.to_string()),
        }
    }

    /// Answers one request after the other.
    async fn answer(
        &self,
        router: Router,
        socket: Stream,
        peer: Peer,
        slot: &Arc<ConnectionSlot>,
    ) -> End {
        let answer = |request| self.call(router.clone(), request, peer.clone(), slot);
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(socket), service_fn(answer))
            .await;
        match served {
            Ok(()) => End::closed(),
            Err(error) if error.is_timeout() => {
                End::new(Kind::Idle, format!("sent no complete request within {HEAD_TIMEOUT:?}"))
            }
            // The client went in the midst of something, or sent what is no request.
            Err(error) if error.is_parse() => End::peer(error.to_string()),
            Err(error) => End::new(Kind::Failed, error.to_string()),
        }
    }

    /// Answers several requests at a time (HTTP/2), until the client goes or has to make room.
    async fn answer_many(
        &self,
        router: Router,
        socket: Stream,
        peer: Peer,
        slot: &Arc<ConnectionSlot>,
    ) -> End {
        let answer = |request| {
            // An answer that is held back holds no other one.
            let peer = Peer { standing: Arc::new(Admission::of_request()), ..peer.clone() };
            self.call(router.clone(), request, peer, slot)
        };
        let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
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
            .serve_connection(TokioIo::new(socket), service_fn(answer));
        let mut serving = pin!(serving);
        let (served, end) = tokio::select! {
            biased;
            served = &mut serving => (Some(served), End::closed()),
            () = slot.told_to_end() => {
                // Its client sends no further request once it has heard of this; what it has asked is answered.
                serving.as_mut().graceful_shutdown();
                (timeout(GOODBYE, serving).await.ok(), made_room())
            }
            () = slot.until_idle(HTTP2_IDLE_TIMEOUT) => {
                serving.as_mut().graceful_shutdown();
                (timeout(GOODBYE, serving).await.ok(), End::closed())
            }
        };
        match served {
            Some(Err(error)) => End::new(Kind::Failed, error.to_string()),
            _ => end,
        }
    }

    /// Answers a request.
    fn call(
        &self,
        router: Router,
        mut request: Request<Incoming>,
        peer: Peer,
        slot: &Arc<ConnectionSlot>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        let (gate, slot) = (Arc::clone(&self.gate), Busy::begin(slot));
        request.extensions_mut().insert(peer);
        async move {
            let call = async |request| match router.oneshot(request).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            };
            Ok(gate.pass(slot, request, call).await)
        }
    }
}

fn made_room() -> End {
    End::policy("closed to make room for another connection")
}

/// Resolves when the connection has to make room for another one, and what its client had said by then has been seen:
/// a probe that waited to be read is answered before it goes.
async fn last_look(slot: &ConnectionSlot) {
    slot.asked_to_leave().await;
    for _ in 0..LOOKS {
        // Others have their turn, and then the system is asked what has arrived.
        yield_now().await;
    }
}

impl listen::Service for Service {
    async fn serve(self: Arc<Self>, socket: Stream, client: Client) {
        let came = Instant::from_std(client.presence.since);
        let slot = Arc::new(self.slots.take(client.peer.ip(), came));
        let peer = Peer::of(&client, client.peer.ip());
        let mut speaking = pin!(self.speak(socket, peer, &slot));
        let end = tokio::select! {
            // A connection that is answered at once is, however many come.
            biased;
            end = &mut speaking => end,
            () = last_look(&slot) => match slot.tell_to_end() {
                true => speaking.await,
                false => made_room(),
            },
            end = slot.until_overdue() => end,
        };
        client.end(&end);
    }

    async fn refuse(self: Arc<Self>, socket: Stream, client: Client, refusal: Refusal) {
        // In plain text to whoever speaks TLS would be nonsense; nobody is refused by address here anyway.
        drop(socket);
        client.turned_away(&refusal.to_string());
    }
}
