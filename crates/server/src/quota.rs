//! What viewers and addresses may take of this process: `limits.egress`, `limits.viewers_per_stream`,
//! `limits.connections_per_ip`.
//!
//! Who is here is kept: only newcomers are refused. Whether one more viewer fits is asked twice over. What the viewers
//! that are here are expected to take must leave room for it, which holds when a thousand come in the same instant and
//! none of their bytes has flowed. And what has really been sent must be within the limit, which holds when streams
//! take more than expected, and counts what no expectation covers: segments, and the start that each newcomer gets.

mod bucket;
mod guesses;
mod network;
mod watching;

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use weir_media::StreamKey;

use self::{bucket::Bucket, watching::Watching};
pub use self::{guesses::Guesses, network::Network};
use crate::config::Limits;

/// When a client that was refused may ask again, for `Retry-After`: soon enough for a person who waits, and a crowd
/// that is refused comes back as a few hundred requests a second and not at once.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What a viewer of a stream counts for until its bit rate is known, which takes half a second from the first viewer
/// or the stream's beginning on: a common picture. Too little would let a crowd in that there is no room for, and who
/// is in is kept; too much turns some away for [`RETRY_AFTER`].
const UNKNOWN_BIT_RATE: u64 = 2_000_000;

/// Counts viewers, their expected and real bit rates, and connections by address.
pub struct Quotas {
    egress: AtomicU64,
    viewers_per_stream: AtomicUsize,
    connections_per_ip: AtomicUsize,
    /// Bytes sent to viewers so far. Shards add to it once for each wake.
    sent: AtomicU64,
    books: Mutex<Books>,
    addresses: Mutex<HashMap<Network, usize>>,
    watching: Mutex<Watching>,
    /// Who asks for HLS segments in vain.
    pub guesses: Guesses,
}

#[derive(Default)]
struct Books {
    /// Streams that have viewers.
    streams: HashMap<StreamKey, Audience>,
    viewers: usize,
    /// Bits per second that all viewers are expected to take.
    expected: u64,
    bucket: Bucket,
}

/// The viewers of a stream, whatever they speak.
struct Audience {
    viewers: usize,
    /// Bits per second that each of them takes, once known.
    bit_rate: Option<u64>,
    /// Bytes that they have been sent, since the first of them came.
    sent: u64,
}

impl Audience {
    fn each(&self) -> u64 {
        self.bit_rate.unwrap_or(UNKNOWN_BIT_RATE)
    }

    fn all(&self) -> u64 {
        self.each().saturating_mul(self.viewers as u64)
    }
}

/// What shows of a stream while it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Learned<'a> {
    /// Which.
    pub key: &'a StreamKey,
    /// Bits per second that each of its viewers takes; 0 while that is not known.
    pub bit_rate: u64,
    /// Bytes sent since the last time.
    pub sent: u64,
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The stream has as many viewers as it may.
    Stream {
        /// Which.
        key: StreamKey,
        /// How many that is.
        limit: usize,
    },
    /// The process sends as much as it may.
    Egress {
        /// Bits per second.
        limit: u64,
    },
    /// The address has as many connections as it may.
    Address {
        /// Which, or the network that counts as one.
        network: String,
        /// How many that is.
        limit: usize,
    },
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream { key, limit } => {
                write!(f, "{key} has its {limit} viewers (limits.viewers_per_stream)")
            }
            Self::Egress { limit } => {
                let megabits = *limit as f64 / 1e6;
                write!(
                    f,
                    "this server sends what it may, {megabits} Mb/s (limits.egress); come back in a moment"
                )
            }
            Self::Address { network, limit } => {
                write!(f, "{network} has its {limit} connections (limits.connections_per_ip)")
            }
        }
    }
}

/// A viewer's part of the limits; dropping it gives the part back.
pub struct Viewing {
    quotas: Arc<Quotas>,
    key: StreamKey,
}

/// A connection's part of what its address may have; dropping it gives the part back.
pub struct Visit {
    quotas: Arc<Quotas>,
    network: Network,
}

impl Visit {
    /// Whether it is counted for the address `ip`.
    pub fn is_of(&self, ip: IpAddr) -> bool {
        self.network == Network::of(ip)
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::new(&Limits::default())
    }
}

impl Quotas {
    /// Nobody is here yet.
    pub fn new(limits: &Limits) -> Self {
        let quotas = Self {
            egress: AtomicU64::new(0),
            viewers_per_stream: AtomicUsize::new(0),
            connections_per_ip: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            books: Mutex::default(),
            addresses: Mutex::default(),
            watching: Mutex::default(),
            guesses: Guesses::default(),
        };
        quotas.limit_to(limits);
        quotas
    }

    /// From now on newcomers fall under `limits`. Who is here stays.
    pub fn limit_to(&self, limits: &Limits) {
        self.egress.store(limits.egress, Ordering::Relaxed);
        self.viewers_per_stream.store(limits.viewers_per_stream, Ordering::Relaxed);
        self.connections_per_ip.store(limits.connections_per_ip, Ordering::Relaxed);
    }

    /// Bits per second that all viewers together may be sent; 0 is no limit.
    pub fn egress(&self) -> u64 {
        self.egress.load(Ordering::Relaxed)
    }

    /// Looks whether a viewer of `key` would be let in. Before a stream is opened, so that an edge that is full does
    /// not fetch a stream for nobody; a viewer that only waits for a stream counts for nothing.
    ///
    /// # Errors
    /// When it would not.
    pub fn look(&self, key: &StreamKey, now: Instant) -> Result<(), Refusal> {
        let mut books = self.books();
        let cost = books.streams.get(key).map_or(1, Audience::each);
        self.check_stream(&books, key)?;
        self.check_egress(&mut books, cost, now)
    }

