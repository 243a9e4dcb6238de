//! The HTTP port: HTTP-FLV, HLS, pages.
//!
//! The first request of a connection is read here, so that a viewer of HTTP-FLV can be handed to a delivery shard,
//! socket and all. Every other connection goes to hyper with the bytes that were read.

mod conditional;
mod flow;
mod flv;
mod forwarded;
mod head;
mod hls;
mod late;
mod pages;
mod prefixed;
mod room;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use axum::{Router, middleware::from_fn_with_state, routing::get};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tower::ServiceExt as _;
use weir_clients::{
    SERVER,
    client::{Admission, Client},
    counts::Refused,
    end::{End, Kind},
    listen,
    quota::{RETRY_AFTER, Refusal},
    roster::{Activity, Farewell, Presence},
    wrong_secrets::WrongSecrets,
};
use weir_config::Config;
use weir_media::Spent;

use self::flow::{ProgressIo, SocketProgress};
pub use self::prefixed::Prefixed;
use crate::node::Node;

/// How long a request's head may take, as in nginx's `client_header_timeout` but for impatient times.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest request head. Browsers send 1-2 KB; cookies of other services on the same host can add some more.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long a client may take nothing of an answer, as `play.stall_timeout` is for viewers of one stream.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a client gets whose request there is no memory for, where there is no other answer yet.
const NO_MEMORY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
    Content-Length: 0\r\n\r\n";

/// How long, and for how many bytes, a client that was refused may go on sending before it is cut.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const DRAIN_BYTES_MAX: usize = 2 << 20;

/// Lets pages from anywhere play: what they get is public to whoever can reach the port.
pub const ANY_ORIGIN: (&str, &str) = ("access-control-allow-origin", "*");

/// What the HTTP port serves besides the fast path of HTTP-FLV.
fn router(node: Arc<Node>, shown: Option<&'static str>) -> Router {
    let first = match shown {
        Some(stream) => get(async move || pages::leads_to(stream)),
        None => get(pages::player),
    };
    Router::new()
        .route("/", first)
        .route("/player", get(pages::player))
        .fallback(pages::media)
        .layer(from_fn_with_state(Arc::clone(&node), pages::count))
        .layer(from_fn_with_state(Arc::clone(&node), room::taken))
        .with_state(node)
}

/// What accepted connections get on the HTTP ports.
pub struct Media {
    node: Arc<Node>,
    router: Router,
}

impl Media {
    /// The streams of `node`; the first page leads to that which is `shown`.
    /// Else it leads to none: names of streams may be known to few.
    pub fn new(node: &Arc<Node>, shown: Option<&'static str>) -> Self {
        Self { node: Arc::clone(node), router: router(Arc::clone(node), shown) }
    }
}

impl listen::Service for Media {
    async fn serve(self: Arc<Self>, socket: TcpStream, client: Client) {
        serve(Arc::clone(&self.node), self.router.clone(), socket, client).await;
    }

    async fn refuse(self: Arc<Self>, socket: TcpStream, client: Client, refusal: Refusal) {
        refuse(socket, client, refusal).await;
    }
}

/// Serves a connection that has just been accepted.
async fn serve(node: Arc<Node>, router: Router, mut socket: TcpStream, mut client: Client) {
    let budget = node.streams.registry.budget();
    let head = match head::read(&mut socket, &mut client, budget).await {
        Ok(head) => head,
        Err(failure) => return fail(socket, client, failure).await,
    };
    let peer = client.peer.ip();
    let config = node.config();
    let trusted = &config.http.trusted_proxies;
    if let Some(ip) = forwarded::client(trusted, peer, std::iter::once(&*head.forwarded)) {
        // The proxy's port says nothing of the client's.
        client.is_at(SocketAddr::new(ip, 0));
        if let Err(refusal) = client.standing.count(&node.clients.quotas, ip) {
            Refused::from(&refusal).count();
            let _ = socket.write_all(refusal_answer(&refusal, false).as_bytes()).await;
            let _ = socket.shutdown().await;
            drain(&mut socket).await;
            return client.end(&End::new(Kind::Limit, refusal.to_string()));
        }
    }
    let request = match flv::Request::of(&head, budget) {
        Ok(request) => request,
        Err(spent) => return fail(socket, client, head::no_memory(&spent)).await,
    };
    if let Some(request) = request {
        // It waits for its stream without the head that it came in.
        drop((head, config));
        return flv::serve(node, socket, client, request).await;
    }
    let Some(room) = room::of_connection(budget) else {
        return fail(socket, client, head::no_memory(&Spent)).await;
    };
    match bound_stalls(&socket, stall_timeout(&config)) {
        Ok(()) => {
            let socket = Prefixed::new(head.bytes, socket);
            // Its room is that of the connection from now on.
            drop((head.charge, config));
            serve_with(router, socket, client, peer).await;
            drop(room);
        }
        Err(error) => client.end(&error.into()),
    }
}

