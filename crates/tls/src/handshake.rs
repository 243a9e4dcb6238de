//! Handshakes of connections that come in.
//!
//! Each costs a signature or more of ours, and costs whoever asks for it next to nothing. So they have threads of their
//! own, which yield to all others: a flood of handshakes slows handshakes down, and no stream.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{CertificateError, Error, ServerConfig, ServerConnection};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::Notify,
    time::timeout,
};

use crate::{
    session::Session,
    stream::{Stream, flush, read_handshake},
};

/// How long a handshake may take: three round trips around the world, with a lost packet in each.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes at a time. With more, the oldest ends: one that goes on takes less than a second, so that whoever opens
/// connections to leave them open needs thousands a second to keep others out, and not some hundred in five seconds.
const AT_ONCE_MAX: usize = 1024;

/// Bytes that a client may send for a handshake. A first message has up to 2 KB, with keys that outlast quantum
/// computers; a client's own certificates, where they are asked for, have as much each.
const BYTES_MAX: usize = 16 * 1024;

/// The first byte of everything that a client says in a handshake: a record of the type `handshake`.
pub const FIRST_BYTE: u8 = 22;

/// By how much other threads are preferred to those of handshakes (see `nice`): these get what is left, and a tenth of
/// a core where nothing is.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Handshakes that are under way.
#[derive(Debug, Default)]
pub struct Handshakes {
    threads: OnceLock<Threads>,
    /// Those who wait for their clients, by age: the oldest is told to make room.
    waiting: Mutex<BTreeMap<u64, Arc<Notify>>>,
    next: AtomicU64,
}

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The client does not speak TLS. Nothing of what it has said has been read.
    #[error("does not speak TLS, which this port is for")]
    NotTls(TcpStream),
    /// It has not finished in time.
    #[error("no TLS handshake within {TIMEOUT:?}")]
    Late,
    /// There were too many, and it was the oldest.
    #[error("TLS handshake given up for newer ones: {AT_ONCE_MAX} were under way")]
    Crowded,
    /// It sent more than a handshake has.
    #[error("sent more than {BYTES_MAX} bytes for a TLS handshake")]
    TooLong,
    /// It went away.
    #[error("closed the connection in the TLS handshake")]
    Closed,
    /// The socket failed.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// What one end wants, the other does not have.
    #[error("TLS failed: {0}")]
    Tls(#[from] Error),
}

impl Failure {
    /// Every label.
    pub const LABELS: [&'static str; 7] =
        ["not_tls", "timeout", "crowded", "closed", "certificate", "unsupported", "other"];

    /// The label of metrics, as an index into [`LABELS`](Self::LABELS).
    pub const fn label(&self) -> usize {
        match self {
            Self::NotTls(_) => 0,
            Self::Late => 1,
            Self::Crowded => 2,
            Self::Closed | Self::Socket(_) => 3,
            Self::Tls(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => 4,
            // The client's alerts say that it does not trust our certificate; its choice of versions, ciphers and
            // protocols that there is nothing in common.
            Self::Tls(Error::AlertReceived(_)) => 4,
            Self::Tls(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => 5,
            Self::TooLong | Self::Tls(_) => 6,
        }
    }

    /// Whether the client's own certificate was refused.
    pub const fn is_unknown_client(&self) -> bool {
        matches!(
            self,
            Self::Tls(
                Error::NoCertificatesPresented
                    | Error::InvalidCertificate(CertificateError::UnknownIssuer)
            )
        )
    }
}

impl Handshakes {
    /// Does the handshake with the client at `socket`, as `config` says.
    ///
    /// # Errors
    /// When it fails; the client has been told why, if there was a way.
    pub async fn accept(
        &self,
        socket: TcpStream,
        config: Arc<ServerConfig>,
    ) -> Result<Stream, Failure> {
        let place = self.enter();
        // In a box: whoever waits for it does so for a moment, and is then somebody who streams.
        let shaking = Box::pin(self.shake_hands(socket, config));
        tokio::select! {
            biased;
            done = timeout(TIMEOUT, shaking) => done.unwrap_or(Err(Failure::Late)),
            () = place.given_up.notified() => Err(Failure::Crowded),
        }
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.lock().len()
    }

    async fn shake_hands(
        &self,
        mut socket: TcpStream,
        config: Arc<ServerConfig>,
    ) -> Result<Stream, Failure> {
        let mut first = [0];
        if socket.peek(&mut first).await? == 0 {
            return Err(Failure::Closed);
        }
        if first[0] != FIRST_BYTE {
            return Err(Failure::NotTls(socket));
        }
        let mut session = Box::new(Session::new(ServerConnection::new(config)?));
        let mut received = 0;
        loop {
            let count = read_handshake(&mut socket, &mut session).await?;
            received += count;
            match count {
                0 => return Err(Failure::Closed),
                _ if received > BYTES_MAX => return Err(Failure::TooLong),
                _ => {}
            }
            let outcome;
            (session, outcome) = self.threads()?.go_on(session).await?;
            let flushed = flush(&mut socket, &mut session).await;
            outcome?;
            flushed?;
            if !session.is_new() {
                return Ok(Stream::new(socket, Some(session)));
            }
        }
    }

    fn threads(&self) -> io::Result<&Threads> {
        if let Some(threads) = self.threads.get() {
            return Ok(threads);
        }
        // Of two that are made at once, one goes again.
        let threads = Threads::start()?;
        Ok(self.threads.get_or_init(|| threads))
    }

    fn enter(&self) -> Place<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let given_up = Arc::<Notify>::default();
        let oldest = {
            let mut waiting = self.lock();
            waiting.insert(number, Arc::clone(&given_up));
            if waiting.len() > AT_ONCE_MAX { waiting.pop_first() } else { None }
        };
        if let Some((_, oldest)) = oldest {
            oldest.notify_one();
        }
        Place { all: self, number, given_up }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those that are under way, until this is dropped.
struct Place<'a> {
    all: &'a Handshakes,
    number: u64,
    given_up: Arc<Notify>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.number);
    }
}

/// Where handshakes are computed: half as many threads as there are cores.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads((cores / 2).max(1))
            .thread_name("weir-tls")
            .on_thread_start(|| {
                // On Linux that is the thread alone. Where it is refused, they are like all others.
                #[cfg(target_os = "linux")]
                let _ = rustix::process::setpriority_process(None, NICE);
            })
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Goes on with a handshake. When this is dropped, it still does to its end.
    async fn go_on(
        &self,
        mut session: Box<Session>,
    ) -> io::Result<(Box<Session>, Result<(), Error>)> {
        let Some(runtime) = &self.0 else { return Err(ErrorKind::NotConnected.into()) };
        let work = async move {
            let outcome = session.go_on();
            (session, outcome)
        };
        runtime.spawn(work).await.map_err(io::Error::other)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A runtime must not wait for its threads on one of another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;
