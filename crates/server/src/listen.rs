//! The listening sockets, and what happens to a connection before it says a word.

mod proxy;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use socket2::SockRef;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tracing::warn;

use crate::{
    client::Client,
    end::End,
    quota::{Quotas, Refusal},
    seldom::Seldom,
};

/// Connections that may wait to be accepted: some thousand viewers come in the same second when a stream begins.
const BACKLOG: u32 = 4096;

/// Bytes that the kernel takes from us before they are sent. With the default a viewer that has stopped reading is
/// noticed only after megabytes; what is in flight does not count, so long paths are not slowed down. Less than one
/// flush of a merged write (350 ms of 3 Mb/s) would cut each of them in two: 16 KiB cost half as much CPU again at 350
/// ms.
const NOTSENT_LOWAT: u32 = 128 * 1024;

/// How long accepting rests after it failed for lack of descriptors or memory, which only others can free.
const REST: Duration = Duration::from_millis(100);

/// How long a PROXY header may take. It is a balancer's first packet: 5 s are for one retransmission after another.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Clients of a service that are being told at one time why they are refused, each for some seconds at most.
const REFUSING: usize = 256;

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

    /// A free place, which is taken until this is dropped.
    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.semaphore).try_acquire_owned().ok()
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.limit - self.semaphore.available_permits()
    }
}

/// How the listeners of one service let connections in.
pub struct Door {
    /// What they speak, for the log; also the name of their part of the configuration.
    protocol: &'static str,
    places: Places,
    /// None for a service that must stay within reach of whoever looks after a server.
    quotas: Option<Arc<Quotas>>,
    proxy_protocol: bool,
    trusted: Vec<IpNet>,
    refusing: Places,
    complained: Seldom,
}

impl Door {
    /// A door that counts nobody by address and believes what the sockets say.
    pub fn new(protocol: &'static str, places: Places) -> Self {
        Self {
            protocol,
            places,
            quotas: None,
            proxy_protocol: false,
            trusted: Vec::new(),
            refusing: Places::new(REFUSING),
            complained: Seldom::default(),
        }
    }

    /// The same, but counting by address in `quotas`.
    #[must_use]
    pub fn counting(mut self, quotas: &Arc<Quotas>) -> Self {
        self.quotas = Some(Arc::clone(quotas));
        self
    }

    /// The same, but with a PROXY header in front of each connection if `expected`.
    #[must_use]
    pub fn with_proxy_protocol(mut self, expected: bool) -> Self {
        self.proxy_protocol = expected;
        self
    }

    /// The same, but with proxies at these addresses, which connect for many: who is behind them is counted once they
    /// have said it.
    #[must_use]
    pub fn trusting(mut self, proxies: &[IpNet]) -> Self {
        self.trusted = proxies.to_vec();
        self
    }

    /// Reads the PROXY header of `client`.
    async fn identify(&self, socket: &mut TcpStream, client: &mut Client) -> Result<(), End> {
        let key = format!("{}.proxy_protocol", self.protocol);
        let Ok(read) = timeout(HEADER_TIMEOUT, read_header(socket, client)).await else {
            let reason = format!("sent no whole PROXY header within {HEADER_TIMEOUT:?} ({key})");
            return Err(End::policy(reason));
        };
        match read {
            Ok(source) => client.peer = source.map_or(client.peer, canonical),
            Err(Unidentified::Ended(end)) => return Err(end),
            Err(Unidentified::Invalid(why)) => {
                return Err(End::peer(format!("{why} (each connection must have one: {key})")));
            }
        }
        // The header was the balancer's: a health check has still said nothing.
        client.received = 0;
        Ok(())
    }

    /// Counts `client` by its address.
    fn count(&self, client: &mut Client) -> Result<(), Refusal> {
        let ip = client.peer.ip();
        if let Some(quotas) = &self.quotas
            && !self.trusted.iter().any(|network| network.contains(&ip))
        {
            client.visit = quotas.enter(ip)?;
        }
        Ok(())
    }
}

/// What is done with a client, by the service that it wants.
pub trait Service: Send + Sync + 'static {
    /// Serves it.
    fn serve(
        self: Arc<Self>,
        socket: TcpStream,
        client: Client,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// Tells it why it is not served.
    fn refuse(
        self: Arc<Self>,
        socket: TcpStream,
        client: Client,
        refusal: Refusal,
    ) -> impl Future<Output = ()> + Send + 'static;
}

/// Accepts connections for ever and serves each in a task of its own.
pub async fn accept(listener: TcpListener, door: Arc<Door>, service: Arc<impl Service>) {
    let protocol = door.protocol;
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok((socket, peer)) => (socket, canonical(peer)),
            Err(error) => {
                warn!(protocol, %error, "cannot accept a connection");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let Some(place) = door.places.take() else {
            if door.complained.is_time(Instant::now()) {
                let limit = door.places.limit;
                warn!(protocol, %peer, limit, "turning connections away (limits.connections)");
            }
            continue;
        };
        if let Err(error) = prepare(&socket) {
            warn!(protocol, %peer, %error, "cannot set up a connection");
            continue;
        }
        let client = Client::new(peer, protocol, place);
        if door.proxy_protocol {
            tokio::spawn(let_in_behind_proxy(
                Arc::clone(&door),
                Arc::clone(&service),
                socket,
                client,
            ));
        } else {
            let_in(&door, Arc::clone(&service), socket, client);
        }
    }
}

async fn let_in_behind_proxy(
    door: Arc<Door>,
    service: Arc<impl Service>,
    mut socket: TcpStream,
    mut client: Client,
) {
    match door.identify(&mut socket, &mut client).await {
        Ok(()) => let_in(&door, service, socket, client),
        Err(end) => client.end(&end),
    }
}

/// Serves or refuses a client, in a task of its own.
fn let_in(door: &Door, service: Arc<impl Service>, socket: TcpStream, mut client: Client) {
    let Err(refusal) = door.count(&mut client) else {
        tokio::spawn(service.serve(socket, client));
        return;
    };
    if door.complained.is_time(Instant::now()) {
        let protocol = door.protocol;
        warn!(protocol, peer = %client.peer, "turning connections away: {refusal}");
    }
    // Who is refused must not take a place from those who are not. Beyond these places nothing is said to it.
    if let Some(place) = door.refusing.take() {
        client.move_to(place);
        tokio::spawn(service.refuse(socket, client, refusal));
    }
}

/// An IPv4 client of a listener on IPv6 is written as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Why it is not known who a connection is from.
enum Unidentified {
    Invalid(proxy::Invalid),
    Ended(End),
}

impl From<io::Error> for Unidentified {
    fn from(error: io::Error) -> Self {
        Self::Ended(error.into())
    }
}

/// Reads a PROXY header, and not a byte of what follows.
async fn read_header(
    socket: &mut TcpStream,
    client: &mut Client,
) -> Result<Option<SocketAddr>, Unidentified> {
    let mut bytes = [0; proxy::HEADER_BYTES_MAX];
    let mut read = 0;
    loop {
        let end = read + socket.peek(&mut bytes[read..]).await?;
        if end == read {
            return Err(Unidentified::Ended(End::closed()));
        }
        client.received = end as u64;
        match proxy::parse(&bytes[..end]).map_err(Unidentified::Invalid)? {
            Some(header) => {
                socket.read_exact(&mut bytes[read..header.length]).await?;
                return Ok(header.source);
            }
            // All of it is header, so that it can be taken out of the socket, which then wakes us for more only.
            None => {
                socket.read_exact(&mut bytes[read..end]).await?;
                read = end;
            }
        }
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
mod tests;
