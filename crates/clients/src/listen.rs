//! The listening sockets, and what happens to a connection before it says a word.

mod encrypted;
mod proxy;

use std::{
    fmt, io,
    net::{self, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::timeout,
};
use tracing::warn;
use weir_tls::Stream;

pub use self::encrypted::Encryption;
use crate::{
    client::Client,
    counts::Refused,
    end::{End, Kind},
    permits::{Permit, Permits},
    quota::{Quotas, Refusal},
    roster::Roster,
    socket::prepare,
};

/// Connections that may wait to be accepted: some thousand viewers come in the same second when a stream begins.
const BACKLOG: u32 = 4096;

/// How long accepting rests after it failed for lack of descriptors or memory, which only others can free.
const REST: Duration = Duration::from_millis(100);

/// How long a PROXY header may take. It is a balancer's first packet: 5 s are for one retransmission after another.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may wait until those that make room for it are gone, and how often it is looked whether they
/// are: each goes as soon as its task has its turn.
const ROOM_TIMEOUT: Duration = Duration::from_secs(1);
const ROOM_INTERVAL: Duration = Duration::from_millis(1);

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
        io::ErrorKind::AddrInUse => {
            "; another process uses it: stop that process, or choose another port"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need privileges: choose a higher port"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

/// Binds every address of a service, unless `inherited` has its listener.
///
/// # Errors
/// For the first address that cannot be had.
pub fn bind(
    service: &'static str,
    addresses: &[SocketAddr],
    mut inherited: impl FnMut(&'static str, SocketAddr) -> Option<net::TcpListener>,
) -> Result<Vec<Arc<TcpListener>>, ListenError> {
    let listener = |&address: &SocketAddr| {
        let listener = match inherited(service, address) {
            Some(listener) => TcpListener::from_std(listener),
            None => listen(address),
        };
        listener.map(Arc::new).map_err(|error| ListenError { service, address, error })
    };
    addresses.iter().map(listener).collect()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted server must not wait for the old one's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How the listeners of one service let connections in.
pub struct Acceptor {
    /// What they speak, for the log.
    protocol: &'static str,
    /// Their part of the configuration.
    section: &'static str,
    /// The TLS that comes before anything else, where there is some.
    encryption: Option<Arc<Encryption>>,
    permits: Permits,
    /// The descriptors of connections, for those that do not have their own share.
    sockets: Option<Permits>,
    /// Whether the service ends connections so that newer ones have permits.
    makes_room: bool,
    /// None for a service that must stay within reach of whoever looks after a server.
    quotas: Option<Arc<Quotas>>,
    roster: Arc<Roster>,
    proxy_protocol: AtomicBool,
    trusted: ArcSwap<Vec<IpNet>>,
    refusing: Permits,
    state: watch::Sender<AcceptorState>,
    /// Listeners from which connections are accepted now.
    accepting: watch::Sender<usize>,
}

/// Whether anybody comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptorState {
    Open,
    /// Nobody is let in here; another process may do it, from the same queue.
    Held,
    /// Nobody is let in any more, and the listeners are gone.
    Closed,
}

impl Acceptor {
    /// An acceptor that counts nobody by address and believes what the sockets say. `protocol` is also the name of its
    /// part of the configuration.
    pub fn new(protocol: &'static str, permits: Permits) -> Self {
        Self {
            protocol,
            section: protocol,
            encryption: None,
            permits,
            sockets: None,
            makes_room: false,
            quotas: None,
            roster: Arc::default(),
            proxy_protocol: AtomicBool::new(false),
            trusted: ArcSwap::default(),
            refusing: Permits::new(REFUSING),
            state: watch::Sender::new(AcceptorState::Open),
            accepting: watch::Sender::new(0),
        }
    }

    /// The same, but counting by address in `quotas`.
    #[must_use]
    pub fn counting(mut self, quotas: &Arc<Quotas>) -> Self {
        self.quotas = Some(Arc::clone(quotas));
        self
    }

    /// The same, but each connection takes one of the descriptors of `sockets`.
    #[must_use]
    pub fn holding(mut self, sockets: &Permits) -> Self {
        self.sockets = Some(sockets.clone());
        self
    }

    /// The same, but of a service that ends others of its connections for each one beyond those that it wants: who
    /// finds no permit waits until they are gone, and is not turned away.
    #[must_use]
    pub fn making_room(mut self) -> Self {
        self.makes_room = true;
        self
    }

    /// The same, but whoever comes in is on `roster`.
    #[must_use]
    pub fn listing(mut self, roster: &Arc<Roster>) -> Self {
        self.roster = Arc::clone(roster);
        self
    }

    /// The same, but what is spoken is spoken over TLS, and is called `protocol`.
    #[must_use]
    pub fn encrypted(mut self, protocol: &'static str, encryption: &Arc<Encryption>) -> Self {
        self.protocol = protocol;
        self.encryption = Some(Arc::clone(encryption));
        self
    }

    /// From now on there is a PROXY header in front of each connection, if `expected`.
    pub fn expect_proxy_protocol(&self, expected: bool) {
        self.proxy_protocol.store(expected, Ordering::Relaxed);
    }

    /// From now on there are proxies at these addresses, which connect for many: who is behind them is counted once
    /// they have said it.
    pub fn trust(&self, proxies: &[IpNet]) {
        self.trusted.store(Arc::new(proxies.to_vec()));
    }

    /// Nobody comes in any more, but those who are connected already.
    pub fn close(&self) {
        self.state.send_replace(AcceptorState::Closed);
    }

    /// Leaves who comes next to another process that has the same listeners; once this has returned, none of them is
    /// accepted here.
    pub async fn hold(&self) {
        self.turn(AcceptorState::Open, AcceptorState::Held);
        // The sender is ours, so that it cannot be gone.
        let _ = self.accepting.subscribe().wait_for(|accepting| *accepting == 0).await;
    }

    /// Whoever comes is let in here again, if the acceptor was held.
    pub fn open(&self) {
        self.turn(AcceptorState::Held, AcceptorState::Open);
    }

    fn turn(&self, from: AcceptorState, to: AcceptorState) {
        self.state.send_if_modified(|state| {
            let is_other = *state == from;
            if is_other {
                *state = to;
            }
            is_other
        });
    }

    /// Reads the PROXY header of `client`.
    async fn identify(&self, socket: &mut TcpStream, client: &mut Client) -> Result<(), End> {
        let key = format!("{}.proxy_protocol", self.section);
        let Ok(read) = timeout(HEADER_TIMEOUT, read_header(socket, client)).await else {
            let reason = format!("sent no complete PROXY header within {HEADER_TIMEOUT:?} ({key})");
            return Err(End::new(Kind::Idle, reason));
        };
        match read {
            Ok(source) => client.is_at(source.map_or(client.peer, canonical)),
            Err(Unidentified::Ended(end)) => return Err(end),
            Err(Unidentified::Invalid(why)) => {
                return Err(End::peer(format!("{why} (required by {key})")));
            }
        }
        // The header was the balancer's: a health check has still said nothing.
        client.received = 0;
        Ok(())
    }

    /// Counts `client` by its address.
    fn count(&self, client: &Client) -> Result<(), Refusal> {
        let ip = client.peer.ip();
        if let Some(quotas) = &self.quotas
            && !self.trusted.load().iter().any(|network| network.contains(&ip))
        {
            client.standing.count(quotas, ip)?;
        }
        Ok(())
    }
}

/// What is done with a client, by the service that it wants.
pub trait Service: Send + Sync + 'static {
    /// Serves it.
    fn serve(
        self: Arc<Self>,
        socket: Stream,
        client: Client,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// Tells it why it is not served.
    fn refuse(
        self: Arc<Self>,
        socket: Stream,
        client: Client,
        refusal: Refusal,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// What somebody is told that speaks plain text at a port that is for TLS; empty where there is no way to tell it.
    fn answer_to_plain_text(&self) -> &'static [u8] {
        b""
    }
}

/// Accepts connections until the acceptor is closed, and serves each in a task of its own.
pub async fn accept(
    listener: Arc<TcpListener>,
    acceptor: Arc<Acceptor>,
    service: Arc<impl Service>,
) {
    let mut state = acceptor.state.subscribe();
    loop {
        acceptor.accepting.send_modify(|accepting| *accepting += 1);
        while_open(&listener, &acceptor, &service, &mut state).await;
        acceptor.accepting.send_modify(|accepting| *accepting -= 1);
        if *state.borrow() == AcceptorState::Held {
            until_not(&mut state, AcceptorState::Held).await;
        }
        // Who waits at an acceptor that was held is let in by the process that it was held for.
        if *state.borrow() == AcceptorState::Closed {
            return;
        }
    }
}

/// Accepts connections until the acceptor is held or closed.
async fn while_open(
    listener: &TcpListener,
    acceptor: &Arc<Acceptor>,
    service: &Arc<impl Service>,
    state: &mut watch::Receiver<AcceptorState>,
) {
    loop {
        if *state.borrow_and_update() == AcceptorState::Held {
            return;
        }
        tokio::select! {
            // Those who are connected already have come in time: the system has told them so.
            biased;
            accepted = listener.accept() => let_through(accepted, acceptor, service).await,
            () = until_not(state, AcceptorState::Open) => return,
        }
    }
}

async fn until_not(state: &mut watch::Receiver<AcceptorState>, known: AcceptorState) {
    // The acceptor cannot go before this does.
    let _ = state.wait_for(|state| *state != known).await;
}

async fn let_through(
    accepted: io::Result<(TcpStream, SocketAddr)>,
    acceptor: &Arc<Acceptor>,
    service: &Arc<impl Service>,
) {
    let protocol = acceptor.protocol;
    let (socket, peer) = match accepted {
        Ok((socket, peer)) => (socket, canonical(peer)),
        // It was gone before it was here.
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return,
        Err(error) => {
            warn!(protocol, %error, "cannot accept a connection");
            tokio::time::sleep(REST).await;
            return;
        }
    };
    let held = acceptor.sockets.as_ref().map(Permits::take);
    if held.as_ref().is_some_and(Option::is_none) {
        Refused::Connections.count();
        let raise = "LimitNOFILE, ulimit -n";
        warn!(protocol, %peer, raise, "refusing connections: out of file descriptors");
        return;
    }
    let Some(permit) = permit(acceptor).await else {
        Refused::Connections.count();
        let limit = acceptor.permits.limit();
        if acceptor.permits.taken() < limit {
            warn!(protocol, %peer, "refusing connections: out of memory (limits.memory)");
        } else {
            warn!(protocol, %peer, limit, "refusing connections: too many (limits.connections)");
        }
        return;
    };
    if let Err(error) = prepare(&socket) {
        warn!(protocol, %peer, %error, "cannot set up a connection");
        return;
    }
    let mut client = Client::new(peer, protocol, permit, &acceptor.roster);
    client.socket = held.flatten();
    if acceptor.proxy_protocol.load(Ordering::Relaxed) {
        tokio::spawn(let_in_behind_proxy(
            Arc::clone(acceptor),
            Arc::clone(service),
            socket,
            client,
        ));
    } else {
        let_in(acceptor, Arc::clone(service), socket, client);
    }
}

/// A permit at `acceptor`, if there is one soon enough.
async fn permit(acceptor: &Acceptor) -> Option<Permit> {
    let mut waited = Duration::ZERO;
    loop {
        let permit = acceptor.permits.take();
        if permit.is_some() || !acceptor.makes_room || waited >= ROOM_TIMEOUT {
            return permit;
        }
        tokio::time::sleep(ROOM_INTERVAL).await;
        waited += ROOM_INTERVAL;
    }
}

async fn let_in_behind_proxy(
    acceptor: Arc<Acceptor>,
    service: Arc<impl Service>,
    mut socket: TcpStream,
    mut client: Client,
) {
    match acceptor.identify(&mut socket, &mut client).await {
        Ok(()) => let_in(&acceptor, service, socket, client),
        Err(end) => client.end(&end),
    }
}

/// Serves or refuses a client, in a task of its own.
fn let_in(acceptor: &Acceptor, service: Arc<impl Service>, socket: TcpStream, client: Client) {
    let refusal = acceptor.count(&client).err();
    if let Some(refusal) = &refusal {
        Refused::from(refusal).count();
        warn!(protocol = acceptor.protocol, peer = %client.peer, "refusing connections: {refusal}");
        // Who is refused must not take a permit from those who are not. Beyond these permits nothing is said to it.
        let Some(permit) = acceptor.refusing.take() else { return };
        client.standing.move_to(permit);
    }
    match (&acceptor.encryption, refusal) {
        (Some(encryption), refusal) => {
            let encryption = Arc::clone(encryption);
            tokio::spawn(encryption.let_in(service, socket, client, refusal));
        }
        (None, Some(refusal)) => drop(tokio::spawn(service.refuse(socket.into(), client, refusal))),
        (None, None) => drop(tokio::spawn(service.serve(socket.into(), client))),
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

#[cfg(test)]
mod tests;
