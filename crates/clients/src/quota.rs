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
mod refusal;
mod watching;

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use weir_media::StreamKey;

use self::{
    bucket::Bucket,
    watching::{News, Watching},
};
pub use self::{
    guesses::{Guess, Guesses, Search},
    network::Network,
    refusal::{RETRY_AFTER, Refusal},
    watching::{HlsViewer, Meter, SESSION, WATCHING, Who},
};
use crate::{held::Held, roster::Farewell};

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
    streams: HashMap<StreamKey, StreamViewers>,
    viewers: usize,
    /// Those among them that are nodes.
    nodes: usize,
    /// Bits per second that all viewers are expected to take.
    expected: u64,
    bucket: Bucket,
}

/// The viewers of a stream over RTMP and HTTP-FLV.
struct StreamViewers {
    viewers: usize,
    /// Those among them that are other nodes of a cluster, which ask for their viewers. Any client can say that it is
    /// one, so the limits count them like all others.
    nodes: usize,
    /// Bits per second that each of them takes, once known.
    bit_rate: Option<u64>,
    /// Bytes that they have been sent, since the first of them came.
    sent: u64,
}

impl StreamViewers {
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

/// A viewer's part of the limits; dropping it gives the part back.
pub struct ViewerPermit {
    quotas: Arc<Quotas>,
    key: StreamKey,
    is_node: bool,
}

/// A connection's part of what its address may have; dropping it gives the part back.
pub struct AddressPermit {
    quotas: Arc<Quotas>,
    network: Network,
}

impl AddressPermit {
    /// Whether it is counted for the address `ip`.
    pub fn is_of(&self, ip: IpAddr) -> bool {
        self.network == Network::of(ip)
    }
}

/// What viewers and addresses may take; 0 sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bits of media that all viewers together are sent in a second.
    pub egress: u64,
    /// Viewers of one stream at one time.
    pub viewers_per_stream: usize,
    /// Connections from one client address at one time.
    pub connections_per_ip: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Quotas {
    /// Nobody is here yet.
    pub fn new(limits: Limits) -> Self {
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
    pub fn limit_to(&self, limits: Limits) {
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
        let hls = lock(&self.watching).of(key).here;
        let mut books = self.books();
        let cost = books.streams.get(key).map_or(1, StreamViewers::each);
        self.check_stream(key, books.here(key) + hls)?;
        self.check_egress(&mut books, cost, now)
    }

    /// Lets a viewer of `key` in, of which `bit_rate` is known to be that of its channel, 0 if it is not known.
    ///
    /// # Errors
    /// When it is one too many.
    pub fn admit(
        self: &Arc<Self>,
        key: &StreamKey,
        is_node: bool,
        bit_rate: u64,
        now: Instant,
    ) -> Result<ViewerPermit, Refusal> {
        let known = (bit_rate > 0).then_some(bit_rate);
        let hls = lock(&self.watching).of(key).here;
        let mut books = self.books();
        books.learn(key, bit_rate);
        let cost =
            books.streams.get(key).map_or(known.unwrap_or(UNKNOWN_BIT_RATE), StreamViewers::each);
        self.check_stream(key, books.here(key) + hls)?;
        self.check_egress(&mut books, cost, now)?;
        let new = || StreamViewers { viewers: 0, nodes: 0, bit_rate: known, sent: 0 };
        let audience = books.streams.entry(key.clone()).or_insert_with(new);
        audience.viewers += 1;
        audience.nodes += usize::from(is_node);
        books.viewers += 1;
        books.nodes += usize::from(is_node);
        books.expected = books.expected.saturating_add(cost);
        Ok(ViewerPermit { quotas: Arc::clone(self), key: key.clone(), is_node })
    }

    /// Looks whether `who` may have a playlist, before it is looked for: who watches is served, and only who begins is
    /// refused. True for one who watches.
    ///
    /// # Errors
    /// When it may not.
    pub fn look_for_hls(&self, who: Who<'_>, now: Instant) -> Result<bool, Refusal> {
        let (live, spent) = self.around_hls(who.key, now);
        let newcomer = |hls| spent.and(self.check_stream(who.key, live + hls));
        self.changes(|watching| watching.look(who, newcomer, now))
    }

    /// Takes `who`, who is given a playlist now, for a viewer until it has asked for nothing for `patience`; a new one
    /// has the number `id`, and keeps `held` to its end. What it is sent is to be counted, if it is remembered.
    ///
    /// # Errors
    /// When it may not have it.
    pub fn watch_hls(
        &self,
        who: Who<'_>,
        patience: Duration,
        id: impl FnOnce() -> u64,
        held: Option<Held>,
        now: Instant,
    ) -> Result<Option<Meter>, Refusal> {
        let (live, spent) = self.around_hls(who.key, now);
        let newcomer = |hls| spent.and(self.check_stream(who.key, live + hls));
        self.changes(|watching| watching.watch((who, held), patience, newcomer, id, now))
    }

    /// Takes notice of `who` fetching a segment. What it is sent is to be counted, if it is known.
    ///
    /// # Errors
    /// When an operator has ended it.
    pub fn fetch_hls(&self, who: Who<'_>, now: Instant) -> Result<Option<Meter>, Refusal> {
        lock(&self.watching).fetch(who, now)
    }

    /// The other viewers of `key`, and whether there is room for what one more is sent.
    fn around_hls(&self, key: &StreamKey, now: Instant) -> (usize, Result<(), Refusal>) {
        let mut books = self.books();
        // What a playlist's viewer will take is not expected of it.
        let spent = self.check_egress(&mut books, 1, now);
        (books.here(key), spent)
    }

    /// Whether anybody watches `key` over HLS.
    pub fn is_watched_over_hls(&self, key: &StreamKey) -> bool {
        lock(&self.watching).of(key).here > 0
    }

    /// Ends the HLS viewer with this number. False if there is none.
    pub fn kick_hls(&self, id: u64, now: Instant) -> bool {
        self.changes(|watching| watching.kick(id, now))
    }

    /// Ends all HLS viewers: the process does.
    pub fn end_hls(&self, now: Instant) {
        self.changes(|watching| watching.end_all(now, &Farewell::Draining.end()));
    }

    /// The viewers of HLS, in the order in which they came.
    pub fn hls_viewers(&self, now: Instant) -> Vec<HlsViewer> {
        let mut viewers = lock(&self.watching).list(now);
        viewers.sort_unstable_by_key(|viewer| viewer.id);
        viewers
    }

    /// Those of one stream, in the order in which they came.
    pub fn hls_viewers_of(&self, key: &StreamKey, now: Instant) -> Vec<HlsViewer> {
        let mut viewers = lock(&self.watching).list_of(key, now);
        viewers.sort_unstable_by_key(|viewer| viewer.id);
        viewers
    }

    /// The streams that have viewers of HLS.
    pub fn hls_streams(&self) -> Vec<StreamKey> {
        lock(&self.watching).streams()
    }

    /// Bytes that viewers of HLS were sent, by stream; those who have gone included.
    pub fn hls_sent(&self) -> HashMap<StreamKey, u64> {
        lock(&self.watching).sent()
    }

    /// The same of one stream.
    pub fn hls_sent_of(&self, key: &StreamKey) -> u64 {
        lock(&self.watching).sent_of(key)
    }

    /// Keeps what departed viewers of HLS were sent of the streams that `is_known` says yes to.
    pub fn forget_hls(&self, is_known: impl Fn(&StreamKey) -> bool) {
        lock(&self.watching).forget_parted(is_known);
    }

    /// Forgets the viewers of HLS that have gone. Called once a second.
    pub fn forget_gone(&self, now: Instant) {
        self.changes(|watching| watching.forget_gone(now));
    }

    /// Does something at which viewers of HLS may come or go, and says that in the log.
    fn changes<T>(&self, change: impl FnOnce(&mut Watching) -> T) -> T {
        let mut watching = lock(&self.watching);
        let (done, news) = (change(&mut watching), watching.take_news());
        let released = watching.take_released();
        drop(watching);
        // Whoever is told of an end may take locks of its own.
        drop(released);
        news.iter().for_each(News::say);
        done
    }

    /// Lets a connection from `ip` in. It is counted without a limit too, since a reload may set one.
    ///
    /// # Errors
    /// When it is one too many.
    pub fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<AddressPermit, Refusal> {
        let limit = self.connections_per_ip.load(Ordering::Relaxed);
        let network = Network::of(ip);
        let mut addresses = lock(&self.addresses);
        let here = addresses.get(&network).copied().unwrap_or(0);
        if limit > 0 && here >= limit {
            return Err(Refusal::Address { network: network.to_string(), limit });
        }
        addresses.insert(network, here + 1);
        Ok(AddressPermit { quotas: Arc::clone(self), network })
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

    /// Viewers of `key`, whatever they speak. Other nodes are none: they ask for their viewers.
    pub fn viewers(&self, key: &StreamKey) -> usize {
        let hls = lock(&self.watching).of(key).viewers();
        self.books().streams.get(key).map_or(0, |audience| audience.viewers - audience.nodes) + hls
    }

    /// The same, and the bytes that those of RTMP and HTTP-FLV have been sent since the first of them came.
    pub fn audience(&self, key: &StreamKey) -> (u64, u64) {
        let sent = self.books().streams.get(key).map_or(0, |audience| audience.sent);
        (self.viewers(key) as u64, sent)
    }

    /// Viewers of HLS.
    pub fn watching(&self) -> usize {
        lock(&self.watching).all().viewers()
    }

    /// Whoever is known to watch over HLS, nodes too.
    pub fn hls_count(&self) -> usize {
        lock(&self.watching).all().here
    }

    /// Viewers of all streams, whatever they speak; other nodes are none.
    pub fn viewers_total(&self) -> usize {
        let hls = self.watching();
        let books = self.books();
        books.viewers - books.nodes + hls
    }

    /// Bits per second that all viewers are expected to take.
    pub fn expected(&self) -> u64 {
        self.books().expected
    }

    fn check_stream(&self, key: &StreamKey, here: usize) -> Result<(), Refusal> {
        let limit = self.viewers_per_stream.load(Ordering::Relaxed);
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
    /// Viewers of `key`, nodes among them.
    fn here(&self, key: &StreamKey) -> usize {
        self.streams.get(key).map_or(0, |audience| audience.viewers)
    }

    /// The rate of a stream that has viewers is `bit_rate`, unless that is 0.
    fn learn(&mut self, key: &StreamKey, bit_rate: u64) {
        let Some(audience) = self.streams.get_mut(key).filter(|_| bit_rate > 0) else { return };
        let before = audience.all();
        audience.bit_rate = Some(bit_rate);
        self.expected = self.expected.saturating_sub(before).saturating_add(audience.all());
    }
}

impl Drop for ViewerPermit {
    fn drop(&mut self) {
        let mut books = self.quotas.books();
        let Some(audience) = books.streams.get_mut(&self.key) else { return };
        let each = audience.each();
        audience.viewers -= 1;
        audience.nodes -= usize::from(self.is_node);
        let is_last = audience.viewers == 0;
        books.viewers -= 1;
        books.nodes -= usize::from(self.is_node);
        books.expected = books.expected.saturating_sub(each);
        if is_last {
            books.streams.remove(&self.key);
        }
    }
}

impl Drop for AddressPermit {
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
