//! The listening sockets, and what happens to a connection before it says a word.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
};
use tracing::warn;

use crate::client::Client;

/// Connections that may wait to be accepted: some thousand viewers come in the same second when a stream begins.
const BACKLOG: u32 = 4096;

/// Bytes that the kernel takes from us before they are sent. With the default a viewer that has stopped reading is noticed only
/// after megabytes; what is in flight does not count, so long paths are not slowed down.
const NOTSENT_LOWAT: u32 = 16 * 1024;

/// How long accepting rests after it failed for lack of descriptors or memory, which only others can free.
const REST: Duration = Duration::from_millis(100);

/// How often at most the log says that connections are turned away.
const COMPLAIN: Duration = Duration::from_secs(1);

/// A listening socket cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({service}.listen): {error}{}", hint(.error))]
pub struct ListenError {
    service: &'static str,
    address: SocketAddr,
    error: io::Error,
}

fn hint(error: &io::Error) -> impl fmt::Display {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process has it: stop that, or choose another port",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege: choose a higher one"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

/// Binds every address of a service.
///
/// # Errors
/// For the first address that cannot be had.
pub fn bind(
    service: &'static str,
    addresses: &[SocketAddr],
) -> Result<Vec<TcpListener>, ListenError> {
    addresses
        .iter()
        .map(|&address| listen(address).map_err(|error| ListenError { service, address, error }))
        .collect()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted server must not wait for the old one's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The places for clients, over all listeners.
#[derive(Clone)]
pub struct Places {
    semaphore: Arc<Semaphore>,
    limit: usize,
}

impl Places {
    /// `limit` places; 0 is as many as there can be.
    pub fn new(limit: usize) -> Self {
        let limit = if limit == 0 { Semaphore::MAX_PERMITS } else { limit };
        Self { semaphore: Arc::new(Semaphore::new(limit)), limit }
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.limit - self.semaphore.available_permits()
    }
}

/// Accepts connections for ever and serves each in a task of its own.
pub async fn accept<F, S>(listener: TcpListener, protocol: &'static str, places: Places, serve: F)
where
    F: Fn(TcpStream, Client) -> S,
    S: Future<Output = ()> + Send + 'static,
{
    let mut complained = None;
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(protocol, %error, "cannot accept a connection");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places.semaphore).try_acquire_owned() else {
            let now = Instant::now();
            if complained.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAIN) {
                complained = Some(now);
                warn!(protocol, %peer, limit = places.limit, "turning connections away (limits.connections)");
            }
            continue;
        };
        if let Err(error) = prepare(&socket) {
            warn!(protocol, %peer, %error, "cannot set up a connection");
            continue;
        }
        tokio::spawn(serve(socket, Client::new(peer, protocol, place)));
    }
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(socket).set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    Ok(())
}
