//! The HTTP port: HTTP-FLV, HLS, pages.
//!
//! The first request of a connection is read here, so that a viewer of HTTP-FLV can be handed to a delivery shard,
//! socket and all. Every other connection goes to hyper with the bytes that were read.

mod flv;
mod head;
mod hls;
mod pages;
mod prefixed;

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use bytes::BytesMut;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use self::prefixed::Prefixed;
pub use self::{
    hls::{PLAYLIST_HEADERS, SEGMENT_HEADERS},
    pages::plain,
};
use crate::{client::Client, end::End, node::Node};

/// How long a request's head may take, as in nginx's `client_header_timeout` but for impatient times.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest request head. Browsers send 1-2 KB; cookies of other services on the same host can add some more.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long, and for how many bytes, a client that was refused may go on sending before it is cut.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const DRAIN_BYTES_MAX: usize = 2 << 20;

/// Lets pages from anywhere play: what they get is public to whoever can reach the port.
pub const ANY_ORIGIN: (&str, &str) = ("access-control-allow-origin", "*");

/// What the HTTP port serves besides the fast path of HTTP-FLV.
pub fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/", get(pages::player))
        .route("/player", get(pages::player))
        .fallback(pages::media)
        .with_state(node)
}

/// Serves a connection that has just been accepted.
pub async fn serve(node: Arc<Node>, router: Router, mut socket: TcpStream, mut client: Client) {
    let head = match head::read(&mut socket, &mut client).await {
        Ok(head) => head,
        Err(head::Failure { end, answer }) => {
            // The peer may be gone already; the log has the reason.
            let _ = socket.write_all(answer).await;
            let _ = socket.shutdown().await;
            drain(&mut socket).await;
            return client.end(&end);
        }
    };
    match flv::Request::of(&head) {
        Some(request) => flv::serve(node, socket, client, request).await,
        None => serve_with(router, Prefixed::new(head.bytes, socket), client).await,
    }
}

/// Serves a connection that nothing but `router` is for.
pub async fn serve_plain(router: Router, socket: TcpStream, client: Client) {
    serve_with(router, Prefixed::new(BytesMut::new(), socket), client).await;
}

/// Serves one request after the other, as long as each of them comes in time.
async fn serve_with(router: Router, socket: Prefixed<TcpStream>, client: Client) {
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router))
        .await;
    client.end(&match served {
        Ok(()) => End::closed(),
        Err(error) if error.is_timeout() => head::too_late(),
        Err(error) => End::peer(error.to_string()),
    });
}

/// Reads on until the client closes. A socket that is closed with unread data resets the connection, and a client that
/// is still sending its request would lose the answer to it (RFC 9112 section 9.6).
async fn drain(socket: &mut TcpStream) {
    let mut scratch = [0; 4096];
    let mut drained = 0;
    let closed = async {
        while drained < DRAIN_BYTES_MAX
            && let Ok(count @ 1..) = socket.read(&mut scratch).await
        {
            drained += count;
        }
    };
    // Who has not closed by then gets the reset.
    let _ = timeout(DRAIN_TIMEOUT, closed).await;
}
