//! Connections that send whatever bytes a test likes: the peers that Weir must survive.

use std::{io, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};

/// The version byte, then time, zero and random bytes: C0 and C1 of a simple handshake, and S0 and S1 of the answer.
const HELLO_BYTES: usize = 1 + 1536;

/// Until the server has answered a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The smallest receive buffer with which a reader that does read gets on: where it is left with a window of some
/// hundred bytes, a sender fills that only every 200 ms.
const NARROW: u32 = 4096;

/// A connection below every protocol.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    address: SocketAddr,
    local: SocketAddr,
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    /// If nothing listens at `address`.
    pub async fn connect(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4();
        Self::through(socket.unwrap_or_else(|error| panic!("no socket: {error}")), address).await
    }

    /// Connects with a small receive buffer, so that a peer that does not read is full soon.
    ///
    /// # Panics
    /// If nothing listens at `address`.
    pub async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4();
        let socket = socket.and_then(|socket| socket.set_recv_buffer_size(NARROW).map(|()| socket));
        Self::through(socket.unwrap_or_else(|error| panic!("no socket: {error}")), address).await
    }

    async fn through(socket: TcpSocket, address: SocketAddr) -> Self {
        let stream = socket.connect(address).await;
        let stream = stream.unwrap_or_else(|error| panic!("{address}: {error}"));
        let local = stream.local_addr();
        let local = local.unwrap_or_else(|error| panic!("{address}: {error}"));
        Self { stream, address, local }
    }

    /// Goes on with a connection that spoke a protocol until now.
    pub(crate) fn on(stream: TcpStream, address: SocketAddr, local: SocketAddr) -> Self {
        Self { stream, address, local }
    }

    /// The server's end of the connection.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Our end of the connection, by which the server's log calls it.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Connects and does the simple RTMP handshake; what follows are chunks.
    ///
    /// # Panics
    /// If the server does not answer with a handshake.
    pub async fn rtmp(address: SocketAddr) -> Self {
        Self::connect(address).await.greet().await
    }

    /// Does the simple RTMP handshake; what follows are chunks.
    ///
    /// # Panics
    /// If the server does not answer with a handshake.
    pub async fn greet(mut self) -> Self {
        let address = self.address;
        let answer = timeout(HANDSHAKE_TIMEOUT, self.shake_hands()).await;
        let answer = answer.unwrap_or_else(|_| panic!("{address} does not finish the handshake"));
        answer.unwrap_or_else(|error| panic!("{address} ends in the handshake: {error}"));
        self
    }

    async fn shake_hands(&mut self) -> io::Result<()> {
        let mut hello = [0; HELLO_BYTES];
        hello[0] = 3;
        self.stream.write_all(&hello).await?;
        let mut answer = [0; 1 + 1536 + 1536];
        self.stream.read_exact(&mut answer).await?;
        // C2 echoes S1.
        self.stream.write_all(&answer[1..HELLO_BYTES]).await
    }

    /// Sends `bytes`; whether the connection took all of them.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Sends `bytes` one at a time, one each `every`, until all are sent or the server has closed; how many were sent.
    pub async fn trickle(&mut self, bytes: &[u8], every: Duration) -> usize {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for (count, byte) in bytes.iter().enumerate() {
            ticks.tick().await;
            if self.closed() || !self.send(std::slice::from_ref(byte)).await {
                return count;
            }
        }
        bytes.len()
    }

    /// Whether the server has ended the connection, as far as is known without waiting. What it sent before is lost.
    fn closed(&self) -> bool {
        let mut scratch = [0; 4096];
        loop {
            match self.stream.try_read(&mut scratch) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Reads until the server ends the connection; what it sent until then.
    ///
    /// # Panics
    /// If it has not ended the connection `within` this time.
    pub async fn expect_close(&mut self, within: Duration) -> Vec<u8> {
        let deadline = Instant::now() + within;
        let mut received = BytesMut::new();
        loop {
            match timeout_at(deadline, self.stream.read_buf(&mut received)).await {
                // A server that closes with unread input resets the connection.
                Ok(Ok(0) | Err(_)) => return received.into(),
                Ok(Ok(_)) => {}
                Err(_) => panic!(
                    "{} kept the connection open for {within:?}; it had sent {} bytes",
                    self.address,
                    received.len()
                ),
            }
        }
    }

    /// Ends our half of the connection; the server may still send.
    pub async fn finish(&mut self) {
        // It fails if the server has closed already, which is as good.
        let _ = self.stream.shutdown().await;
    }

    /// The connection itself, for what is not foreseen here.
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A connection to a server that reads `count` bytes, sends `reply` and ends.
    async fn served(count: usize, reply: &'static [u8]) -> Raw {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut vec![0; count]).await.unwrap();
            stream.write_all(reply).await.unwrap();
        });
        Raw::connect(address).await
    }

    #[tokio::test]
    async fn what_the_server_sent_before_it_closed_is_kept() {
        let mut raw = served(3, b"bye").await;
        assert!(raw.send(b"abc").await);
        assert_eq!(raw.expect_close(SOON).await, b"bye");
    }

    #[tokio::test]
    #[should_panic(expected = "kept the connection open")]
    async fn a_server_that_stays_is_noticed() {
        served(3, b"").await.expect_close(Duration::from_millis(10)).await;
    }

    #[tokio::test]
    async fn trickling_ends_when_the_server_does() {
        let mut raw = served(3, b"bye").await;
        let sent = raw.trickle(&[0; 10_000], Duration::from_millis(1)).await;
        assert!((3..10_000).contains(&sent), "{sent}");
    }
}
