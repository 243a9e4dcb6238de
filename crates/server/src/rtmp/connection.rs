//! An RTMP connection on the control side: from the handshake to `publish` or `play`, and after them.

use std::{
    future::poll_fn,
    io::ErrorKind,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead as _, AsyncWriteExt, ReadBuf},
    time::{Instant, timeout},
};
use weir_clients::{
    client::Client,
    end::{End, Kind},
    roster::{Farewell, RECONNECT_WAIT, RECONNECT_WORDS},
    socket::with_scratch,
};
use weir_delivery::end_of;
use weir_edge::Ask;
use weir_intake::{HOG, HOG_BYTES_MIN, HOG_CHECK};
use weir_media::{Charge, Spent};
use weir_rtmp::{
    server::{Event, PlayRefusal, PublishRefusal, Session},
    url::StreamUrl,
};
use weir_tls::Stream;

use crate::{memory, node::Node};

/// How long a client may take to read an answer of ours. Answers are a few hundred bytes, so its socket has been full
/// for as long.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// One RTMP connection.
pub struct Connection {
    /// What all parts share.
    pub node: Arc<Node>,
    /// The protocol.
    pub session: Box<Session>,
    /// Who it is.
    pub client: Client,
    /// Its socket.
    pub socket: Stream,
    /// What its `connect` says of how it came here.
    pub came: Ask,
    /// The room of what it has asked for last.
    pub asked: Option<Charge>,
    /// What is being written.
    pub out: Bytes,
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

impl Connection {
    /// One that has just come, or has come back from its shard.
    pub fn new(
        node: Arc<Node>,
        socket: Stream,
        session: Box<Session>,
        client: Client,
    ) -> Box<Self> {
        let came = Ask::default();
        Box::new(Self {
            node,
            session,
            client,
            socket,
            came,
            asked: None,
            out: Bytes::new(),
            heeds: true,
            leaving: None,
        })
    }

    /// Takes room for what `url` says, for as long as it is wanted.
    ///
    /// # Errors
    /// When there is none.
    pub fn make_room(&mut self, url: &StreamUrl) -> Result<(), Spent> {
        let budget = self.node.streams.registry.budget();
        self.asked = Some(memory::request(budget, memory::url_bytes(url), 0)?);
        Ok(())
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
            match self.socket.read_now(buffer) {
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
        if self.session.is_hog() { Err(End::new(Kind::Limit, HOG)) } else { Ok(()) }
    }

    /// When to do so next.
    pub fn memory_check_due(&self) -> Option<Duration> {
        let is_large = self.session.partial_bytes() >= HOG_BYTES_MIN;
        is_large.then_some(HOG_CHECK)
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
                    None => break,
                }
            }
            let Ok(written) = timeout(limit, self.socket.write(&self.out)).await else {
                return Err(End::new(Kind::Stalled, format!("took no data for {limit:?}")));
            };
            let written = written?;
            self.out.advance(written);
            self.client.sent += written as u64;
        }
        match timeout(limit, self.socket.flush()).await {
            Ok(flushed) => Ok(flushed?),
            Err(_) => Err(End::new(Kind::Stalled, format!("took no data for {limit:?}"))),
        }
    }

    /// Holds the answer to a wrong secret back, as long as it is to be.
    ///
    /// # Errors
    /// When the client does not wait for it.
    pub async fn hold_back(&mut self) -> Result<(), End> {
        let (node, standing) = (Arc::clone(&self.node), Arc::clone(&self.client.standing));
        let (ip, is_node) = (self.client.peer.ip(), !self.came.hops.is_empty());
        let mut held = pin!(node.clients.wrong_secrets.hold_back(&standing, ip, is_node));
        loop {
            tokio::select! {
                biased;
                () = &mut held => return Ok(()),
                event = self.event() => drop(event?),
            }
        }
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
    pub async fn close(mut self: Box<Self>, end: &End) {
        // The client may be the reason why this fails; `end` is the one that counts.
        let _ = self.flush().await;
        let _ = self.socket.shutdown().await;
        self.client.end(end);
    }
}
