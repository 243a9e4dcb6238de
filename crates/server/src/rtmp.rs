//! An RTMP connection on the control side: from the handshake to `publish` or `play`, and after them.

use std::{
    future::poll_fn,
    io::{ErrorKind, Read as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead as _, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tracing::debug;
use weir_clients::{
    SERVER,
    client::Client,
    end::{End, Kind},
    listen,
    quota::Refusal,
    roster::{Farewell, RECONNECT_WAIT, RECONNECT_WORDS},
    socket::with_scratch,
};
use weir_delivery::{Returned, Why, end_of};
use weir_flv::amf0::{Object, Value};
use weir_rtmp::{
    server::{Config, ConnectInfo, Event, PlayRefusal, PublishRefusal, Session},
    url::StreamUrl,
};

use crate::{
    auth::shown,
    edge::{Ask, Hops},
    ingest,
    memory::{self, Allowance},
    node::Node,
    play,
};

/// How long a client may take to read an answer of ours. Answers are a few hundred bytes, so its socket has been full
/// for as long.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// One RTMP connection.
pub struct Connection {
    /// What all parts share.
    pub node: Arc<Node>,
    /// The protocol.
    pub session: Box<Session>,
    /// Who it is.
    pub client: Client,
    /// Its socket.
    pub socket: TcpStream,
    /// What its `connect` says of how it came here.
    came: Ask,
    /// What is being written.
    out: Bytes,
    /// Whether it ends when it is asked to leave, wherever it waits for the client.
    pub heeds: bool,
    /// When it ends, once it has been asked to connect anew.
    leaving: Option<Instant>,
}

/// What became of a connection after a request.
pub enum Turn {
    /// It goes on here.
    Stay(Box<Connection>),
    /// It ends, once the client has been told what there is to tell.
    Over(Box<Connection>, End),
    /// A delivery shard has it.
    Gone,
}

/// How long a client that is going to be refused may take until it has said what it wants.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// What accepted connections get on RTMP's ports.
pub struct Service(pub Arc<Node>);

impl listen::Service for Service {
    async fn serve(self: Arc<Self>, socket: TcpStream, client: Client) {
        serve(Arc::clone(&self.0), socket, client).await;
    }

    async fn refuse(self: Arc<Self>, socket: TcpStream, client: Client, refusal: Refusal) {
        refuse(Arc::clone(&self.0), socket, client, refusal).await;
    }
}

/// Serves a connection that has just been accepted.
async fn serve(node: Arc<Node>, socket: TcpStream, client: Client) {
    match session(&node, &client) {
        Ok(session) => Connection::new(node, socket, session, client).run(None).await,
        Err(end) => client.end(&end),
    }
}

/// Refuses what a client asks for that has just been accepted: RTMP has no earlier moment at which a person would see
/// the reason.
async fn refuse(node: Arc<Node>, socket: TcpStream, client: Client, refusal: Refusal) {
    let session = match session(&node, &client) {
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
fn session(node: &Node, client: &Client) -> Result<Box<Session>, End> {
    let mut random = [0; 1536];
    getrandom::fill(&mut random)
        .map_err(|error| End::us(format!("no random bytes for the handshake: {error}")))?;
    let config = Config {
        chunk_size: node.config().rtmp.chunk_size,
        connect_reply: identity(client.id),
        ..Config::default()
    };
    let mut session = Session::new(config, random, std::time::Instant::now());
    let Allowance { budget, message_bytes } = node.allowance();
    session.limit_to(&budget, message_bytes);
    Ok(Box::new(session))
}

/// Goes on with a viewer that has left its shard.
pub async fn resume(node: Arc<Node>, returned: Returned) {
    let Returned { socket, session, client, unsent, why } = returned;
    let socket = match TcpStream::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return client.end(&End::us(format!("cannot watch the socket: {error}"))),
    };
    // What is unsent may be a large entry of the stream: the viewer's limit for media holds.
    let limit = client
        .stream
        .as_ref()
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
    Ask { params: String::new(), hops: Hops::parse(hops), peer: None, wait, next }
}

/// What SRS says of itself in the reply to `connect`; tools look for these names.
fn identity(id: u64) -> Object {
    let mut object = Object::new();
    object.insert("srs_server", SERVER);
    object.insert("srs_version", env!("CARGO_PKG_VERSION"));
    object.insert("srs_id", id.to_string().as_str());
    object.insert("srs_pid", f64::from(std::process::id()));
    object
}

impl Connection {
    fn new(node: Arc<Node>, socket: TcpStream, session: Box<Session>, client: Client) -> Box<Self> {
        let came = Ask::default();
        Box::new(Self {
            node,
            session,
            client,
            socket,
            came,
            out: Bytes::new(),
            heeds: true,
            leaving: None,
        })
    }

    async fn run(self: Box<Self>, why: Option<Why>) {
        let mut turn = match why {
            Some(why) => play::rtmp::returned(self, why).await,
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

    /// Waits for a request and does what it asks.
    async fn turn(mut self: Box<Self>) -> Turn {
        // Whoever asks has nothing to view yet, or nothing any more.
        self.client.viewing = None;
        self.client.ceased();
        match self.event().await {
            Ok(Event::Publish { stream_id, url, .. }) => {
                let published = ingest::publish(&mut self, stream_id, &url).await;
                self.after(published)
            }
            Ok(Event::Play { stream_id, url, .. }) => play::rtmp::play(self, stream_id, &url).await,
            Ok(Event::Question { id, url, hops }) => {
                play::question::answer_all(self, play::question::Asked { id, url, hops }).await
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
                Turn::Stay(self)
            }
            Ok(_) => Turn::Stay(self),
            Err(end) => Turn::Over(self, end),
        }
    }

    /// The turn that follows from the outcome of a request.
    pub fn after(self: Box<Self>, outcome: Result<(), End>) -> Turn {
        match outcome {
            Ok(()) => Turn::Stay(self),
            Err(end) => Turn::Over(self, end),
        }
    }

    /// What it asks for with `url`, beside the stream.
    pub fn ask(&self, url: &StreamUrl) -> Ask {
        let peer = Some(self.client.peer.ip());
        Ask { params: url.params.clone(), peer, ..self.came.clone() }
    }

    /// The client's next request or message.
    pub async fn event(&mut self) -> Result<Event, End> {
        loop {
            if let Some(event) = self.session.poll_event() {
                return Ok(event);
            }
            self.pump().await?;
        }
    }

    /// Writes what is to be written, then reads once or lets a timeout happen. Nothing is lost when it is cancelled.
    pub async fn pump(&mut self) -> Result<(), End> {
        self.flush().await?;
        let leave_at = self.leaving.filter(|_| self.heeds);
        let look = self.memory_check_due().map(|wait| Instant::now() + wait);
        let deadlines = [self.session.poll_timeout().map(Instant::from_std), leave_at, look];
        let Some(deadline) = deadlines.into_iter().flatten().min() else {
            return self.read().await;
        };
        if let Ok(read) = tokio::time::timeout_at(deadline, self.read()).await {
            return read;
        }
        if leave_at.is_some_and(|leave_at| leave_at <= Instant::now()) {
            return Err(Farewell::Draining.end());
        }
        self.check_memory()?;
        let timed_out = self.session.handle_timeout(Instant::now().into_std());
        timed_out.map_err(|error| End::new(Kind::Idle, error.to_string()))
    }

    /// Reads once. Nothing is lost when it is cancelled.
    pub async fn read(&mut self) -> Result<(), End> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.heeds
            && let Poll::Ready(farewell) = self.client.presence.poll_farewell(cx)
        {
            match (farewell, self.leaving) {
                (Farewell::Draining, Some(_)) => {}
                // Whatever it does or waits for here: it can go on with that elsewhere.
                (Farewell::Draining, None) if self.session.request_reconnect(RECONNECT_WORDS) => {
                    self.leaving = Some(Instant::now() + RECONNECT_WAIT);
                    // What is to be written is written before the next read.
                    return Poll::Ready(Ok(()));
                }
                _ => return Poll::Ready(Err(farewell.end())),
            }
        }
        if self.session.is_full() {
            // The rest waits in the network until the publish is answered, which is what whoever reads waits for too.
            return Poll::Pending;
        }
        with_scratch(|scratch| {
            // Not `try_read`: after a read that does not fill the buffer, `poll_read` knows without another that it
            // has to wait.
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
            Poll::Ready(self.take_in(buffer.filled()))
        })
    }

    /// Reads what is there, even if the socket does not count as readable yet.
    pub fn read_what_is_there(&mut self) -> Result<(), End> {
        with_scratch(|buffer| {
            // Not tokio's `try_read`, which asks its own books and not the socket.
            let read = (&*SockRef::from(&self.socket)).read(buffer);
            match read {
                Ok(count) => self.take_in(&buffer[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
                {
                    Ok(())
                }
                Err(error) => Err(error.into()),
            }
        })
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), End> {
        if bytes.is_empty() {
            return Err(End::closed());
        }
        self.client.received += bytes.len() as u64;
        let handled = self.session.handle_input(bytes, Instant::now().into_std());
        handled.map_err(|error| end_of(&error))
    }

    /// Whether the client has to go because a message that it does not finish takes what others need.
    ///
    /// # Errors
    /// If so.
    pub fn check_memory(&self) -> Result<(), End> {
        if self.session.is_hog() { Err(End::new(Kind::Limit, memory::HOG)) } else { Ok(()) }
    }

    /// When to do so next.
    pub fn memory_check_due(&self) -> Option<Duration> {
        let is_large = self.session.partial_bytes() >= memory::HOG_BYTES_MIN;
        is_large.then_some(memory::HOG_CHECK)
    }

    /// Writes everything that the session wants written. Nothing is lost when it is cancelled.
    pub async fn flush(&mut self) -> Result<(), End> {
        self.flush_within(WRITE_TIMEOUT).await
    }

    /// The same, with another limit for a client that does not read.
    pub async fn flush_within(&mut self, limit: Duration) -> Result<(), End> {
        loop {
            if self.out.is_empty() {
                match self.session.poll_output() {
                    Some(out) => self.out = out,
                    None => return Ok(()),
                }
            }
            let Ok(written) = timeout(limit, self.socket.write(&self.out)).await else {
                return Err(End::new(Kind::Stalled, format!("took no data for {limit:?}")));
            };
            let written = written?;
            self.out.advance(written);
            self.client.sent += written as u64;
        }
    }

    /// Holds the answer to a wrong secret back, as long as it is to be.
    ///
    /// # Errors
    /// When the client does not wait for it.
    pub async fn hold_back(&mut self) -> Result<(), End> {
        let (wrong, ip) = (&self.node.wrong_secrets, self.client.peer.ip());
        let time = if self.came.hops.is_empty() {
            let Some(wait) = wrong.wait(ip, std::time::Instant::now()) else { return Ok(()) };
            self.client.standing.step_aside(wait.place);
            wait.time
        } else {
            wrong.wait_of_node(ip, std::time::Instant::now())
        };
        let until = Instant::now() + time;
        while let Ok(event) = timeout_at(until, self.event()).await {
            event?;
        }
        Ok(())
    }

    /// Refuses another request of a client whose first one is being dealt with.
    pub fn refuse_another(&mut self, event: &Event, reason: &str) {
        match *event {
            Event::Publish { stream_id, .. } => {
                self.refuse_publish(stream_id, PublishRefusal::Failed, reason);
            }
            Event::Play { stream_id, .. } => {
                self.refuse_play(stream_id, PlayRefusal::Failed, reason);
            }
            _ => {}
        }
    }

    /// Refuses a publish and says why; the end that follows has the same reason.
    pub fn refuse_publish(&mut self, stream_id: u32, refusal: PublishRefusal, reason: &str) {
        self.session.reject_publish(stream_id, refusal, reason);
    }

    /// Tells a publisher that its stream is over, and why.
    pub fn end_publish(&mut self, stream_id: u32, refusal: PublishRefusal, reason: &str) {
        self.session.end_publish(stream_id, refusal, reason);
    }

    /// Refuses a play and says why.
    pub fn refuse_play(&mut self, stream_id: u32, refusal: PlayRefusal, reason: &str) {
        self.session.reject_play(stream_id, refusal, reason);
    }

    /// Tells the client what there still is to tell, and lets it go.
    async fn close(mut self: Box<Self>, end: &End) {
        // The client may be the reason why this fails; `end` is the one that counts.
        let _ = self.flush().await;
        let _ = self.socket.shutdown().await;
        self.client.end(end);
    }
}