    /// Lets a viewer of `key` in, of which `bit_rate` is known to be that of its channel, 0 if it is not known.
    ///
    /// # Errors
    /// When it is one too many.
    pub fn admit(
        self: &Arc<Self>,
        key: &StreamKey,
        bit_rate: u64,
        now: Instant,
    ) -> Result<Viewing, Refusal> {
        let known = (bit_rate > 0).then_some(bit_rate);
        let mut books = self.books();
        books.learn(key, bit_rate);
        let cost = books.streams.get(key).map_or(known.unwrap_or(UNKNOWN_BIT_RATE), Audience::each);
        self.check_stream(&books, key)?;
        self.check_egress(&mut books, cost, now)?;
        let new = || Audience { viewers: 0, bit_rate: known, sent: 0 };
        books.streams.entry(key.clone()).or_insert_with(new).viewers += 1;
        books.viewers += 1;
        books.expected = books.expected.saturating_add(cost);
        Ok(Viewing { quotas: Arc::clone(self), key: key.clone() })
    }

    /// Lets somebody at `ip` have a playlist of `key`. HLS viewers are requests without a session, so that they cannot
    /// be counted: who has asked lately is watching and is served, and only who begins is refused.
    ///
    /// # Errors
    /// When it begins and what is sent is as much as may be.
    pub fn admit_playlist(&self, key: &StreamKey, ip: IpAddr, now: Instant) -> Result<(), Refusal> {
        // Without a limit nobody is refused, and who watches is known all the same.
        let spent = self.check_egress(&mut self.books(), 1, now);
        lock(&self.watching).admit((key, ip), spent, now)
    }

    /// Lets a connection from `ip` in. It is counted without a limit too, since a reload may set one.
    ///
    /// # Errors
    /// When it is one too many.
    pub fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Visit, Refusal> {
        let limit = self.connections_per_ip.load(Ordering::Relaxed);
        let network = Network::of(ip);
        let mut addresses = lock(&self.addresses);
        let here = addresses.get(&network).copied().unwrap_or(0);
        if limit > 0 && here >= limit {
            return Err(Refusal::Address { network: network.to_string(), limit });
        }
        addresses.insert(network, here + 1);
        Ok(Visit { quotas: Arc::clone(self), network })
    }

    /// Counts bytes that viewers were sent.
    pub fn count_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that viewers have been sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Takes notice of the bit rates that streams have by now, and of what was sent. Called about once a second by
    /// those who send.
    pub fn learn(&self, learned: &[Learned<'_>], now: Instant) {
        let mut books = self.books();
        for &Learned { key, bit_rate, sent } in learned {
            books.learn(key, bit_rate);
            if let Some(audience) = books.streams.get_mut(key) {
                audience.sent += sent;
            }
        }
        books.bucket.update(self.egress(), self.sent(), now);
    }

    /// Viewers of `key`: RTMP and HTTP-FLV.
    pub fn viewers(&self, key: &StreamKey) -> usize {
        self.books().streams.get(key).map_or(0, |audience| audience.viewers)
    }

    /// The same, and the bytes that they have been sent since the first of them came.
    pub fn audience(&self, key: &StreamKey) -> (u64, u64) {
        let books = self.books();
        books.streams.get(key).map_or((0, 0), |audience| (audience.viewers as u64, audience.sent))
    }

    /// Viewers of HLS, as far as they can be known: those who have asked for a playlist lately.
    pub fn watching(&self, now: Instant) -> usize {
        lock(&self.watching).count(now)
    }

    /// Viewers of all streams.
    pub fn viewers_total(&self) -> usize {
        self.books().viewers
    }

    /// Bits per second that all viewers are expected to take.
    pub fn expected(&self) -> u64 {
        self.books().expected
    }

    fn check_stream(&self, books: &Books, key: &StreamKey) -> Result<(), Refusal> {
        let limit = self.viewers_per_stream.load(Ordering::Relaxed);
        let here = books.streams.get(key).map_or(0, |audience| audience.viewers);
        if limit > 0 && here >= limit {
            return Err(Refusal::Stream { key: key.clone(), limit });
        }
        Ok(())
    }

    fn check_egress(&self, books: &mut Books, cost: u64, now: Instant) -> Result<(), Refusal> {
        let limit = self.egress();
        if limit == 0 {
            return Ok(());
        }
        let is_spent = books.bucket.update(limit, self.sent(), now);
        if is_spent || books.expected.saturating_add(cost) > limit {
            return Err(Refusal::Egress { limit });
        }
        Ok(())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }
}

impl Books {
    /// The rate of a stream that has viewers is `bit_rate`, unless that is 0.
    fn learn(&mut self, key: &StreamKey, bit_rate: u64) {
        let Some(audience) = self.streams.get_mut(key).filter(|_| bit_rate > 0) else { return };
        let before = audience.all();
        audience.bit_rate = Some(bit_rate);
        self.expected = self.expected.saturating_sub(before).saturating_add(audience.all());
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        let mut books = self.quotas.books();
        let Some(audience) = books.streams.get_mut(&self.key) else { return };
        let each = audience.each();
        audience.viewers -= 1;
        let is_last = audience.viewers == 0;
        books.viewers -= 1;
        books.expected = books.expected.saturating_sub(each);
        if is_last {
            books.streams.remove(&self.key);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut addresses = lock(&self.quotas.addresses);
        if let Entry::Occupied(mut here) = addresses.entry(self.network) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
