//! What accepted connections get on the API ports.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{Extension, Router, response::Response};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{io::AsyncWriteExt as _, task::yield_now, time::timeout};
use tower::ServiceExt as _;
use weir_clients::{
    client::Client,
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
            let router = self.router.clone().layer(Extension(peer));
            return self.answer(router, socket, slot).await;
        };
        charge.add(TLS_BYTES);
        let (socket, _) = socket.into_parts();
        match self.tls.handshakes().accept(socket, tls.config()).await {
            Ok(stream) => {
                let right = Certified(tls.right_of(&stream));
                let router = self.router.clone().layer(Extension(right)).layer(Extension(peer));
                self.answer(router, stream, slot).await
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
    async fn answer(&self, router: Router, socket: Stream, slot: &Arc<ConnectionSlot>) -> End {
        let answer = |request: Request<Incoming>| {
            let (router, gate, slot) = (router.clone(), &self.gate, Busy::begin(slot));
            async move {
                let call = async |request| match router.oneshot(request).await {
                    Ok(answer) => answer,
                    Err(never) => match never {},
                };
                Ok::<Response, Infallible>(gate.pass(slot, request, call).await)
            }
        };
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
        let slot = Arc::new(self.slots.take(client.peer.ip()));
        let peer = Peer::of(&client, client.peer.ip());
        let end = tokio::select! {
            // A connection that is answered at once is, however many come.
            biased;
            end = pin!(self.speak(socket, peer, &slot)) => end,
            () = last_look(&slot) => End::policy("closed to make room for another connection"),
            () = slot.overdue() => End::policy("an answer was not read in time"),
        };
        client.end(&end);
    }

    async fn refuse(self: Arc<Self>, socket: Stream, client: Client, refusal: Refusal) {
        // In plain text to whoever speaks TLS would be nonsense; nobody is refused by address here anyway.
        drop(socket);
        client.turned_away(&refusal.to_string());
    }
}
