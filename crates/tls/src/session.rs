//! TLS between a socket and those who read and write it, without a runtime: bytes in, bytes out.

use std::{
    cell::RefCell,
    io::{self, ErrorKind, IoSlice, Read, Write},
    time::Instant,
};

use rustls::{CommonState, Connection, ProtocolVersion};

use crate::records::{Records, TOO_MANY};

/// What is encrypted at a time, and with that the most that is held for an end that does not read: the contents of one
/// record, 16 KiB (RFC 8446 section 5.1). Each is sent before the next one is made.
const AHEAD_BYTES: usize = 16 * 1024;

/// Bytes taken out of a socket at a time, as without TLS.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    /// Where each read of this thread goes before it is decrypted. rustls reads 4 KiB at a time by itself.
    static ENCRYPTED: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// One end of an encrypted connection.
///
/// What it holds is bounded, whatever the other end sends: at most one record that has not come whole and one that
/// nobody has read yet, and one that the socket has not taken. A connection ends whose other end sends too many records
/// without contents, such as requests for new keys (see `records.rs`), or asks twice for a renegotiation.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    records: Records,
}

impl Session {
    /// The session of `connection`, whose handshake may be still to come.
    pub fn new(connection: impl Into<Connection>) -> Self {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(AHEAD_BYTES));
        Self { connection, records: Records::default() }
    }

    /// What was agreed upon with the other end.
    pub fn state(&self) -> &CommonState {
        &self.connection
    }

    /// The version that is spoken, as OpenSSL writes it.
    pub fn version(&self) -> &'static str {
        match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        }
    }

    /// Reads once what `socket` has, and puts what that says into `bytes`. 0 is the end, whether it was announced or
    /// not: every protocol of ours has its own.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there is nothing; [`ErrorKind::Interrupted`] when what there was says nothing
    /// yet: whoever calls decides how often to go on. [`ErrorKind::InvalidData`] when it is no TLS; the other end is
    /// told.
    pub fn read<S: Read + Write>(&mut self, socket: &mut S, bytes: &mut [u8]) -> io::Result<usize> {
        match self.connection.reader().read(bytes) {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        ENCRYPTED.with_borrow_mut(|encrypted| {
            // What it says is never more than this: nothing stays behind but of a record that had begun before.
            let most = bytes.len().min(encrypted.len());
            let count = socket.read(&mut encrypted[..most])?;
            self.decrypt(socket, &encrypted[..count], bytes)
        })
    }

    fn decrypt<S: Write>(
        &mut self,
        socket: &mut S,
        mut encrypted: &[u8],
        bytes: &mut [u8],
    ) -> io::Result<usize> {
        let is_over = encrypted.is_empty();
        // What of the contents is here, and what else of them waits inside.
        let (mut filled, mut waiting) = (0, 0);
        loop {
            // One record at a time: so it is known which of them say something.
            let taken =
                self.connection.read_tls(&mut &encrypted[..self.records.reach(encrypted)])?;
            let is_whole = self.records.advance(&encrypted[..taken]);
            encrypted = &encrypted[taken..];
            let before = waiting;
            waiting = self.process(socket)?;
            if is_whole && waiting == before && !self.records.blank(Instant::now()) {
                return Err(io::Error::new(ErrorKind::InvalidData, TOO_MANY));
            }
            if waiting > 0 && filled < bytes.len() {
                let count = self.connection.reader().read(&mut bytes[filled..])?;
                filled += count;
                waiting -= count;
            }
            // After the end nothing is taken any more.
            if encrypted.is_empty() || taken == 0 {
                break;
            }
        }
        if filled > 0 || is_over { Ok(filled) } else { Err(ErrorKind::Interrupted.into()) }
    }

    /// Takes in what has been read. Returns how many bytes of plain text wait to be read.
    fn process<S: Write>(&mut self, socket: &mut S) -> io::Result<usize> {
        match self.connection.process_new_packets() {
            Ok(state) => Ok(state.plaintext_bytes_to_read()),
            Err(error) => {
                // It is told why, if it can be told at once.
                let _ = self.connection.write_tls(socket);
                Err(io::Error::new(ErrorKind::InvalidData, error))
            }
        }
    }

    /// Whether there is something to read that no socket tells of any more.
    pub fn has_input(&mut self) -> bool {
        // What is wrong is found by whoever reads.
        self.connection
            .process_new_packets()
            .map_or(true, |state| state.plaintext_bytes_to_read() > 0)
    }

    /// Encrypts as much of `bytes` as `socket` takes soon, and sends it. Returns how much that was; of that, one record
    /// at most [waits](Self::is_full) to be sent.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when the socket is full, and none of `bytes` is taken.
    pub fn write<S: Write>(
        &mut self,
        socket: &mut S,
        mut bytes: &mut [IoSlice<'_>],
    ) -> io::Result<usize> {
        self.flush(socket)?;
        let mut taken = 0;
        while !bytes.is_empty() {
            // Bounded by the limit that `new` sets.
            let count = self.connection.writer().write_vectored(bytes)?;
            if count == 0 {
                break;
            }
            taken += count;
            IoSlice::advance_slices(&mut bytes, count);
            match self.flush(socket) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Sends what is encrypted already.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when the socket does not take all of it.
    pub fn flush<S: Write>(&mut self, socket: &mut S) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether something is encrypted that the socket has not taken.
    pub fn is_full(&self) -> bool {
        self.connection.wants_write()
    }

    /// Announces that nothing more will be sent, and sends that.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when the socket is full.
    pub fn close<S: Write>(&mut self, socket: &mut S) -> io::Result<()> {
        self.connection.send_close_notify();
        self.flush(socket)
    }

    /// Reads what `socket` has of a handshake, for [`Session::go_on`]. Returns how many bytes that are.
    pub(crate) fn read_handshake<S: Read>(&mut self, socket: &mut S) -> io::Result<usize> {
        let records = &mut self.records;
        self.connection.read_tls(&mut Followed { socket, records })
    }

    /// Does what is to be done for the handshake with what has been read, which takes the time of some signatures.
    /// Whatever comes of it, there may be something to send.
    pub(crate) fn go_on(&mut self) -> Result<(), rustls::Error> {
        self.connection.process_new_packets().map(|_| ())
    }

    /// Asks the other end for new keys.
    #[cfg(test)]
    pub(crate) fn refresh_keys(&mut self) -> Result<(), rustls::Error> {
        self.connection.refresh_traffic_keys()
    }

    /// Whether the handshake is not over.
    pub(crate) fn is_new(&self) -> bool {
        self.connection.is_handshaking()
    }
}

/// A socket of which is noted where its records end.
struct Followed<'a, S> {
    socket: &'a mut S,
    records: &'a mut Records,
}

impl<S: Read> Read for Followed<'_, S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.read(bytes)?;
        self.records.advance(&bytes[..count]);
        Ok(count)
    }
}