/// Ends a connection without a request that could be answered otherwise.
async fn fail(mut socket: TcpStream, client: Client, failure: head::Failure) {
    // The peer may be gone already; the log has the reason.
    let _ = socket.write_all(failure.answer).await;
    let _ = socket.shutdown().await;
    drain(&mut socket).await;
    client.end(&failure.end);
}

/// How long the system lets a client take nothing: a viewer of HTTP-FLV may do so for longer than others.
fn stall_timeout(config: &Config) -> Duration {
    let of_vhosts = config.vhosts.values().filter_map(|vhost| vhost.play.stall_timeout);
    of_vhosts.fold(STALL_TIMEOUT.max(config.play.stall_timeout), Duration::max)
}

/// Has the system end a connection whose other end stops reading in the midst of an answer for `limit`: it would hold
/// its memory for ever.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "only supported on Linux"))]
pub fn bound_stalls(socket: &TcpStream, limit: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(socket).set_tcp_user_timeout(Some(limit))?;
    Ok(())
}

/// Refuses a connection that has just been accepted, whatever it wants.
async fn refuse(mut socket: TcpStream, client: Client, refusal: Refusal) {
    // The peer may be gone already; whoever refused it has said so in the log.
    let _ = socket.write_all(refusal_answer(&refusal, false).as_bytes()).await;
    let _ = socket.shutdown().await;
    drain(&mut socket).await;
    client.turned_away(&refusal.to_string());
}

/// Who is at the other end of a request's connection: the client, or a proxy.
#[derive(Clone)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    presence: Arc<Presence>,
    standing: Arc<Admission>,
    flow: Arc<SocketProgress>,
    /// Whether the log has said that it may not have what it asks for.
    was_denied: Arc<AtomicBool>,
}

impl Peer {
    /// At the other end of the connection of `client`, which has this address.
    pub fn of(client: &Client, ip: IpAddr) -> Self {
        Self {
            ip,
            presence: Arc::clone(&client.presence),
            standing: Arc::clone(&client.standing),
            flow: Arc::default(),
            was_denied: Arc::default(),
        }
    }

    /// What others know of the client.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Holds the answer to something wrong that the client at `ip` has shown back, as long as it is to be. The
    /// connection is of no further use then.
    pub async fn hold_back(&self, wrong: &WrongSecrets, ip: IpAddr, is_node: bool) {
        if is_node {
            tokio::time::sleep(wrong.wait_of_node(ip, std::time::Instant::now())).await;
        } else if let Some(wait) = wrong.wait(ip, std::time::Instant::now()) {
            self.standing.step_aside(wait.place);
            tokio::time::sleep(wait.time).await;
        }
    }
}

/// Serves one request after the other, as long as each of them comes in time.
pub async fn serve_with<S>(router: Router, socket: S, mut client: Client, peer: IpAddr)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    client.fetches = true;
    let peer = Peer::of(&client, peer);
    let flow = Arc::clone(&peer.flow);
    let socket = ProgressIo::new(socket, &flow);
    let router = router.map_request(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router));
    let (end, plays) = {
        let mut serving = pin!(serving);
        let end = async {
            tokio::select! {
                served = &mut serving => return end_of(served),
                () = client.presence.until_kicked() => return Farewell::Kicked.end(),
                end = flow.until_stalled() => return end,
                _ = client.presence.until_farewell() => {}
            }
            // The answer that is on its way is the last one.
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                served = &mut serving => end_of(served),
                () = client.presence.until_kicked() => Farewell::Kicked.end(),
                end = flow.until_stalled() => end,
            }
        };
        (end.await, client.presence.does(Activity::Play))
    };
    // Who was watching here is a viewer no more by now, and has had a line of its own in the log.
    client.is_told = plays;
    if let Some((activity, stream)) = client.presence.doing().asks {
        (client.role, client.stream) = (activity, Some(stream));
    }
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

/// What a client is told that is refused for now.
fn refusal_answer(refusal: &Refusal, is_head: bool) -> String {
    let retry = format!("Retry-After: {}\r\n", RETRY_AFTER.as_secs());
    answer("503 Service Unavailable", &refusal.to_string(), &retry, is_head)
}

/// The answer to the last request of a connection that hyper does not have: a sentence for people.
fn answer(status: &str, reason: &str, fields: &str, is_head: bool) -> String {
    let body = if is_head { "" } else { reason };
    format!(
        "HTTP/1.1 {status}\r\nServer: {SERVER}\r\n\
         Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
         {}: {}\r\n{fields}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        ANY_ORIGIN.0,
        ANY_ORIGIN.1,
        reason.len()
    )
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
