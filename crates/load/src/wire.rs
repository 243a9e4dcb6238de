//! A non-blocking RTMP client connection: a socket, a session, and what the socket has not taken yet.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    time::Instant,
};

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use weir_rtmp::{
    client::{Config, Session},
    url::RtmpUrl,
};

use crate::socket::{Socket, Tls};

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// An RTMP connection.
pub struct Wire {
    /// The socket.
    pub socket: Socket<TcpStream>,
    /// The protocol.
    pub session: Session,
    out: Bytes,
}

impl Wire {
    /// Connects a publisher.
    ///
    /// # Errors
    /// As the system has it.
    pub fn publish(address: SocketAddr, url: &RtmpUrl) -> io::Result<Self> {
        let tls = Tls::for_scheme(url.is_tls, None)?;
        Self::open((address, &url.host), tls.as_ref(), |random, now| {
            Session::new_publish(Config::new(url.clone()), random, now)
        })
    }

    /// Connects a viewer.
    ///
    /// # Errors
    /// As the system has it; when there is to be TLS and none is given.
    pub fn play(address: SocketAddr, url: &RtmpUrl, tls: Option<&Tls>) -> io::Result<Self> {
        let tls = Tls::for_scheme(url.is_tls, tls)?;
        Self::open((address, &url.host), tls.as_ref(), |random, now| {
            Session::new_play(Config::new(url.clone()), random, now)
        })
    }

    fn open(
        (address, host): (SocketAddr, &str),
        tls: Option<&Tls>,
        session: impl FnOnce([u8; 1536], Instant) -> Session,
    ) -> io::Result<Self> {
        let mut random = [0; 1536];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let socket = Socket::new(TcpStream::connect(address)?, host, tls)?;
        Ok(Self { socket, session: session(random, Instant::now()), out: Bytes::new() })
    }

    /// Writes what there is to write, as far as the socket takes it. False when some is left.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn flush(&mut self) -> io::Result<bool> {
        loop {
            if self.out.is_empty() {
                match self.session.poll_output() {
                    Some(out) => self.out = out,
                    None => return flushed(self.socket.flush()),
                }
            }
            match self.socket.write(&self.out) {
                Ok(sent) => self.out.advance(sent),
                // A socket that is still connecting says `NotConnected`.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) =>
                {
                    return Ok(false);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads once into the session. Returns the bytes read, 0 when there is nothing to read now.
    ///
    /// # Errors
    /// When the connection is gone, or the server breaks the protocol.
    pub fn read(&mut self) -> io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        match self.socket.read(&mut buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.session
                    .handle_input(&buffer[..n], Instant::now())
                    .map_err(io::Error::other)?;
                Ok(n)
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether TLS has sent what was written.
fn flushed(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
