//! Connections that have requests one after the other.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use axum::response::Response;
use bytes::BytesMut;
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::TcpStream;
use weir_clients::{
    client::{Admission, Client},
    end::{End, Kind},
    roster::{Activity, Farewell, Presence},
    wrong_secrets::WrongSecrets,
};
use weir_tls::Stream;

use super::{
    head::{self, HEAD_BYTES_MAX, HEAD_TIMEOUT},
    io::{ClientIo, SocketProgress},
};

/// How long a client may take nothing of an answer, as `play.stall_timeout` is for viewers of one stream.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Has the system end a connection whose other end stops reading in the midst of an answer for `limit`: it would hold
/// its memory for ever.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "only supported on Linux"))]
pub fn bound_stalls(socket: &TcpStream, limit: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(socket).set_tcp_user_timeout(Some(limit))?;
    Ok(())
}

/// Who is at the other end of a request's connection: the client, or a proxy.
#[derive(Clone)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// What others know of the client.
    pub presence: Arc<Presence>,
    /// What its connection takes of what there is a limit of.
    pub standing: Arc<Admission>,
    /// Whether it takes what it is sent.
    pub progress: Arc<SocketProgress>,
    /// Whether the log has said that it may not have what it asks for.
    pub was_denied: Arc<AtomicBool>,
}

impl Peer {
    /// At the other end of the connection of `client`, which has this address.
    pub fn of(client: &Client, ip: IpAddr) -> Self {
        Self {
            ip,
            presence: Arc::clone(&client.presence),
            standing: Arc::clone(&client.standing),
            progress: Arc::default(),
            was_denied: Arc::default(),
        }
    }

    /// Holds the answer to something wrong that the client at `ip` has shown back, as long as it is to be. The
    /// connection is of no further use then.
    pub async fn hold_back(&self, wrong: &WrongSecrets, ip: IpAddr, is_node: bool) {
        wrong.hold_back(&self.standing, ip, is_node).await;
    }
}

/// Serves one request after the other, as long as each of them comes in time. `prefix` has been read of the `socket`
/// already; `peer` is the address at its other end.
pub async fn serve<F>(
    answer: impl Fn(Arc<Peer>, Request<Incoming>) -> F,
    prefix: BytesMut,
    socket: Stream,
    mut client: Client,
    peer: IpAddr,
) where
    F: Future<Output = Result<Response, Infallible>>,
{
    client.fetches = true;
    let peer = Arc::new(Peer::of(&client, peer));
    let progress = Arc::clone(&peer.progress);
    let socket = ClientIo::new(prefix, socket, &progress);
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(
            TokioIo::new(socket),
            service_fn(|request| answer(Arc::clone(&peer), request)),
        );
    let (end, plays) = {
        let mut serving = pin!(serving);
        let end = async {
            tokio::select! {
                served = &mut serving => return end_of(served),
                () = client.presence.until_kicked() => return Farewell::Kicked.end(),
                end = progress.until_stalled() => return end,
                _ = client.presence.until_farewell() => {}
            }
            // The answer that is on its way is the last one.
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                served = &mut serving => end_of(served),
                () = client.presence.until_kicked() => Farewell::Kicked.end(),
                end = progress.until_stalled() => end,
            }
        };
        (end.await, client.presence.does(Activity::Play))
    };
    // Who was watching here is a viewer no more by now, and has had a line of its own in the log.
    client.is_told = plays;
    client.end(&end);
}

/// How a connection ended that had requests one after the other.
fn end_of(served: hyper::Result<()>) -> End {
    match served {
        Ok(()) => End::closed(),
        Err(error) if error.is_timeout() => head::too_late(),
        // The client went in the midst of something, or sent what is no request.
        Err(error) if error.is_parse() => End::peer(error.to_string()),
        Err(error) => End::new(Kind::Failed, error.to_string()),
    }
}
