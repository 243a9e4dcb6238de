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

/// Bytes that the kernel takes from us before they are sent. With the default a viewer that has stopped reading is
/// noticed only after megabytes; what is in flight does not count, so long paths are not slowed down. Less than one
/// flush of a merged write (350 ms of 3 Mb/s) would cut each of them in two: 16 KiB cost half as much CPU again at 350
/// ms.
const NOTSENT_LOWAT: u32 = 128 * 1024;

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

/// Sets what every connection needs, ours to origins too.
pub fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(socket).set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn any_port() -> (TcpListener, SocketAddr) {
        let address = "127.0.0.1:0".parse().expect("an address");
        let listener = bind("rtmp", &[address]).expect("a free port").remove(0);
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_its_key_and_a_way_out() {
        let (_listener, address) = any_port();
        let error = bind("http", &[address]).expect_err("the port is taken").to_string();
        assert!(error.starts_with(&format!("cannot listen on {address} (http.listen): ")));
        assert!(error.ends_with("stop that, or choose another port"), "{error}");
    }

    #[tokio::test]
    async fn all_addresses_of_a_service_are_listened_on() {
        let any = "127.0.0.1:0".parse().expect("an address");
        assert_eq!(bind("rtmp", &[any, any]).expect("free ports").len(), 2);
        assert!(bind("rtmp", &[]).expect("nothing to do").is_empty(), "the service is off");
    }

    #[tokio::test]
    async fn who_finds_no_place_is_turned_away_until_somebody_leaves() {
        let (listener, address) = any_port();
        let places = Places::new(1);
        let (seats, mut seated) = tokio::sync::mpsc::channel(4);
        let serve = move |socket, client| {
            let seats = seats.clone();
            async move { seats.send((socket, client)).await.expect("a test that listens") }
        };
        tokio::spawn(accept(listener, "rtmp", places.clone(), serve));

        let _first = TcpStream::connect(address).await.expect("a listener");
        let held = seated.recv().await.expect("the first client");
        assert_eq!(places.taken(), 1);
        let mut second = TcpStream::connect(address).await.expect("a listener");
        let read = tokio::time::timeout(SOON, second.read(&mut [0])).await;
        assert_eq!(read.expect("an answer").ok(), Some(0), "closed without a word");

        drop(held);
        assert_eq!(places.taken(), 0, "a client that is gone leaves its place");
        let _third = TcpStream::connect(address).await.expect("a listener");
        assert!(seated.recv().await.is_some());
    }

    #[tokio::test]
    async fn clients_have_numbers_of_their_own_and_send_without_delay() {
        let (listener, address) = any_port();
        let (seen, ids) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let (list, done) = (Arc::clone(&seen), Arc::clone(&ids));
        let serve = move |socket: TcpStream, client: Client| {
            list.lock().expect("no panic").push((client.id, socket.nodelay().ok()));
            done.add_permits(1);
            std::future::ready(())
        };
        tokio::spawn(accept(listener, "rtmp", Places::new(0), serve));
        for _ in 0..2 {
            TcpStream::connect(address).await.expect("a listener");
        }
        let both = tokio::time::timeout(SOON, ids.acquire_many(2)).await;
        drop(both.expect("two clients").expect("permits"));
        let seen = seen.lock().expect("no panic");
        assert_ne!(seen[0].0, seen[1].0);
        assert!(seen.iter().all(|(_, nodelay)| *nodelay == Some(true)));
    }

    #[test]
    fn no_limit_is_as_many_as_there_can_be() {
        assert_eq!(Places::new(0).semaphore.available_permits(), Semaphore::MAX_PERMITS);
        assert_eq!(Places::new(0).taken(), 0);
    }
}
