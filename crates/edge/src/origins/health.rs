//! One origin, and whether it is alive.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
    time::{sleep, timeout},
};
use tracing::{info, warn};
use weir_clients::{
    detail::Detail,
    end::seconds,
    events::{EVENTS, EventKind},
};
use weir_config::{OriginName, Scheme, Upstream};
use weir_rtmp::handshake::{Client, Kind, PACKET_BYTES};
use weir_tls::{Stream, client::Spoken};
use weir_upstream::{PeerTls, Secure, connect};

use super::hash::Hash;
#[cfg(test)]
use crate::tls::origin_tls;

/// From an origin's failure to the first check, since a process that is restarted is back within a moment.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Between two checks of an origin that fails them, at first: viewers see a frozen picture until it is found again.
const PAUSE: Duration = Duration::from_millis(250);

/// The same later on: it is not being restarted, but gone. Nobody is to be without his stream for a second after it is
/// back all the same.
const PAUSE_LATER: Duration = Duration::from_millis(500);

/// After so many checks it is later.
const CHECKS_AT_FIRST: u32 = 120;

/// For an origin to answer the handshake of a check. A process that is stuck accepts connections all the same, since
/// the system does that for it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// Characters that are kept of a reason: it may be an origin's own text.
const REASON_CHARS_MAX: usize = 200;

/// One origin at one address. What is known of its health is shared by all streams.
#[derive(Debug)]
pub struct Origin {
    /// Where it is: its RTMP port, or its HTTPS port if that is all that it has.
    pub address: SocketAddr,
    /// Its HTTP port.
    pub http: SocketAddr,
    /// The name it was configured under: it is asked for streams by this name, and its certificate must be for it.
    pub host: String,
    /// What is spoken with it.
    pub scheme: Scheme,
    /// Whom to trust, if that has TLS.
    pub tls: Arc<PeerTls>,
    hash: Hash,
    health: Mutex<Health>,
    /// Wakes its checks when it has failed.
    fell: Notify,
    /// Wakes those who wait for an origin, or have put a question to this one.
    news: Arc<Notify>,
}

#[derive(Debug)]
struct Health {
    healthy: bool,
    since: Instant,
    last_failure: Option<String>,
    checks: u64,
}

/// A port of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// That of RTMP.
    Rtmp,
    /// That of HTTP.
    Http,
}

/// What is known of an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginStatus {
    /// Where it is: its RTMP port, or its HTTPS port if that is all that it has.
    pub address: SocketAddr,
    /// The name it was configured under.
    pub host: String,
    /// Whether it counts as alive.
    pub healthy: bool,
    /// Since when that is so.
    pub since: Instant,
    /// Why it failed last, if it ever did.
    pub last_failure: Option<String>,
    /// How often it was looked whether it is alive again.
    pub checks: u64,
}

impl Origin {
    /// An origin that counts as alive. `news` is told when it does not any more, and when it does again.
    pub(crate) fn new(
        (address, http): (SocketAddr, SocketAddr),
        name: &OriginName,
        tls: &Arc<PeerTls>,
        news: &Arc<Notify>,
    ) -> Self {
        let health = Health { healthy: true, since: Instant::now(), last_failure: None, checks: 0 };
        Self {
            address,
            http,
            host: name.host.clone(),
            scheme: name.scheme,
            tls: Arc::clone(tls),
            hash: Hash::of(&address.to_string()),
            health: Mutex::new(health),
            fell: Notify::new(),
            news: Arc::clone(news),
        }
    }

    /// One without TLS, which nobody waits for.
    #[cfg(test)]
    pub(crate) fn plain(ports: (SocketAddr, SocketAddr), host: &str) -> Self {
        let (name, tls) = (OriginName::rtmp(host, ports.0.port()), Arc::new(origin_tls()));
        Self::new(ports, &name, &tls, &Arc::default())
    }

    /// Connects to one of its ports, with TLS if it has that; `connected` is set as soon as its system has accepted the
    /// connection.
    ///
    /// # Errors
    /// As [`connect()`] has it.
    pub(crate) async fn connect(&self, port: Port, connected: &AtomicBool) -> io::Result<Stream> {
        let (address, spoken) = match port {
            Port::Rtmp => (self.address, Spoken::Silent),
            Port::Http => (self.http, Spoken::Http),
        };
        let secure = Secure { tls: &self.tls, host: &self.host, spoken };
        connect(address, self.scheme.is_tls().then_some(secure), connected).await
    }

