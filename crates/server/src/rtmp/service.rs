//! RTMP's ports: who is served, who is refused, and what each request of a connection leads to.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tracing::debug;
use weir_clients::{
    SERVER,
    client::Client,
    counts::Refused,
    end::{End, Kind},
    listen,
    quota::Refusal,
    roster::Farewell,
};
use weir_delivery::{Returned, Why};
use weir_edge::{Ask, Hops};
use weir_flv::amf0::{Object, Value};
use weir_hooks::Subject;
use weir_intake::Allowance;
use weir_rtmp::server::{Config, ConnectInfo, Event, PlayRefusal, PublishRefusal, Session};
use weir_rtmp::url::discover;
use weir_tls::Stream;

use super::{
    connection::{Connection, Turn, WRITE_TIMEOUT},
    play, publish, question,
};
use crate::{auth::shown, node::Node};

/// How long a client that is going to be refused may take until it has said what it wants.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// What accepted connections get on RTMP's ports.
pub struct Service(pub Arc<Node>);

impl listen::Service for Service {
    async fn serve(self: Arc<Self>, socket: Stream, client: Client) {
        serve(Arc::clone(&self.0), socket, client).await;
    }

    async fn refuse(self: Arc<Self>, socket: Stream, client: Client, refusal: Refusal) {
        refuse(Arc::clone(&self.0), socket, client, refusal).await;
    }
}

/// Serves a connection that has just been accepted.
async fn serve(node: Arc<Node>, socket: Stream, client: Client) {
    match session(&node, &socket, &client) {
        Ok(session) => Connection::new(node, socket, session, client).run(None).await,
        Err(end) => client.end(&end),
    }
}

/// Refuses what a client asks for that has just been accepted: RTMP has no earlier moment at which a person would see
/// the reason.
async fn refuse(node: Arc<Node>, socket: Stream, client: Client, refusal: Refusal) {
    let session = match session(&node, &socket, &client) {
        Ok(session) => session,
        Err(end) => return client.end(&end),
    };
    let reason = refusal.to_string();
    let mut connection = Connection::new(node, socket, session, client);
    // Whether it was told or not, it goes.
    let _ = timeout(REFUSAL_TIMEOUT, connection.refuse_all(&reason)).await;
    let _ = connection.socket.shutdown().await;
    connection.client.turned_away(&reason);
}

/// A session that waits for the handshake of `client`.
fn session(node: &Node, socket: &Stream, client: &Client) -> Result<Box<Session>, End> {
    let mut random = [0; 1536];
    getrandom::fill(&mut random)
        .map_err(|error| End::us(format!("no random bytes for the handshake: {error}")))?;
    let local = socket.socket().local_addr().ok().map(|local| local.ip());
    let config = Config {
        chunk_size: node.config().rtmp.chunk_size,
        connect_reply: identity(client.id, local),
        ..Config::default()
    };
    let mut session = Session::new(config, random, std::time::Instant::now());
    let Allowance { budget, message_bytes } = node.allowance();
    session.limit_to(&budget, message_bytes);
    Ok(Box::new(session))
}

/// Goes on with a viewer that has left its shard.
pub async fn resume(node: Arc<Node>, returned: Returned) {
    let Returned { socket, tls, session, client, unsent, why } = returned;
    let socket = match TcpStream::from_std(socket) {
        Ok(socket) => Stream::new(socket, tls),
        Err(error) => return client.end(&End::us(format!("cannot watch the socket: {error}"))),
    };
    // What is unsent may be a large entry of the stream: the viewer's limit for media holds.
    let limit = client
        .presence
        .stream()
        .map_or(WRITE_TIMEOUT, |key| node.config().vhost(key.vhost()).play.stall_timeout);
    let mut connection = Connection::new(node, socket, session, client);
    if matches!(why, Why::Leave(Farewell::Kicked)) && !unsent.is_empty() {
        // It reads too slowly to be told.
        return connection.client.end(&Farewell::Kicked.end());
    }
    for piece in unsent {
        connection.out = piece;
        if let Err(end) = connection.flush_within(limit).await {
            return connection.client.end(&end);
        }
    }
    connection.run(Some(why)).await;
}

/// What another node says in its `connect`.
fn came(info: &ConnectInfo) -> Ask {
    let hops = info.other.get(Hops::FIELD).and_then(Value::as_str).unwrap_or_default();
    let wait = info.other.get(Ask::WAIT_FIELD).and_then(Value::as_number);
    // A wait that is no number of milliseconds is none.
    let wait = wait.and_then(|millis| Duration::try_from_secs_f64(millis / 1e3).ok());
    let next = info.other.get(Ask::NEXT_FIELD).is_some();
    let token = info.other.get(Ask::TOKEN_FIELD).and_then(Value::as_str).unwrap_or_default();
    Ask {
        hops: Hops::parse(hops),
        wait,
        next,
        token: Ask::token_of(token),
        tc_url: info.tc_url.as_str().into(),
        page_url: info.page_url.as_str().into(),
        ..Ask::default()
    }
}

