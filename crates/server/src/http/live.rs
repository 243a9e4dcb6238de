//! A stream as a file without an end, for the first request of a connection: `GET /app/stream.flv`, and the other
//! containers, over HTTP and over WebSocket.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_clients::{
    SERVER,
    client::Client,
    end::{End, Kind},
};
use weir_delivery::{Arrival, Container, Format, Framing, Protocol};
use weir_edge::Ask;
use weir_media::{Budget, Charge, Spent};
use weir_tls::Stream;

use super::{
    answer::{self, ANY_ORIGIN},
    head::Head,
    mount,
    route::Route,
    websocket::Upgrade,
};
use crate::{
    auth::Action,
    memory,
    node::Node,
    play::{
        self, Playing, Refusal, Resource,
        live::{Live, LiveHead},
    },
    terms,
};

/// A request for a stream as a file without an end.
pub struct Request {
    route: Route,
    is_head: bool,
    container: Container,
    framing: Framing,
    /// What asks for WebSocket.
    upgrade: Option<Upgrade>,
    ask: Ask,
    /// Its room while it waits.
    _charge: Charge,
}

impl Request {
    /// The request in `head`, if it is one for such a file.
    ///
    /// # Errors
    /// When `budget` has no room for it to wait.
    pub fn of(node: &Node, head: &Head, budget: &Budget) -> Result<Option<Self>, Spent> {
        let is_head = head.method == "HEAD";
        if !is_head && head.method != "GET" {
            return Ok(None);
        }
        let is_node = !head.hops.is_empty();
        let found = mount::route(node, &head.target, &head.host, is_node);
        let Some(route) = found else { return Ok(None) };
        let Some(container) = route.container() else { return Ok(None) };
        let charge = memory::request(budget, head.target.len() + head.referer.len(), 0)?;
        let upgrade = head.upgrade.clone().filter(|_| !is_head && head.minor_version > 0);
        let framing = match (&upgrade, head.minor_version) {
            (Some(_), _) => Framing::WebSocket,
            // HTTP/1.0 has no chunks: the body ends with the connection.
            (None, 0) => Framing::Plain,
            (None, _) => Framing::Chunked,
        };
        let ask = Ask::of_fields(route.params(), &head.hops, &head.wait, &head.next);
        let token = Ask::token_of(&head.token);
        let ask = Ask { token, page_url: head.referer.as_str().into(), ..ask };
        Ok(Some(Self { route, is_head, container, framing, upgrade, ask, _charge: charge }))
    }

    fn format(&self) -> Format {
        Format::File(self.container, self.framing)
    }

