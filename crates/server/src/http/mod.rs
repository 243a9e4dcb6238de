//! The HTTP port: streams as files without an end, HLS, pages.
//!
//! The first request of a connection is read here, so that a viewer of a stream can be handed to a delivery shard,
//! socket and all. Every other connection goes to hyper with the bytes that were read.

mod answer;
mod beside;
mod conditional;
mod forwarded;
mod h2;
mod head;
mod hls;
mod io;
mod kept;
mod late;
mod live;
mod media;
mod mount;
mod multitrack;
pub mod pages;
mod peer;
mod room;
mod route;
mod serve;
mod still;
mod websocket;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    response::Response,
    routing::{any, get},
};
use http::Request;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tower::ServiceExt as _;
use weir_clients::{
    client::Client,
    counts::Refused,
    end::{End, Kind},
    listen,
    quota::Refusal,
};
use weir_config::Config;
use weir_media::Spent;
use weir_tls::Stream;

use self::beside::Guest;
pub use self::{
    beside::{Answering, Beside, Calls},
    h2::is_spoken as is_http2,
    head::HEAD_BYTES_MAX,
    peer::Peer,
    serve::{STALL_TIMEOUT, bound_stalls},
};
use crate::node::Node;

/// How long, and for how many bytes, a client that was refused may go on sending before it is cut.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const DRAIN_BYTES_MAX: usize = 2 << 20;

/// What a client gets that speaks HTTP at a port for HTTPS.
pub const NO_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 23\r\n\r\n\
    this port speaks HTTPS\n";

/// What has a path of its own; all other paths are those of streams.
const PAGES: [&str; 3] = ["/", "/player", "/multitrack"];

/// What the HTTP port serves besides the first request for a stream.
#[derive(Clone)]
struct Site {
    node: Arc<Node>,
    pages: Router,
    beside: Option<Arc<dyn Beside>>,
}

impl Site {
    fn new(node: &Arc<Node>, shown: Option<&'static str>) -> Self {
        let first = match shown {
            Some(stream) => get(async move || pages::leads_to(stream)),
            None => get(pages::first),
        };
        let [root, player, multitrack] = PAGES;
        let pages = Router::new()
            .route(root, first)
            .route(player, get(pages::player))
            .route("/player/{*file}", get(pages::file))
            .route(multitrack, any(multitrack::multitrack))
            .with_state(Arc::clone(node));
        Self { node: Arc::clone(node), pages, beside: None }
    }

    /// What is known of a connection from `ip` that may be for what is beside streams.
    fn guest(&self, ip: IpAddr) -> Option<Guest> {
        self.beside.as_ref().map(|beside| Guest::new(beside, &self.node, ip))
    }

    /// Answers a request that came over the connection of `peer`. Files of streams are asked for so often that they do
    /// not go through a router, which costs more than they do.
    async fn answer(
        &self,
        guest: Option<Guest>,
        peer: Arc<Peer>,
        request: http::Request<Incoming>,
    ) -> Response {
        let room = match room::of_request(&self.node, &request) {
            Ok(room) => room,
            Err(spent) => return answer::no_room(&spent.to_string()),
        };
        if let Some(refusal) = media::count(&self.node, &peer, request.headers()) {
            return refusal;
        }
        let path = request.uri().path();
        let answer = if let Some(guest) = guest.filter(|guest| guest.takes(path)) {
            guest.answer(&self.node, peer, request).await
        } else if PAGES.contains(&path) || pages::is_file(path) {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer::clone(&peer));
            let Ok(answer) = self.pages.clone().oneshot(request).await;
            answer
        } else {
            media::media(&self.node, peer, request).await
        };
        drop(room);
        answer
    }
}

/// What accepted connections get on the HTTP ports.
pub struct Media {
    node: Arc<Node>,
    site: Site,
}

impl Media {
    /// The streams of `node`; the first page leads to that which is `shown`.
    /// Else it leads to none: names of streams may be known to few.
    pub fn new(node: &Arc<Node>, shown: Option<&'static str>) -> Self {
        Self { node: Arc::clone(node), site: Site::new(node, shown) }
    }

    /// The same on ports where `beside` is served as well.
    pub fn beside(&self, beside: &Arc<dyn Beside>) -> Self {
        let site = Site { beside: Some(Arc::clone(beside)), ..self.site.clone() };
        Self { node: Arc::clone(&self.node), site }
    }
}