    /// What streams are pulled from it with, where `configured` is what they are pulled with in general.
    pub(crate) const fn protocol(&self, configured: Upstream) -> Upstream {
        if self.scheme.is_rtmp() { configured } else { Upstream::Flv }
    }

    /// Whether whoever is connected to the one could as well be connected to the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.address == other.address && self.is_spoken_with(other.scheme, &other.host)
    }

    /// Whether connections are made as to an origin of this name: it matters only where a certificate must be for it.
    pub(super) fn is_spoken_with(&self, scheme: Scheme, host: &str) -> bool {
        self.scheme == scheme && (!scheme.is_tls() || self.host == host)
    }

    /// It did what it was asked, or said why not.
    pub fn succeeded(&self) {
        let now = Instant::now();
        let mut health = self.health();
        if health.healthy {
            return;
        }
        let seconds = seconds(now.duration_since(health.since));
        health.healthy = true;
        health.since = now;
        drop(health);
        info!(origin = %self, host = self.host, seconds, "origin is available again");
        let name = self.to_string();
        let detail = Detail::new("origin_back", [&name], &name);
        EVENTS.note(EventKind::OriginBack, None, None, detail);
        self.news.notify_waiters();
    }

    /// It could not be reached, broke the protocol or fell silent.
    pub fn failed(&self, why: &str) {
        let reason: String = why.chars().take(REASON_CHARS_MAX).collect();
        let mut health = self.health();
        health.last_failure = Some(reason.clone());
        if !health.healthy {
            return;
        }
        health.healthy = false;
        health.since = Instant::now();
        drop(health);
        warn!(origin = %self, host = self.host, reason, "origin failed: other origins are tried first");
        let text = format!("{self}: {reason}");
        let detail = Detail::new("origin_fault", [&self.to_string(), &reason], &text);
        EVENTS.note(EventKind::OriginLost, None, None, detail);
        self.fell.notify_one();
        self.news.notify_waiters();
    }

    /// Whether it is known to be alive, as far as one can know.
    pub fn is_healthy(&self) -> bool {
        self.health().healthy
    }

    /// What is known of it.
    pub fn status(&self) -> OriginStatus {
        let health = self.health();
        OriginStatus {
            address: self.address,
            host: self.host.clone(),
            healthy: health.healthy,
            since: health.since,
            last_failure: health.last_failure.clone(),
            checks: health.checks,
        }
    }

    /// Its weight for the stream whose key has this text: the heaviest origin owns it.
    pub(super) fn weight(&self, key: &str) -> u64 {
        self.hash.and(key).weight()
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)
    }
}

/// Looks after `origin`: whenever it has failed, looks again and again whether it is alive. One look at a time, however
/// many streams found that it failed.
pub async fn look_after(origin: Arc<Origin>) {
    loop {
        origin.fell.notified().await;
        let mut checks = 0_u32;
        loop {
            let pause = match checks {
                0 => FIRST_PAUSE,
                1..CHECKS_AT_FIRST => PAUSE,
                _ => PAUSE_LATER,
            };
            sleep(with_jitter(pause)).await;
            checks = checks.saturating_add(1);
            if origin.is_healthy() {
                break;
            }
            origin.health().checks += 1;
            match check(&origin).await {
                Ok(()) => origin.succeeded(),
                Err(why) => origin.failed(&why),
            }
        }
    }
}

/// Does the RTMP handshake with whatever is at its address; that of TLS says as much where there is no RTMP.
async fn check(origin: &Origin) -> Result<(), String> {
    let port = if origin.scheme.is_rtmp() { Port::Rtmp } else { Port::Http };
    let socket = origin.connect(port, &AtomicBool::new(false)).await;
    let socket = socket.map_err(|error| format!("cannot connect: {error}"))?;
    if port == Port::Http {
        return Ok(());
    }
    let handshake = timeout(HANDSHAKE_TIMEOUT, shake_hands(socket)).await;
    let handshake = handshake.map_err(|_| format!("no handshake within {HANDSHAKE_TIMEOUT:?}"))?;
    handshake.map_err(|error| format!("handshake failed: {error}"))
}

