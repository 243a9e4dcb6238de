//! A TCP relay that cuts, holds and counts the connections that go through it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

/// Bytes carried at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Pieces that are under way to somebody who is far.
const LATE_MAX: usize = 1024;

/// Stands between a client and a server. Dropping it closes everything.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
    servers: Arc<Mutex<VecDeque<SocketAddr>>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Orders {
    held: bool,
    /// Connections of an earlier generation are to be reset.
    generation: u64,
}

#[derive(Debug, Default)]
struct Counts {
    total: AtomicUsize,
    open: AtomicUsize,
    peak: AtomicUsize,
}

impl Relay {
    /// A relay to `server` on a free port of the loopback interface.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start(server: SocketAddr) -> Self {
        Self::spread(vec![server]).await
    }

    /// A relay to a `server` that is `delay` away: all bytes arrive so much later, both ways. It carries nothing else
    /// out: no holds, no resets.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn far(server: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (orders, _) = watch::channel(Orders::default());
        let (counts, servers) = (Arc::default(), Arc::default());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(async move {
                    // Whoever ended it knows.
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        _ = carry_late(from_client, to_server, delay) => {}
                        _ = carry_late(from_server, to_client, delay) => {}
                    }
                });
            }
        });
        Self { address, orders, counts, task, servers }
    }

    /// A relay that gives each connection to another one of `servers`, in turn, as a balancer in front of them does.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn spread(servers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (orders, seen) = watch::channel(Orders::default());
        let counts = Arc::new(Counts::default());
        let servers = Arc::new(Mutex::new(VecDeque::from(servers)));
        let task = tokio::spawn(accept(listener, servers.clone(), seen, counts.clone()));
        Self { address, orders, counts, task, servers }
    }

    /// From now on new connections go to these `servers`. Those that are there stay.
    pub fn lead_to(&self, servers: Vec<SocketAddr>) {
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = servers.into();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.counts.total.load(Ordering::Acquire)
    }

    /// Connections at this moment.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::Acquire)
    }

    /// The most connections at one time.
    pub fn peak(&self) -> usize {
        self.counts.peak.load(Ordering::Acquire)
    }

    /// Resets each connection when something goes through it next, in the midst of that: half of it still arrives.
    pub fn reset(&self) {
        self.orders.send_modify(|orders| orders.generation += 1);
    }

    /// Carries nothing any more. Connections stay open, and new ones are accepted.
    pub fn hold(&self) {
        self.orders.send_modify(|orders| orders.held = true);
    }

    /// Goes on after it [held](Self::hold) everything.
    pub fn release(&self) {
        self.orders.send_modify(|orders| orders.held = false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The connections see that nobody gives orders any more.
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    servers: Arc<Mutex<VecDeque<SocketAddr>>>,
    orders: watch::Receiver<Orders>,
    counts: Arc<Counts>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let server = {
            let mut servers = servers.lock().unwrap_or_else(PoisonError::into_inner);
            servers.rotate_left(1);
            servers.back().copied()
        };
        let Some(server) = server else { return };
        let open = Open::new(counts.clone());
        let mut orders = orders.clone();
        let born = orders.borrow_and_update().generation;
        tokio::spawn(async move {
            // A server that is not there is one that hangs up, as far as the client can see.
            if let Ok(server) = TcpStream::connect(server).await {
                // Whoever ended it knows.
                let _ = carry([client, server], born, &mut orders).await;
            }
            drop(open);
        });
    }
}

/// Carries one way, each byte `delay` after it came.
async fn carry_late(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
) -> io::Result<()> {
    let (sender, mut late) = mpsc::channel::<(Instant, Vec<u8>)>(LATE_MAX);
    let read = async {
        loop {
            let mut bytes = vec![0; CHUNK_BYTES];
            let count = from.read(&mut bytes).await?;
            bytes.truncate(count);
            let sent = sender.send((Instant::now() + delay, bytes)).await;
            if count == 0 || sent.is_err() {
                return std::future::pending::<io::Result<()>>().await;
            }
        }
    };
    let write = async {
        while let Some((due, bytes)) = late.recv().await {
            sleep_until(due).await;
            if bytes.is_empty() {
                return Ok(());
            }
            to.write_all(&bytes).await?;
        }
        Ok(())
    };
    tokio::select! {
        failed = read => failed,
        done = write => done,
    }
}

/// Carries both ways until one side ends or a reset is ordered that is later than `born`.
async fn carry(
    ends: [TcpStream; 2],
    born: u64,
    orders: &mut watch::Receiver<Orders>,
) -> io::Result<()> {
    let [mut client, mut server] = ends;
    let (mut up, mut down) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        let Orders { held, generation } = *orders.borrow_and_update();
        let reset = generation != born;
        let (count, bytes, to) = tokio::select! {
            // What was ordered before something came holds for it.
            biased;
            changed = orders.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
            count = client.read(&mut up), if !held => (count?, &up, &mut server),
            count = server.read(&mut down), if !held => (count?, &down, &mut client),
        };
        if count == 0 {
            return Ok(());
        }
        if !reset {
            to.write_all(&bytes[..count]).await?;
            continue;
        }
        to.write_all(&bytes[..count / 2]).await?;
        client.set_zero_linger()?;
        return server.set_zero_linger();
    }
}

/// A connection that is counted as open.
struct Open(Arc<Counts>);

impl Open {
    fn new(counts: Arc<Counts>) -> Self {
        counts.total.fetch_add(1, Ordering::AcqRel);
        let open = counts.open.fetch_add(1, Ordering::AcqRel) + 1;
        counts.peak.fetch_max(open, Ordering::AcqRel);
        Self(counts)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::eventually;

    const SOON: Duration = Duration::from_secs(10);

    /// A relay, and both ends of a connection through it.
    async fn connected() -> (Relay, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Relay::start(listener.local_addr().unwrap()).await;
        let client = TcpStream::connect(relay.address()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (relay, client, server)
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_connections_are_counted() {
        let (relay, mut client, mut server) = connected().await;
        let mut buffer = [0; 2];
        client.write_all(b"up").await.unwrap();
        server.read_exact(&mut buffer).await.unwrap();
        server.write_all(&buffer).await.unwrap();
        client.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"up");
        assert_eq!((relay.connections(), relay.open(), relay.peak()), (1, 1, 1));
        drop(client);
        assert_eq!(server.read(&mut buffer).await.unwrap(), 0);
        eventually("closed", SOON, async || (relay.open() == 0).then_some(())).await;
        assert_eq!((relay.connections(), relay.peak()), (1, 1));
    }

    #[tokio::test]
    async fn a_reset_comes_in_the_midst_of_a_message() {
        let (relay, mut client, mut server) = connected().await;
        relay.reset();
        server.write_all(b"message!").await.unwrap();
        let mut received = Vec::new();
        let error = client.read_to_end(&mut received).await.expect_err("a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        // A reset may overtake what was sent before it.
        assert!(b"mess".starts_with(&received[..]), "{received:?}");
        assert!(server.read_u8().await.is_err());
    }

    #[tokio::test]
    async fn what_is_held_comes_later() {
        let (relay, mut client, mut server) = connected().await;
        relay.hold();
        client.write_all(b"up").await.unwrap();
        let held = timeout(Duration::from_millis(50), server.peek(&mut [0])).await;
        assert!(held.is_err(), "it was carried all the same");
        relay.release();
        assert_eq!(timeout(SOON, server.read_u8()).await.unwrap().unwrap(), b'u');
    }
}
