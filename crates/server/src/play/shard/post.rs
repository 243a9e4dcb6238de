//! What others have to do with shards: handing viewers over, ringing for a flush, taking viewers back.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use mio::Waker;
use tokio::sync::mpsc;
use tracing::error;
use weir_config::{Config, Play};
use weir_hub::Wake;
use weir_rtmp::server;

use super::Shard;
use crate::{
    client::Client,
    log,
    metrics::{Counted, Histogram},
    play::{channel::Channel, viewer::Protocol},
    quota::Quotas,
    roster::Farewell,
};

/// The least bit rate a viewer is counted with, so that viewers of streams that have just begun spread too.
pub(super) const BIT_RATE_MIN: u64 = 100_000;

/// A viewer on its way to a shard.
pub struct Arrival {
    /// Its socket, non-blocking.
    pub socket: std::net::TcpStream,
    /// What it plays.
    pub channel: Arc<Channel>,
    /// The settings of its vhost.
    pub play: Play,
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

/// All shards of the process.
pub struct Shards {
    posts: Vec<Arc<Post>>,
}

/// A shard's letter box, and what others may know of it.
pub(super) struct Post {
    pub(super) inbox: Mutex<Inbox>,
    pub(super) waker: Waker,
    /// Bits per second that its viewers are expected to take.
    pub(super) load: AtomicU64,
    pub(super) viewers: AtomicUsize,
    /// How long flushes took; only the shard's thread writes it.
    pub(super) latency: Histogram,
}

/// Bounded by what is in it: arrivals by `limits.connections`, due channels by one entry per channel.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) arrivals: Vec<(Arrival, u64)>,
    pub(super) due: Vec<usize>,
    /// Some clients are asked to leave.
    pub(super) look: bool,
    /// A configuration that is in force now.
    pub(super) config: Option<Arc<Config>>,
    pub(super) closed: bool,
}

impl Shards {
    /// Starts `count` shards. RTMP viewers that must go back to the control side are sent to `returns`; what is sent
    /// counts in `quotas`.
    ///
    /// # Errors
    /// When the system gives no poller or thread.
    pub fn start(
        count: usize,
        returns: &mpsc::Sender<Returned>,
        quotas: &Arc<Quotas>,
    ) -> io::Result<Self> {
        let posts = (0..count)
            .map(|number| Shard::start(number, returns.clone(), Arc::clone(quotas)))
            .collect::<io::Result<_>>()?;
        Ok(Self { posts })
    }

    /// Gives a viewer to the shard with the least to send.
    pub fn deliver(&self, arrival: Arrival) {
        arrival.client.presence.leaves_its_task();
        let Some(post) = self.posts.iter().min_by_key(|post| post.load.load(Ordering::Relaxed))
        else {
            return;
        };
        let weight = arrival.channel.bit_rate().max(BIT_RATE_MIN);
        post.load.fetch_add(weight, Ordering::Relaxed);
        post.viewers.fetch_add(1, Ordering::Relaxed);
        post.put(|inbox| inbox.arrivals.push((arrival, weight)));
    }

    /// Some clients have been asked to leave: those who have them look whether they are theirs.
    pub fn look(&self) {
        for post in &self.posts {
            post.put(|inbox| inbox.look = true);
        }
    }

    /// From now on viewers are treated as `config` says.
    pub fn reconfigure(&self, config: &Arc<Config>) {
        for post in &self.posts {
            post.put(|inbox| inbox.config = Some(Arc::clone(config)));
        }
    }

    /// Bits per second that the viewers of each shard are expected to take.
    pub fn loads(&self) -> Vec<u64> {
        self.posts.iter().map(|post| post.load.load(Ordering::Relaxed)).collect()
    }

    /// Adds how long flushes took.
    pub fn add_latency(&self, counted: &mut Counted) {
        self.posts.iter().for_each(|post| post.latency.add_to(counted));
    }

    /// Viewers on each shard.
    pub fn viewers(&self) -> Vec<usize> {
        self.posts.iter().map(|post| post.viewers.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        for post in &self.posts {
            post.put(|inbox| inbox.closed = true);
        }
    }
}

impl Post {
    /// What was expected to take `before` is expected to take `after`.
    pub(super) fn reweigh(&self, before: u64, after: u64) {
        // Atomics wrap around, so that adding a difference below zero subtracts.
        self.load.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    fn put(&self, letter: impl FnOnce(&mut Inbox)) {
        letter(&mut self.lock());
        if let Err(error) = self.waker.wake() {
            // Without its waker a shard delivers nothing any more.
            die("cannot be woken", &error);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the process: viewers of a dead shard would hang, and nobody would know.
pub(super) fn die(what: &str, why: &dyn std::fmt::Display) -> ! {
    error!("a delivery shard {what}: {why}; the process ends so that it can be restarted");
    log::finish();
    std::process::exit(70)
}

/// What a channel rings on a shard.
pub(super) struct Ring {
    pub(super) post: Arc<Post>,
    pub(super) number: usize,
    /// Whether the shard knows already: one wake per flush, however many frames.
    pub(super) rung: AtomicBool,
}

impl Wake for Ring {
    fn wake(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.post.put(|inbox| inbox.due.push(self.number));
        }
    }
}