async fn shake_hands(mut socket: Stream) -> io::Result<()> {
    let mut random = [0; PACKET_BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let mut handshake = Client::new(Kind::Simple, random, &mut output);
    loop {
        socket.write_all_buf(&mut output).await?;
        socket.flush().await?;
        input.clear();
        if socket.read_buf(&mut input).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
        }
        if handshake.read(&mut &input[..], &mut output).map_err(io::Error::other)? {
            return Ok(());
        }
    }
}

/// Up to a quarter more or less than `pause`, so that many edges do not knock at once.
fn with_jitter(pause: Duration) -> Duration {
    let Ok(random) = getrandom::u32() else { return pause };
    let half = pause / 2;
    pause - half / 2 + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use weir_rtmp::handshake::Server;

    use super::*;

    /// More than any of this takes.
    const SOON: Duration = Duration::from_secs(20);

    fn origin(rtmp: SocketAddr) -> Arc<Origin> {
        Arc::new(Origin::plain((rtmp, rtmp), "origin.test"))
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    /// Answers the handshake of one connection, to its end.
    async fn answer(listener: &TcpListener) {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut handshake = Server::new([7; PACKET_BYTES]);
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        while let Ok(1..) = socket.read_buf(&mut input).await {
            handshake.read(&mut &input.split()[..], &mut output).expect("a handshake");
            socket.write_all_buf(&mut output).await.expect("it reads");
        }
    }

    #[test]
    fn health_is_what_was_seen_last() {
        let origin = origin("10.0.0.1:1935".parse().expect("an address"));
        assert!(origin.is_healthy());
        assert_eq!(origin.status().last_failure, None);
        origin.failed("connection refused");
        assert!(!origin.is_healthy());
        let down = origin.status();
        origin.failed(&"x".repeat(100_000));
        assert_eq!(origin.status().since, down.since, "it is down since the first failure");
        assert_eq!(origin.status().last_failure.map(|why| why.len()), Some(REASON_CHARS_MAX));
        origin.succeeded();
        assert!(origin.is_healthy());
        assert!(origin.status().last_failure.is_some(), "why it failed is known afterwards");
    }

    #[tokio::test]
    async fn an_origin_that_only_accepts_is_not_alive_until_it_answers() {
        let (listener, address) = listener().await;
        let origin = origin(address);
        let task = tokio::spawn(look_after(Arc::clone(&origin)));
        let alive = origin.news.notified();
        origin.failed("fell silent");
        origin.failed("fell silent");
        // The second look begins after the first has given up.
        let (first, _) = listener.accept().await.expect("a look");
        let (second, _) = listener.accept().await.expect("another look");
        let status = origin.status();
        assert!(!status.healthy, "it never answered");
        assert_eq!(status.checks, 2, "one look at a time");
        assert_eq!(status.last_failure.as_deref(), Some("no handshake within 1s"));
        drop((first, second));
        answer(&listener).await;
        timeout(SOON, alive).await.expect("those who wait are woken");
        assert!(origin.is_healthy());
        task.abort();
    }

    #[tokio::test]
    async fn checks_tell_why() {
        let (listener, address) = listener().await;
        let origin = origin(address);
        let (checked, ()) = tokio::join!(check(&origin), answer(&listener));
        assert_eq!(checked, Ok(()));

        let http = async {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("it reads");
            socket
        };
        let (checked, _socket) = tokio::join!(check(&origin), http);
        let why = checked.expect_err("that was no RTMP");
        assert!(why.starts_with("handshake failed: "), "{why}");

        drop(listener);
        let why = check(&origin).await.expect_err("nothing listens");
        assert!(why.starts_with("cannot connect: "), "{why}");
    }

    #[test]
    fn jitter_is_a_quarter_at_most() {
        for _ in 0..1000 {
            let pause = with_jitter(PAUSE);
            assert!(pause >= PAUSE * 3 / 4 && pause <= PAUSE * 5 / 4, "{pause:?}");
        }
    }
}
