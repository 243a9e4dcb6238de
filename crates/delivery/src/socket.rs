//! A viewer's socket on its shard, with the TLS that it may have.

use std::io::{self, IoSlice, Read, Write};

use mio::net::TcpStream;
use weir_tls::Session;

/// A viewer's socket. Without TLS, a call is a system call.
pub struct Socket {
    below: TcpStream,
    session: Option<Box<Session>>,
    /// Whether it has taken bytes since that was asked for.
    moved: bool,
}

impl Socket {
    /// The non-blocking `socket`, with the TLS that it has.
    pub fn new(socket: std::net::TcpStream, session: Option<Box<Session>>) -> Self {
        Self { below: TcpStream::from_std(socket), session, moved: false }
    }

    /// What a poller watches.
    pub fn below(&mut self) -> &mut TcpStream {
        &mut self.below
    }

    /// What it consists of.
    pub fn into_parts(self) -> (std::net::TcpStream, Option<Box<Session>>) {
        (self.below.into(), self.session)
    }

    /// Sends as much of `bytes` as it takes now. With TLS, up to a record of that may [wait](Self::is_full).
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.below.write(bytes),
            Some(session) => {
                let mut wire = Wire { below: &mut self.below, moved: &mut self.moved };
                session.write(&mut wire, &mut [IoSlice::new(bytes)])
            }
        }
    }

    /// The same for bytes in several places.
    pub fn write_vectored(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.session {
            None => self.below.write_vectored(slices),
            Some(session) => {
                let mut wire = Wire { below: &mut self.below, moved: &mut self.moved };
                session.write(&mut wire, slices)
            }
        }
    }

    /// Reads once.
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.below.read(bytes),
            Some(session) => session.read(&mut self.below, bytes),
        }
    }

    /// Sends what is encrypted and was not taken before.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.session {
            None => Ok(()),
            Some(session) => {
                session.flush(&mut Wire { below: &mut self.below, moved: &mut self.moved })
            }
        }
    }

    /// Whether something that was written waits to be sent.
    pub fn is_full(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_full())
    }

    /// Whether something has come that no poller tells of.
    pub fn has_input(&mut self) -> bool {
        self.session.as_mut().is_some_and(|session| session.has_input())
    }

    /// Whether bytes were taken since this was last asked, with TLS: a write may have sent only what was encrypted
    /// before.
    pub fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Tells the other end, if there is TLS to do so, that this is the end and nobody has cut the connection.
    pub fn close(&mut self) {
        if let Some(session) = &mut self.session {
            // Whose socket is full has other worries.
            let _ = session.close(&mut self.below);
        }
    }
}

/// The socket below TLS, which notes whether it takes anything.
struct Wire<'a> {
    below: &'a mut TcpStream,
    moved: &'a mut bool,
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.below.write(bytes)?;
        *self.moved |= sent > 0;
        Ok(sent)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = self.below.write_vectored(slices)?;
        *self.moved |= sent > 0;
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
