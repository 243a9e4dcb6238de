//! A TCP connection that may have TLS: whoever reads and writes it need not know.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

use rustls::Connection;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::session::Session;

/// A TCP connection, with or without TLS.
///
/// With it, a write has been taken once it is encrypted: the last bytes may wait for a flush.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    session: Option<Box<Session>>,
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self { socket, session: None }
    }
}

impl Stream {
    /// The connection `socket` with the `session` that it has, if any.
    pub fn new(socket: TcpStream, session: Option<Box<Session>>) -> Self {
        Self { socket, session }
    }

    /// The handshake of `connection` over `socket`, on the thread of whoever waits: for connections that we make.
    /// Those that come in have [`crate::handshake::Handshakes`].
    ///
    /// # Errors
    /// When it fails; what rustls says of that is inside.
    pub async fn handshake(
        mut socket: TcpStream,
        connection: impl Into<Connection>,
    ) -> io::Result<Self> {
        let mut session = Box::new(Session::new(connection));
        while session.is_new() || session.is_full() {
            flush(&mut socket, &mut session).await?;
            if !session.is_new() {
                break;
            }
            if read_handshake(&mut socket, &mut session).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if let Err(error) = session.go_on() {
                // Why, is said to the other end if that is possible at once.
                let _ = flush(&mut socket, &mut session).await;
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
        Ok(Self { socket, session: Some(session) })
    }

    /// What is below.
    pub const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The TLS, if it has any.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// What it consists of.
    pub fn into_parts(self) -> (TcpStream, Option<Box<Session>>) {
        (self.socket, self.session)
    }

    /// Reads what is there, even if tokio does not know yet that something is.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there is nothing, [`ErrorKind::Interrupted`] when there is no whole record.
    pub fn read_now(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let below = SockRef::from(&self.socket);
        match &mut self.session {
            None => (&*below).read(bytes),
            Some(session) => session.read(&mut &*below, bytes),
        }
    }
}

/// A socket, polled by a task.
struct Polled<'a, 'c> {
    socket: &'a mut TcpStream,
    cx: &'a mut Context<'c>,
}

fn ready<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

fn poll<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

impl Read for Polled<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        ready(Pin::new(&mut *self.socket).poll_read(self.cx, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl Write for Polled<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        ready(Pin::new(&mut *self.socket).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        ready(Pin::new(&mut *self.socket).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, session } = self.get_mut();
        let Some(session) = session else { return Pin::new(socket).poll_read(cx, buffer) };
        let bytes = buffer.initialize_unfilled();
        if bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        loop {
            // tokio lets the socket be read so often in one turn, and then pretends that it has nothing.
            match session.read(&mut Polled { socket, cx }, bytes) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, session } = self.get_mut();
        match session {
            None => Pin::new(socket).poll_write(cx, bytes),
            Some(session) => {
                poll(session.write(&mut Polled { socket, cx }, &mut [IoSlice::new(bytes)]))
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, session } = self.get_mut();
        match session {
            None => Pin::new(socket).poll_write_vectored(cx, slices),
            Some(session) => {
                let mut own = [IoSlice::new(&[]); SLICES_MAX];
                let count = slices.len().min(SLICES_MAX);
                own[..count].copy_from_slice(&slices[..count]);
                poll(session.write(&mut Polled { socket, cx }, &mut own[..count]))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, session } = self.get_mut();
        match session {
            None => Poll::Ready(Ok(())),
            Some(session) => poll(session.flush(&mut Polled { socket, cx })),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, session } = self.get_mut();
        if let Some(session) = session
            && poll(session.close(&mut Polled { socket, cx })).is_pending()
        {
            return Poll::Pending;
        }
        // Whether the other end could be told or not, nothing more is sent.
        Pin::new(socket).poll_shutdown(cx)
    }
}

/// Slices of one vectored write that are looked at; whoever has more calls again.
const SLICES_MAX: usize = 32;

/// Sends what `session` has encrypted.
pub(crate) async fn flush(socket: &mut TcpStream, session: &mut Session) -> io::Result<()> {
    std::future::poll_fn(|cx| poll(session.flush(&mut Polled { socket, cx }))).await
}

/// Reads what comes of a handshake next; 0 is the end.
pub(crate) async fn read_handshake(
    socket: &mut TcpStream,
    session: &mut Session,
) -> io::Result<usize> {
    std::future::poll_fn(|cx| poll(session.read_handshake(&mut Polled { socket, cx }))).await
}