/// What SRS says of itself in the reply to `connect`, in its order; tools look for these names, and edges of SRS write
/// the last three into their log. `local` is the address that the client has reached.
fn identity(id: u64, local: Option<IpAddr>) -> Object {
    let mut object = Object::new();
    // That of FMS, as in `fmsVer`.
    object.insert("version", "3,5,3,888");
    object.insert("srs_sig", "Weir");
    object.insert("srs_server", SERVER);
    object.insert("srs_license", env!("CARGO_PKG_LICENSE"));
    object.insert("srs_url", env!("CARGO_PKG_REPOSITORY"));
    object.insert("srs_version", env!("CARGO_PKG_VERSION"));
    object.insert("srs_authors", "The Weir authors");
    if let Some(ip) = local {
        object.insert("srs_server_ip", ip.to_string().as_str());
    }
    object.insert("srs_pid", f64::from(std::process::id()));
    object.insert("srs_id", id.to_string().as_str());
    object
}

impl Connection {
    async fn run(self: Box<Self>, why: Option<Why>) {
        let mut turn = match why {
            Some(why) => play::returned(self, why).await,
            None => Turn::Stay(self),
        };
        loop {
            turn = match turn {
                Turn::Stay(connection) => connection.turn().await,
                Turn::Over(connection, end) => return connection.close(&end).await,
                Turn::Gone => return,
            };
        }
    }

    /// Refuses the first thing that the client asks for.
    async fn refuse_all(&mut self, reason: &str) -> Result<(), End> {
        loop {
            match self.event().await? {
                Event::Publish { stream_id, .. } => {
                    self.refuse_publish(stream_id, PublishRefusal::Failed, reason);
                    return self.flush().await;
                }
                Event::Play { stream_id, .. } => {
                    self.refuse_play(stream_id, PlayRefusal::Failed, reason);
                    return self.flush().await;
                }
                Event::Question { id, .. } => {
                    self.session.fail_question(id, reason);
                    return self.flush().await;
                }
                _ => {}
            }
        }
    }

    /// Asks the back end whether the client may be connected (`hooks.on_connect`). One that may not is told so at its
    /// first request.
    async fn ask_back_end(mut self: Box<Self>, info: &ConnectInfo) -> Turn {
        // A name for a stream that has none yet.
        let Ok(url) = discover(&info.tc_url, "none") else { return Turn::Stay(self) };
        let (node, presence) = (Arc::clone(&self.node), Arc::clone(&self.client.presence));
        let vhost = node.settings.vhost(&url.vhost);
        let (id, ip) = (self.client.id, self.client.peer.ip());
        let subject = || Subject {
            id,
            ip,
            vhost: vhost.name.clone(),
            app: url.app.clone(),
            stream: String::new(),
            tc_url: info.tc_url.clone(),
            page_url: info.page_url.clone(),
            params: url.params.clone(),
        };
        let asked = tokio::select! {
            biased;
            asked = node.hooks.connect(&vhost, subject) => asked,
            farewell = presence.until_farewell() => return Turn::Over(self, farewell.end()),
        };
        match asked {
            Ok(None) => Turn::Stay(self),
            Ok(Some(ticket)) => {
                self.client.on_end =
                    Some(Box::new(move |sent, received| ticket.close(sent, received)));
                Turn::Stay(self)
            }
            Err(refused) => {
                // Whether it was told or not, it goes.
                let _ = timeout(REFUSAL_TIMEOUT, self.refuse_all(&refused.to_string())).await;
                Refused::Auth.count();
                Turn::Over(self, End::policy(format!("connect refused: {}", refused.reason())))
            }
        }
    }

    /// Waits for a request and does what it asks.
    async fn turn(mut self: Box<Self>) -> Turn {
        // Whoever asks has nothing to view yet, or nothing any more.
        self.client.viewing = None;
        self.asked = None;
        match self.event().await {
            Ok(Event::Publish { stream_id, url, .. }) => {
                if let Err(spent) = self.make_room(&url) {
                    self.refuse_publish(stream_id, PublishRefusal::Failed, &spent.to_string());
                    return Turn::Over(self, End::new(Kind::Limit, spent.to_string()));
                }
                let published = publish::publish(&mut self, stream_id, &url).await;
                self.after(published)
            }
            Ok(Event::Play { stream_id, url, .. }) => {
                if let Err(spent) = self.make_room(&url) {
                    self.refuse_play(stream_id, PlayRefusal::Failed, &spent.to_string());
                    return Turn::Over(self, End::new(Kind::Limit, spent.to_string()));
                }
                play::play(self, stream_id, &url).await
            }
            Ok(Event::Question { id, url, hops }) => {
                question::answer_all(self, question::Asked { id, url, hops }).await
            }
            Ok(Event::Connected(info)) => {
                self.came = came(&info);
                let is_node = !self.came.hops.is_empty();
                self.client.presence.note(|doing| {
                    doing.is_node = is_node;
                    doing.tc_url = shown(&info.tc_url).into();
                    doing.page_url = shown(&info.page_url).into();
                    doing.swf_url = shown(&info.swf_url).into();
                });
                debug!(
                    conn = self.client.id,
                    tc_url = shown(&info.tc_url),
                    flash_ver = info.flash_ver,
                    "connected"
                );
                self.ask_back_end(&info).await
            }
            Ok(_) => Turn::Stay(self),
            Err(end) => Turn::Over(self, end),
        }
    }
}
