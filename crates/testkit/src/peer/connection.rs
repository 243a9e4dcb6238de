//! An RTMP client session on a TCP connection.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use weir_rtmp::{
    client::{Config, Event, Session},
    handshake::PACKET_BYTES,
    url::RtmpUrl,
};

/// Without a byte from the server, when one is waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// The server's no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status code, such as `NetStream.Publish.BadName`.
    pub code: String,
    /// The server's words.
    pub description: String,
}

/// Which session to begin: [`Session::new_publish`] or [`Session::new_play`].
type Begin = fn(Config, [u8; PACKET_BYTES], Instant) -> Session;

/// A client session and its socket.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) session: Session,
    socket: TcpStream,
    url: String,
}

impl Connection {
    /// Connects to `url` and waits for the server's yes or no.
    pub(super) async fn open(url: &str, begin: Begin) -> Result<Self, Refused> {
        let parsed = RtmpUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let socket = TcpStream::connect((parsed.host.as_str(), parsed.port)).await;
        let socket = socket.unwrap_or_else(|error| panic!("{url}: {error}"));
        Self::open_on(socket, url, begin).await
    }

    /// As [`open`](Self::open), on a connection to the server.
    pub(super) async fn open_on(
        socket: TcpStream,
        url: &str,
        begin: Begin,
    ) -> Result<Self, Refused> {
        let parsed = RtmpUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        // Each message leaves at once: tests count on what they sent being on its way.
        socket.set_nodelay(true).unwrap_or_else(|error| panic!("{url}: {error}"));
        let session = begin(Config::new(parsed), [0x5a; PACKET_BYTES], Instant::now());
        let mut connection = Self { session, socket, url: url.to_owned() };
        match connection.event().await {
            Some(Event::Accepted) => Ok(connection),
            Some(Event::Refused { code, description }) => Err(Refused { code, description }),
            other => panic!("{url}: neither accepted nor refused, but {other:?}"),
        }
    }

    /// What the server does next; `None` when it has closed the connection.
    pub(super) async fn event(&mut self) -> Option<Event> {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        loop {
            if let Some(event) = self.session.poll_event() {
                return Some(event);
            }
            if self.flush().await.is_err() {
                return None;
            }
            buffer.clear();
            let count = timeout(READ_TIMEOUT, self.socket.read_buf(&mut buffer)).await;
            let count =
                count.unwrap_or_else(|_| panic!("{}: nothing came for {READ_TIMEOUT:?}", self.url));
            // A server that closes with unread input resets the connection.
            if count.unwrap_or(0) == 0 {
                return None;
            }
            self.input(&buffer);
        }
    }

    /// Writes what the session has to say, and takes in what has come without waiting for more.
    pub(super) async fn exchange(&mut self) -> io::Result<()> {
        self.flush().await?;
        let mut buffer = [0; 4096];
        loop {
            match self.socket.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.flush().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.session.poll_output() {
            self.socket.write_all(&bytes).await?;
        }
        Ok(())
    }

    fn input(&mut self, bytes: &[u8]) {
        let result = self.session.handle_input(bytes, Instant::now());
        result
            .unwrap_or_else(|error| panic!("{}: the server broke the protocol: {error}", self.url));
    }

    /// Says goodbye, and closes.
    pub(super) async fn stop(mut self) {
        self.session.stop();
        // A server that has gone already needs no goodbye.
        let _ = self.flush().await;
        let has_closed = close(&mut self.socket).await;
        assert!(has_closed, "{}: the server does not close its side", self.url);
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.socket.local_addr().unwrap_or_else(|error| panic!("{}: {error}", self.url))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

/// Closes our side, and waits until the server has closed its own; whether it has. Who goes with something unread
/// resets the connection, and what is still on its way to the server is lost.
pub(crate) async fn close(socket: &mut TcpStream) -> bool {
    let _ = socket.shutdown().await;
    let mut unread = [0; 4096];
    let closed = async { while socket.read(&mut unread).await.is_ok_and(|count| count > 0) {} };
    timeout(READ_TIMEOUT, closed).await.is_ok()
}
