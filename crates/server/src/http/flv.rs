//! HTTP-FLV: `GET /app/stream.flv`.

use std::{sync::Arc, time::Instant};

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use weir_clients::{
    SERVER,
    client::Client,
    counts::Refused,
    end::{End, Kind},
    quota::RETRY_AFTER,
    roster::Activity,
};
use weir_delivery::{Arrival, Format, Protocol};
use weir_edge::{Ask, NoStream};
use weir_media::{Budget, Charge, Spent};

use super::{ANY_ORIGIN, answer, head::Head};
use crate::{
    auth::Action,
    memory,
    node::Node,
    play,
    route::{self, Route},
    terms,
};

/// A request for a stream as HTTP-FLV.
pub struct Request {
    route: Route,
    is_head: bool,
    format: Format,
    ask: Ask,
    /// Its room while it waits.
    charge: Charge,
}

impl Request {
    /// The request in `head`, if it is one for HTTP-FLV.
    ///
    /// # Errors
    /// When `budget` has no room for it to wait.
    pub fn of(head: &Head, budget: &Budget) -> Result<Option<Self>, Spent> {
        let is_head = head.method == "HEAD";
        if !is_head && head.method != "GET" {
            return Ok(None);
        }
        let route = Route::of(&head.target, &head.host);
        let Some(route) = route.filter(|route| route.extension == route::FLV) else {
            return Ok(None);
        };
        let charge = memory::request(budget, head.target.len(), 0)?;
        // HTTP/1.0 has no chunks: the body ends with the connection.
        let format = if head.minor_version == 0 { Format::Flv } else { Format::FlvChunked };
        let ask = Ask::of_fields(route.params(), &head.hops, &head.wait, &head.next);
        Ok(Some(Self { route, is_head, format, ask, charge }))
    }
}

/// Answers a viewer; in the good case a shard takes it from here.
pub async fn serve(
    node: Arc<Node>,
    mut socket: TcpStream,
    mut client: Client,
    mut request: Request,
) {
    request.ask.peer = Some(client.peer.ip());
    let is_node = !request.ask.hops.is_empty();
    client.presence.note(|doing| doing.is_node = is_node);
    let (key, mut vhost) = match request.route.resolve(&node) {
        Ok(resolved) => resolved,
        Err(error) => {
            Refused::BadName.count();
            let answer = answer("400 Bad Request", &error.to_string(), "", request.is_head);
            return refuse(socket, client, &answer, &error.to_string()).await;
        }
    };
    client.asks(Activity::Play, &key);
    let (params, peer) = (&request.ask.params, client.peer.ip());
    if let Err(denied) = node.auth.check(&vhost.auth, Action::Play, &key, params, peer) {
        if denied.may_be_guess()
            && let Err(end) = hold_back(&node, &client, &mut socket, is_node).await
        {
            return client.end(&end);
        }
        let answer = answer("403 Forbidden", &denied.to_string(), "", request.is_head);
        return refuse_with(socket, client, &answer, &denied.end(Action::Play, &key)).await;
    }
    vhost.play.gop &= !play::has_had_it(&node, &key, &request.ask);
    let opened = tokio::select! {
        opened = play::open(&node, &key, &vhost, request.format, &request.ask) => opened,
        end = until_closed(&mut socket) => return client.end(&end),
        farewell = client.presence.until_farewell() => {
            let end = farewell.end();
            let answer = answer("503 Service Unavailable", &end.reason, "", request.is_head);
            return refuse(socket, client, &answer, &end.reason).await;
        }
    };
    let channel = match opened {
        Ok(channel) => channel,
        Err(why) => {
            if why.may_be_guess(&request.ask)
                && let Err(end) = hold_back(&node, &client, &mut socket, is_node).await
            {
                return client.end(&end);
            }
            let answer = refusal(&why, request.is_head);
            return refuse(socket, client, &answer, &why.to_string()).await;
        }
    };
    let head = response_head(request.format);
    if request.is_head {
        let _ = socket.write_all(head.as_bytes()).await;
        let _ = socket.shutdown().await;
        return client.end(&End::new(Kind::Closed, "HEAD request"));
    }
    match play::admit(&node, &channel, is_node) {
        Ok(viewing) => client.viewing = Some(viewing),
        Err(why) => return refuse(socket, client, &refusal(&why, false), &why.to_string()).await,
    }
    client.began(Activity::Play, &key);
    drop(request.charge);
    match socket.into_std() {
        Ok(socket) => node.delivery.shards.deliver(Arrival {
            socket,
            channel,
            terms: terms::of(&vhost.play),
            head: head.into(),
            protocol: Protocol::Http { received: 0 },
            client,
        }),
        Err(error) => client.end(&End::us(format!("cannot hand the socket over: {error}"))),
    }
}

/// Holds the answer to something wrong that the client has shown back, as long as it is to be.
///
/// # Errors
/// When the client does not wait for it.
async fn hold_back(
    node: &Node,
    client: &Client,
    socket: &mut TcpStream,
    is_node: bool,
) -> Result<(), End> {
    let (wrong, ip) = (&node.clients.wrong_secrets, client.peer.ip());
    let time = if is_node {
        wrong.wait_of_node(ip, Instant::now())
    } else {
        let Some(wait) = wrong.wait(ip, Instant::now()) else { return Ok(()) };
        client.standing.step_aside(wait.place);
        wait.time
    };
    tokio::select! {
        () = sleep(time) => Ok(()),
        end = until_closed(socket) => Err(end),
    }
}

fn refusal(why: &NoStream, is_head: bool) -> String {
    let retry = format!("Retry-After: {}\r\n", RETRY_AFTER.as_secs());
    let fields = if why.status() == StatusCode::SERVICE_UNAVAILABLE { &*retry } else { "" };
    answer(&why.status().to_string(), &why.to_string(), fields, is_head)
}

fn response_head(format: Format) -> String {
    let (version, framing) = match format {
        Format::FlvChunked => ("1.1", "Transfer-Encoding: chunked\r\n"),
        Format::Flv | Format::Rtmp { .. } => ("1.0", ""),
    };
    format!(
        "HTTP/{version} 200 OK\r\nServer: {SERVER}\r\nContent-Type: video/x-flv\r\nCache-Control: no-store\r\n\
         {}: {}\r\n{framing}Connection: close\r\n\r\n",
        ANY_ORIGIN.0, ANY_ORIGIN.1
    )
}

async fn refuse(socket: TcpStream, client: Client, answer: &str, reason: &str) {
    refuse_with(socket, client, answer, &End::policy(format!("play refused: {reason}"))).await;
}

async fn refuse_with(mut socket: TcpStream, client: Client, answer: &str, end: &End) {
    // The peer may be gone already; the log has the reason.
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
    client.end(end);
}

/// Ends when the client closes before it was answered.
async fn until_closed(socket: &mut TcpStream) -> End {
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