impl listen::Service for Media {
    async fn serve(self: Arc<Self>, socket: Stream, client: Client) {
        serve(Arc::clone(&self.node), self.site.clone(), socket, client).await;
    }

    async fn refuse(self: Arc<Self>, socket: Stream, client: Client, refusal: Refusal) {
        refuse(socket, client, refusal).await;
    }

    fn answer_to_plain_text(&self) -> &'static [u8] {
        NO_TLS
    }
}

/// Serves a connection that has just been accepted.
async fn serve(node: Arc<Node>, site: Site, mut socket: Stream, mut client: Client) {
    let budget = node.streams.registry.budget();
    if h2::is_spoken(&socket) {
        return serve_h2(node, site, socket, client).await;
    }
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
            let _ = socket.write_all(answer::closing_turned_away(&refusal).as_bytes()).await;
            let _ = socket.shutdown().await;
            drain(&mut socket).await;
            return client.end(&End::new(Kind::Limit, refusal.to_string()));
        }
    }
    let guest = site.guest(peer);
    let request = match guest.as_ref().is_some_and(|guest| guest.takes(&head.target)) {
        true => Ok(None),
        false => live::Request::of(&node, &head, budget),
    };
    let request = match request {
        Ok(request) => request,
        Err(spent) => return fail(socket, client, head::no_memory(&spent)).await,
    };
    if let Some(request) = request {
        // It waits for its stream without the head that it came in.
        drop((head, config, guest));
        return live::serve(node, socket, client, request).await;
    }
    let Some(room) = room::of_connection(budget) else {
        return fail(socket, client, head::no_memory(&Spent)).await;
    };
    match bound_stalls(socket.socket(), stall_timeout(&config)) {
        Ok(()) => {
            // Its room is that of the connection from now on.
            drop((head.charge, config));
            let asks = guest.clone();
            let answer = move |peer, request| {
                let (site, guest) = (site.clone(), asks.clone());
                // In a box: a connection that waits for its next request does not have the room for answering it.
                Box::pin(async move { Ok(site.answer(guest, peer, request).await) })
            };
            serve::serve(&node, answer, head.bytes, socket, client, (peer, guest)).await;
            drop(room);
        }
        Err(error) => client.end(&error.into()),
    }
}

/// The same for a connection that speaks HTTP/2, where no request is another's: viewers of HTTP-FLV stay there.
async fn serve_h2(node: Arc<Node>, site: Site, socket: Stream, client: Client) {
    let budget = node.streams.registry.budget();
    let Some(mut room) = room::of_connection(budget) else {
        return client.end(&End::new(Kind::Limit, Spent.to_string()));
    };
    room.add(h2::CONNECTION_BYTES);
    let config = node.config();
    let stall = stall_timeout(&config);
    if let Err(error) = bound_stalls(socket.socket(), stall) {
        return client.end(&error.into());
    }
    drop(config);
    let guest = site.guest(client.peer.ip());
    let asks = guest.clone();
    let answer = move |peer, request| {
        let (site, guest) = (site.clone(), asks.clone());
        Box::pin(async move { Ok(site.answer(guest, peer, request).await) })
    };
    let is_stream = |request: &Request<Incoming>| {
        let is_taken = guest.as_ref().is_some_and(|guest| guest.takes(request.uri().path()));
        !is_taken && media::is_stream(&node, request)
    };
    let roster = &node.clients.roster;
    h2::serve(answer, is_stream, roster, socket, client, stall, guest.as_ref()).await;
    drop(room);
}

/// Ends a connection without a request that could be answered otherwise.
async fn fail(mut socket: Stream, client: Client, failure: head::Failure) {
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

/// Refuses a connection that has just been accepted, whatever it wants.
async fn refuse(mut socket: Stream, client: Client, refusal: Refusal) {
    // The peer may be gone already; whoever refused it has said so in the log.
    let _ = socket.write_all(answer::closing_turned_away(&refusal).as_bytes()).await;
    let _ = socket.shutdown().await;
    drain(&mut socket).await;
    client.turned_away(&refusal.to_string());
}

/// Reads on until the client closes. A socket that is closed with unread data resets the connection, and a client that
/// is still sending its request would lose the answer to it (RFC 9112 section 9.6).
async fn drain(socket: &mut Stream) {
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

#[cfg(test)]
mod tests;
