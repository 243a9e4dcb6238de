//! What crosses a shard's wall: viewers on their way to it and back, rings for a flush.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use bytes::Bytes;
use mio::Waker;
use tracing::error;
use weir_clients::{client::Client, histogram::Histogram, roster::Farewell};
use weir_hub::Wake;
use weir_rtmp::server;
use weir_tls::Session;

use super::{
    channel::Channel,
    terms::{Terms, TermsOf},
    viewer::Protocol,
};

/// The least bit rate a viewer is counted with, so that viewers of streams that have just begun spread too.
pub(crate) const BIT_RATE_MIN: u64 = 100_000;

/// A viewer on its way to a shard.
pub struct Arrival {
    /// Its socket, non-blocking.
    pub socket: std::net::TcpStream,
    /// The TLS that it has.
    pub tls: Option<Box<Session>>,
    /// What it plays.
    pub channel: Arc<Channel>,
    /// How it is treated.
    pub terms: Terms,
    /// What it gets first.
    pub head: Bytes,
    /// What it speaks.
    pub protocol: Protocol,
    /// Who it is.
    pub client: Client,
}

/// An RTMP viewer on its way back to the control side.
pub struct Returned {
    /// Its socket, non-blocking.
    pub socket: std::net::TcpStream,
    /// The TLS that it has.
    pub tls: Option<Box<Session>>,
    /// Its session.
    pub session: Box<server::Session>,
    /// Who it is.
    pub client: Client,
    /// What must be sent before anything else: the rest of a message that is begun.
    pub unsent: Vec<Bytes>,
    /// What it said.
    pub why: Why,
}

/// Why an RTMP viewer leaves its shard alive.
pub enum Why {
    /// Its stream has ended.
    StreamEnded,
    /// It sent a command; the session may hold more.
    Command(server::Event),
    /// It was asked to leave.
    Leave(Farewell),
}

/// A shard's letter box, and what others may know of it.
pub(crate) struct Mailbox {
    pub(crate) inbox: Mutex<Inbox>,
    pub(crate) waker: Waker,
    /// Bits per second that its viewers are expected to take.
    pub(crate) load: AtomicU64,
    pub(crate) viewers: AtomicUsize,
    /// How long flushes took; only the shard's thread writes it.
    pub(crate) latency: Histogram,
    /// Called before the process ends for a shard that is dead.
    pub(crate) last: fn(),
}

/// Bounded by what is in it: arrivals by `limits.connections`, due channels by one entry per channel.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) arrivals: Vec<(Arrival, u64)>,
    pub(crate) due: Vec<usize>,
    /// Some clients are asked to leave.
    pub(crate) look: bool,
    /// The terms that are in force now.
    pub(crate) terms: Option<TermsOf>,
    pub(crate) closed: bool,
}

impl Mailbox {
    /// What was expected to take `before` is expected to take `after`.
    pub(crate) fn reweigh(&self, before: u64, after: u64) {
        // Atomics wrap around, so that adding a difference below zero subtracts.
        self.load.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    pub(crate) fn put(&self, letter: impl FnOnce(&mut Inbox)) {
        letter(&mut self.lock());
        if let Err(error) = self.waker.wake() {
            // Without its waker a shard delivers nothing any more.
            self.die("cannot be woken", &error);
        }
    }

    /// Ends the process: viewers of a dead shard would hang, and nobody would know.
    pub(crate) fn die(&self, what: &str, why: &dyn std::fmt::Display) -> ! {
        error!("a delivery shard {what}: {why}; exiting so that the process can be restarted");
        (self.last)();
        std::process::exit(70)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a shard that there is more in one of its channels.
pub(crate) struct ShardWaker {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) number: usize,
    /// Whether the shard knows already: one wake per flush, however many frames.
    pub(crate) is_woken: AtomicBool,
}

impl Wake for ShardWaker {
    fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            self.mailbox.put(|inbox| inbox.due.push(self.number));
        }
    }
}
