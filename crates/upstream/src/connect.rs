//! Connections to other servers: TCP, and TLS over it where a server has that.

use std::{
    future::Future,
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};
use weir_blocking::Pool;
use weir_clients::{descriptors, permits::Permit, socket};
use weir_tls::Stream;

use crate::{failure::Failure, tls::Secure};

/// For an address to accept a connection, and to do the handshake of TLS, whatever the connection is for. What is
/// further away than this is of no use to anybody who watches; who does not answer by then is dead, or the packets go
/// to where somebody was: another attempt, or another address, may find who is there now.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Names that are looked up by the system: of targets, and of what an origin redirects to.
static NAMES: LazyLock<Pool> = LazyLock::new(|| Pool::new("looking up names", 8));

/// From one attempt to the next beside it. The system sends a packet that was lost again after a second, and behind one
/// address of a balancer may be others than the one that has just died. Across an ocean a connection takes 200 ms.
const AGAIN: Duration = Duration::from_millis(250);

/// Connects to `address`, with the TLS that is `secure`, if any; `connected` is set as soon as the system there has
/// accepted the connection.
///
/// # Errors
/// When it refuses, is not the one that is meant, or is not ready within [`CONNECT_TIMEOUT`].
pub async fn connect(
    address: SocketAddr,
    secure: Option<Secure<'_>>,
    connected: &AtomicBool,
) -> io::Result<Stream> {
    let late = |_| {
        let text = format!("no connection within {CONNECT_TIMEOUT:?}");
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    let by = Instant::now() + CONNECT_TIMEOUT;
    let socket = timeout_at(by, first_of_several(address)).await.map_err(late)??;
    connected.store(true, Ordering::Relaxed);
    // Neither a handshake nor a request waits for more to come.
    socket.set_nodelay(true)?;
    match secure {
        None => Ok(socket.into()),
        Some(secure) => secure.handshake(socket, by, CONNECT_TIMEOUT).await,
    }
}

/// Connects to whatever `host` stands for, one address after the other until `by`.
///
/// # Errors
/// When none of them accepts; why the last one does not.
pub async fn connect_to_name(
    (host, port): (&str, u16),
    secure: Option<Secure<'_>>,
    by: Instant,
    connected: &AtomicBool,
) -> io::Result<Stream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no addresses");
    let name = host.to_owned();
    let look_up = move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
    for address in NAMES.run(look_up).await.flatten()? {
        if Instant::now() >= by {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time"));
        }
        match connect(address, secure, connected).await {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Waits for a connection until `by`.
///
/// # Errors
/// When there is none by then.
pub async fn connected(
    connecting: impl Future<Output = io::Result<Stream>>,
    by: Instant,
) -> Result<Stream, Failure> {
    let stream = timeout_at(by, connecting).await;
    let stream = stream.map_err(|_| Failure::Unreachable("no connection in time".to_owned()))?;
    let broken = |error| Failure::Unreachable(format!("no connection: {error}"));
    let stream = stream.map_err(broken)?;
    socket::prepare(stream.socket()).map_err(broken)?;
    Ok(stream)
}

/// A descriptor for a connection.
///
/// # Errors
/// When the process has none left.
pub fn permit() -> Result<Permit, Failure> {
    let none =
        || Failure::Busy("out of file descriptors for connections to other servers".to_owned());
    descriptors::opened().take().ok_or_else(none)
}

/// The first attempt that is accepted, or refused: somebody is there then, and says no.
async fn first_of_several(address: SocketAddr) -> io::Result<TcpStream> {
    let mut attempts = FuturesUnordered::new();
    loop {
        attempts.push(TcpStream::connect(address));
        tokio::select! {
            Some(connected) = attempts.next() => return connected,
            () = sleep(AGAIN) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, time::timeout};

    use super::*;

    async fn plain(address: SocketAddr) -> io::Result<Stream> {
        let connected = AtomicBool::new(false);
        let result = connect(address, None, &connected).await;
        assert_eq!(connected.load(Ordering::Relaxed), result.is_ok());
        result
    }

    #[tokio::test]
    async fn one_that_listens_is_connected_to_and_one_that_does_not_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stream = plain(address).await.expect("it listens");
        assert_eq!(stream.socket().peer_addr().expect("connected"), address);
        let by = Instant::now() + Duration::from_secs(60);
        let name = ("localhost", address.port());
        let connected = AtomicBool::new(false);
        connect_to_name(name, None, by, &connected).await.expect("the second address listens");
        drop(listener);
        let refused = plain(address).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    /// A queue that is full: the system drops what comes, as a dead host does.
    #[tokio::test]
    async fn one_that_says_nothing_costs_a_second() {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listener = socket.listen(1).expect("it listens");
        let address = listener.local_addr().expect("an address");
        let mut queued = Vec::new();
        while let Ok(Ok(socket)) =
            timeout(Duration::from_millis(200), TcpStream::connect(address)).await
        {
            queued.push(socket);
        }
        let start = Instant::now();
        let failure = plain(address).await.expect_err("nobody accepts");
        assert_eq!(failure.kind(), io::ErrorKind::TimedOut, "{failure}");
        assert!(start.elapsed() < CONNECT_TIMEOUT * 2, "it took {:?}", start.elapsed());
    }
}
