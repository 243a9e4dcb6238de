//! An RTMP client session on a socket: `weir publish`, and all connections in RTMP to other servers.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf},
    time::{Instant, Sleep, sleep_until, timeout},
};
use weir_clients::socket::with_scratch;
use weir_flv::TagKind;
use weir_intake::{HOG, HOG_BYTES_MIN, HOG_CHECK};
use weir_rtmp::{
    client::{Event, Session},
    message::Question,
};
use weir_tls::Stream;

/// Answers (to pings, mostly) that may wait for a server to read them. One that lets more of them wait is not read from
/// until it has taken some.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// How long a server may take to close its side after it has been told goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A server that one is connected to.
///
/// All that is asynchronous here can be cancelled: nothing is lost, and it goes on where it was. Each call reads,
/// writes and lets time pass as the session needs it, whatever it waits for itself.
pub struct RtmpClient {
    session: Session,
    stream: Stream,
    /// What is being written.
    out: Bytes,
    /// Whether TLS may have some of what was written.
    is_unflushed: bool,
    /// Bytes of answers among what is to be written.
    answers: usize,
    /// Since when the socket takes no more.
    stuck: Option<Instant>,
    /// How long it may take no more.
    stuck_max: Duration,
    /// When to look whether a message that it does not finish takes what others need.
    look_at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

/// Why a connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The server closed it.
    #[error("it closed the connection")]
    Closed,
    /// It broke.
    #[error("connection failed: {0}")]
    Network(#[from] io::Error),
    /// What came is no RTMP, or not what a server may say.
    #[error("protocol error: {0}")]
    Protocol(#[source] weir_rtmp::Error),
    /// An answer, or any sign of life, is overdue.
    #[error("{0}")]
    Late(#[source] weir_rtmp::Error),
    /// What it does not finish takes memory that others need.
    #[error("{}", HOG)]
    Hog,
    /// It reads nothing.
    #[error("it took no data for {0:?}")]
    Stuck(Duration),
}

impl RtmpClient {
    /// `session` on `stream`. The server may take no data for `stuck_max`.
    pub fn new(session: Session, stream: impl Into<Stream>, stuck_max: Duration) -> Self {
        Self {
            session,
            stream: stream.into(),
            out: Bytes::new(),
            is_unflushed: false,
            answers: 0,
            stuck: None,
            stuck_max,
            look_at: None,
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// From now on the server may say nothing, and take no data, for so long.
    pub fn set_dead_after(&mut self, dead_after: Duration) {
        self.session.set_silence(dead_after);
        self.stuck_max = dead_after;
    }

    /// The protocol.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Waits until the server has answered the handshake.
    ///
    /// # Errors
    /// When the connection is lost before that.
    pub async fn greeted(&mut self) -> Result<(), Lost> {
        while !self.session.greeted() {
            self.step().await?;
        }
        Ok(())
    }

    /// What the server does next. It is written to as well.
    ///
    /// # Errors
    /// When the connection is lost. What the server did before is returned first.
    pub async fn event(&mut self) -> Result<Event, Lost> {
        loop {
            if let Some(event) = self.session.poll_event() {
                return Ok(event);
            }
            self.step().await?;
        }
    }

    /// What the server has done already.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.session.poll_event()
    }

    /// Queues a message of the stream.
    pub fn send(&mut self, kind: TagKind, timestamp: u32, body: &[u8]) {
        self.session.send_media(kind, timestamp, body);
    }

    /// Queues a question; the answer comes as an event.
    pub fn ask(&mut self, id: u32, question: Question) {
        self.session.ask_question(id, question);
    }

    /// Bytes that the socket has not taken yet.
    pub fn queued(&self) -> usize {
        self.out.len() + self.session.queued()
    }

    /// Writes all that is queued. The server is read from while it does not take it.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn flush(&mut self) -> Result<(), Lost> {
        while self.queued() > 0 || self.is_unflushed {
            self.step().await?;
        }
        Ok(())
    }

    /// Says goodbye, and waits until the server has closed: what it had not read would be lost if it were reset.
    ///
    /// # Errors
    /// When the connection is lost before all was written.
    pub async fn close(mut self) -> Result<(), Lost> {
        self.session.stop();
        self.flush().await?;
        self.stream.shutdown().await?;
        let closed = async { while self.step().await.is_ok() {} };
        // Closed or not: it has had its time.
        let _ = timeout(CLOSE_TIMEOUT, closed).await;
        Ok(())
    }

    /// Writes or reads once, or lets a timeout happen.
    async fn step(&mut self) -> Result<(), Lost> {
        poll_fn(|cx| {
            let written = self.poll_write(cx);
            if matches!(written, Poll::Ready(Ok(()))) {
                return written;
            }
            let read = self.poll_read(cx);
            match (written, read) {
                // A server that takes no more may have said why before it closed.
                (_, Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
                (Poll::Ready(error), _) | (_, Poll::Ready(error)) => Poll::Ready(error),
                (Poll::Pending, Poll::Pending) => self.poll_timer(cx),
            }
        })
        .await
    }

    /// Pending as well if there is nothing to write.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.out.is_empty() {
            match self.session.poll_output() {
                Some(out) => self.out = out,
                None => return self.poll_flush(cx),
            }
        }
        match Pin::new(&mut self.stream).poll_write(cx, &self.out) {
            Poll::Ready(written) => {
                self.out.advance(written.and_then(not_zero)?);
                self.is_unflushed = self.stream.session().is_some();
                self.stuck = None;
                if self.queued() == 0 {
                    self.answers = 0;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                self.stuck.get_or_insert_with(Instant::now);
                Poll::Pending
            }
        }
    }

    /// Pending as well if TLS has nothing that is to be written.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if !self.is_unflushed {
            return Poll::Pending;
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_pending() {
            self.stuck.get_or_insert_with(Instant::now);
            return Poll::Pending;
        }
        self.is_unflushed = false;
        self.stuck = None;
        flushed.map_err(Lost::Network)
    }

    /// Pending as well while too many answers wait.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.answers >= ANSWER_BYTES_MAX {
            return Poll::Pending;
        }
        with_scratch(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            Poll::Ready(self.take_in(buffer.filled()))
        })
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        if bytes.is_empty() {
            return Err(Lost::Closed);
        }
        let before = self.session.queued();
        let taken = self.session.handle_input(bytes, Instant::now().into_std());
        self.answers += self.session.queued() - before;
        taken.map_err(Lost::Protocol)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        loop {
            let Some(due) = self.due() else { return Poll::Pending };
            let now = Instant::now();
            if due <= now {
                return Poll::Ready(self.time_passed(now));
            }
            // A timer that is early costs one look when it fires; setting it anew for each read would cost more.
            if due < self.timer.deadline() || self.timer.is_elapsed() {
                self.timer.as_mut().reset(due);
            }
            ready!(self.timer.as_mut().poll(cx));
        }
    }

    fn due(&mut self) -> Option<Instant> {
        let is_large = self.session.partial_bytes() >= HOG_BYTES_MIN;
        self.look_at = match self.look_at {
            _ if !is_large => None,
            None => Some(Instant::now() + HOG_CHECK),
            known => known,
        };
        let stuck = self.stuck.map(|since| since + self.stuck_max);
        let session =
            self.session.poll_timeout().filter(|_| !self.is_busy()).map(Instant::from_std);
        [stuck, session, self.look_at].into_iter().flatten().min()
    }

    /// Whether a ping would have to wait behind media: the server's silence says nothing then, and whether it takes
    /// data says all.
    fn is_busy(&self) -> bool {
        self.stuck.is_some() && self.session.stream_id().is_some()
    }

    fn time_passed(&mut self, now: Instant) -> Result<(), Lost> {
        if self.stuck.is_some_and(|since| since + self.stuck_max <= now) {
            return Err(Lost::Stuck(self.stuck_max));
        }
        if self.look_at.take_if(|at| *at <= now).is_some() && self.session.is_hog() {
            return Err(Lost::Hog);
        }
        self.session.handle_timeout(now.into_std()).map_err(Lost::Late)
    }
}

fn not_zero(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}
