//! Connections that have requests one after the other.

use std::{convert::Infallible, io, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use axum::response::Response;
use bytes::BytesMut;
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::TcpStream;
use weir_clients::{
    client::Client,
    end::{End, Kind},
    roster::{Activity, Farewell},
};
use weir_tls::Stream;

use super::{
    beside::{Guest, until_overdue},
    head::{self, HEAD_BYTES_MAX, HEAD_TIMEOUT},
    io::ClientIo,
    kept,
    peer::Peer,
};
use crate::node::Node;

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

/// Serves one request after the other, as long as each of them comes in time. `prefix` has been read of the `socket`
/// already; `peer` is the address at its other end, and what is known of a guest.
pub async fn serve<F>(
    node: &Arc<Node>,
    answer: impl Fn(Arc<Peer>, Request<Incoming>) -> F,
    prefix: BytesMut,
    socket: Stream,
    mut client: Client,
    (peer, guest): (IpAddr, Option<Guest>),
) where
    F: Future<Output = Result<Response, Infallible>>,
{
    client.fetches = true;
    let peer = Arc::new(Peer::of(&client, peer));
    let progress = Arc::clone(&peer.progress);
    let mut socket = ClientIo::new(prefix, socket, &progress);
    if let Err(end) = kept::serve(node, &peer, guest.as_ref(), &mut socket).await {
        return client.end(&end);
    }
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
        let mut overdue = pin!(until_overdue(guest.as_ref()));
        let end = async {
            tokio::select! {
                served = &mut serving => return end_of(served),
                () = client.presence.until_kicked() => return Farewell::Kicked.end(),
                end = progress.until_stalled() => return end,
                end = &mut overdue => return end,
                _ = client.presence.until_farewell() => {}
            }
            // The answer that is on its way is the last one.
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                served = &mut serving => end_of(served),
                () = client.presence.until_kicked() => Farewell::Kicked.end(),
                end = progress.until_stalled() => end,
                end = &mut overdue => end,
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