    /// The head of the answer that the file follows.
    fn answer(&self) -> String {
        if let Some(Upgrade::Accept(accept)) = &self.upgrade {
            return format!(
                "HTTP/1.1 101 Switching Protocols\r\nServer: {SERVER}\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
        }
        let (version, framing) = match self.framing {
            Framing::Chunked => ("1.1", "Transfer-Encoding: chunked\r\n"),
            Framing::Plain | Framing::WebSocket => ("1.0", ""),
        };
        format!(
            "HTTP/{version} 200 OK\r\nServer: {SERVER}\r\nContent-Type: {}\r\nCache-Control: no-store\r\n\
             {}: {}\r\n{framing}Connection: close\r\n\r\n",
            self.container.media_type(),
            ANY_ORIGIN.0,
            ANY_ORIGIN.1
        )
    }

    /// What the viewer speaks from then on.
    fn protocol(&self) -> Protocol {
        match self.framing {
            Framing::WebSocket => Protocol::web_socket(),
            Framing::Plain | Framing::Chunked => Protocol::Http { received: 0 },
        }
    }
}

/// Answers a viewer; in the good case a shard takes it from here.
pub async fn serve(node: Arc<Node>, mut socket: Stream, mut client: Client, mut request: Request) {
    request.ask.peer = Some(client.peer.ip());
    if let Some((status, reason, fields)) = request.upgrade.as_ref().and_then(Upgrade::refusal) {
        let answer = answer::closing(status, reason, fields, false);
        return tell(socket, client, &answer, &End::peer(reason)).await;
    }
    if request.is_head {
        let mut head = LiveHead(request.format());
        if let Some((_, socket, client)) = play(&node, socket, client, &request, &mut head).await {
            let end = End::new(Kind::Closed, "HEAD request");
            tell(socket, client, &request.answer(), &end).await;
        }
        return;
    }
    let mut live = Live(request.format());
    let playing = play(&node, socket, client, &request, &mut live).await;
    let Some((Playing { vhost, opened: channel, session, .. }, its_socket, its_client)) = playing
    else {
        return;
    };
    (socket, client) = (its_socket, its_client);
    client.viewing = Some(session);
    let (head, protocol) = (request.answer().into(), request.protocol());
    drop(request);
    let (socket, tls) = socket.into_parts();
    match socket.into_std() {
        Ok(socket) => node.delivery.shards.deliver(Arrival {
            socket,
            tls,
            channel,
            terms: terms::of(&vhost.play),
            head,
            protocol,
            client,
        }),
        Err(error) => client.end(&End::us(format!("cannot hand the socket over: {error}"))),
    }
}

/// What the client is to be sent; none for one that has been told why it gets nothing, or has gone.
async fn play<R: Resource>(
    node: &Arc<Node>,
    mut socket: Stream,
    client: Client,
    request: &Request,
    resource: &mut R,
) -> Option<(Playing<R>, Stream, Client)> {
    let Request { route, ask, is_head, .. } = request;
    let presence = Arc::clone(&client.presence);
    let asked = play::Request { url: &route.url, ask, ip: client.peer.ip(), presence: &presence };
    let playing = tokio::select! {
        // A stream that is here is found before anything is waited for.
        biased;
        playing = play::request(node, &asked, resource) => playing,
        end = until_closed(&mut socket) => {
            client.end(&end);
            return None;
        }
        farewell = presence.until_farewell() => {
            let reason = farewell.end().reason;
            let answer = answer::closing("503 Service Unavailable", &reason, "", *is_head);
            let end = End::policy(format!("play refused: {reason}"));
            tell(socket, client, &answer, &end).await;
            return None;
        }
    };
    let refusal = match playing {
        Ok(playing) => return Some((playing, socket, client)),
        Err(refusal) => refusal,
    };
    if refusal.may_be_guess(ask)
        && let Err(end) = hold_back(node, &client, &mut socket, !ask.hops.is_empty()).await
    {
        client.end(&end);
        return None;
    }
    let end = match &refusal {
        Refusal::Denied { key, why } => why.end(Action::Play, key),
        refusal => End::policy(format!("play refused: {refusal}")),
    };
    tell(socket, client, &answer::closing_refused(&refusal, *is_head), &end).await;
    None
}

/// Holds the answer to something wrong that the client has shown back, as long as it is to be.
///
/// # Errors
/// When the client does not wait for it.
async fn hold_back(
    node: &Node,
    client: &Client,
    socket: &mut Stream,
    is_node: bool,
) -> Result<(), End> {
    let held = node.clients.wrong_secrets.hold_back(&client.standing, client.peer.ip(), is_node);
    tokio::select! {
        () = held => Ok(()),
        end = until_closed(socket) => Err(end),
    }
}

/// Ends a connection with the only answer that it gets.
async fn tell(mut socket: Stream, client: Client, answer: &str, end: &End) {
    // The peer may be gone already; the log has the reason.
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
    client.end(end);
}

/// Ends when the client closes before it was answered.
async fn until_closed(socket: &mut Stream) -> End {
    let mut scratch = [0; 512];
    loop {
        match socket.read(&mut scratch).await {
            Ok(0) => return End::closed(),
            // A pipelined request has no answer on a connection that ends with this one.
            Ok(_) => {}
            Err(error) => return error.into(),
        }
    }
}
